//! New values of attributes, and the records that their tensors need.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::observers::{BINS, MIN_EXPONENT};

use crate::find::injected::{Class, OBSERVED, PASSES, SAMPLES, SOURCE};
use crate::find::mark::SITE;
use crate::torchscript::contents::CPU;
use crate::torchscript::pickle::{Fresh, FreshTensor, StorageType};

/// Where the data of a new tensor is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// Bytes that get a record.
    Bytes(Vec<u8>),
    /// A record that is made elsewhere, by its key.
    Record(String),
}

/// A tensor that is not in the archive yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewTensor {
    pub(crate) kind: StorageType,
    pub(crate) shape: Vec<u64>,
    /// Elements from one index to the next; `None`: row-major.
    pub(crate) strides: Option<Vec<u64>>,
    pub(crate) content: Content,
    /// The memo position under which [`NewValue::Again`] finds it.
    pub(crate) memo: Option<u32>,
    /// Whether training changes it.
    pub(crate) requires_grad: bool,
    /// Where it is put when it is loaded.
    pub(crate) device: String,
}

impl NewTensor {
    fn new(kind: StorageType, shape: Vec<u64>, bytes: Vec<u8>) -> Self {
        Self {
            kind,
            shape,
            strides: None,
            content: Content::Bytes(bytes),
            memo: None,
            requires_grad: false,
            device: CPU.to_owned(),
        }
    }

    /// Bytes of its elements.
    pub(crate) fn len(&self) -> u64 {
        self.shape.iter().fold(self.kind.size(), |bytes, size| bytes.saturating_mul(*size))
    }

    /// No elements, only a type.
    pub(crate) fn empty(kind: StorageType) -> Self {
        Self::new(kind, vec![0], Vec::new())
    }

    pub(crate) fn scalar_f32(value: f32) -> Self {
        Self::new(StorageType::Float, Vec::new(), value.to_le_bytes().to_vec())
    }

    pub(crate) fn scalar_i64(value: i64) -> Self {
        Self::new(StorageType::Long, Vec::new(), value.to_le_bytes().to_vec())
    }

    /// The buffer `name` of an object of this class that has seen nothing.
    fn untouched(class: Class, name: &str) -> Self {
        match name {
            "step" | "batches" => Self::scalar_i64(0),
            "exponent" => Self::scalar_i64(MIN_EXPONENT.into()),
            "counts" => {
                let bins = 2 * BINS - 1;
                Self::new(StorageType::Long, vec![bins as u64], vec![0; bins * size_of::<i64>()])
            }
            "min" if class.observes() => Self::scalar_f32(f32::INFINITY),
            "max" if class.observes() => Self::scalar_f32(f32::NEG_INFINITY),
            _ => Self::scalar_f32(0.0),
        }
    }

    pub(crate) fn f32s(shape: Vec<u64>, values: &[f32]) -> Self {
        Self::new(StorageType::Float, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub(crate) fn i32s(shape: Vec<u64>, values: &[i32]) -> Self {
        Self::new(StorageType::Int, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}

/// The value of a new attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NewValue {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Tensor(NewTensor),
    /// The tensor that was written with this memo position.
    Again(u32),
    /// An object that several hold: written where it comes first in the pickle, with this memo position.
    Shared(u32, Box<NewValue>),
    Object {
        class: String,
        attributes: Vec<(&'static str, NewValue)>,
    },
}

impl NewValue {
    /// The object that numbers passes, under a memo position.
    pub(crate) fn passes(training: bool, memo: u32) -> Self {
        let attributes = vec![("training", Self::Bool(training)), ("number", Self::Int(0))];
        Self::Shared(memo, Box::new(Self::Object { class: PASSES.to_owned(), attributes }))
    }

    /// The object that counts samples, and says from which model the one that holds it was made.
    pub(crate) fn observed(training: bool, source: String) -> Self {
        let attributes = vec![
            (SAMPLES, Self::Tensor(NewTensor::scalar_i64(0))),
            ("training", Self::Bool(training)),
            (SOURCE, Self::Str(source)),
        ];
        Self::Object { class: OBSERVED.to_owned(), attributes }
    }

    /// An instance of a library class that has seen nothing yet; `site` is what it says of itself, `passes` the memo position of the object
    /// that numbers them. Its parameters have an element for each of `channels`.
    pub(crate) fn quantizer(
        class: Class,
        training: bool,
        settings: &[Self],
        site: String,
        channels: Option<u64>,
        passes: u32,
    ) -> Self {
        let parameter = |name: &&'static str| {
            let zeros = vec![0.0; usize::try_from(channels.unwrap_or(1)).unwrap_or(0)];
            let zeros = NewTensor::f32s(channels.into_iter().collect(), &zeros);
            (*name, Self::Tensor(NewTensor { requires_grad: true, ..zeros }))
        };
        let buffer = |name: &&'static str| (*name, Self::Tensor(NewTensor::untouched(class, name)));
        let parameters = class.parameters().iter().map(parameter);
        let mut attributes: Vec<_> = parameters.chain(class.buffers().iter().map(buffer)).collect();
        attributes.push(("training", Self::Bool(training)));
        attributes.extend(class.settings().iter().zip(settings).map(|((name, _), value)| (*name, value.clone())));
        attributes.push((SITE, Self::Str(site)));
        if class.counts() {
            attributes.push(("passes", Self::passes(training, passes)));
            attributes.push(("last", Self::Int(0)));
        }
        Self::Object { class: class.qualified(), attributes }
    }

    /// The same with its tensors on `device`.
    pub(crate) fn on(self, device: &str) -> Self {
        match self {
            Self::Tensor(tensor) => Self::Tensor(NewTensor { device: device.to_owned(), ..tensor }),
            Self::Object { class, attributes } => {
                let attributes = attributes.into_iter().map(|(name, value)| (name, value.on(device))).collect();
                Self::Object { class, attributes }
            }
            other => other,
        }
    }

    /// Append to a pickle; tensors get records.
    pub(crate) fn write(self, out: &mut Fresh, records: &mut Records) {
        match self {
            Self::None => drop(out.none()),
            Self::Bool(value) => drop(out.bool(value)),
            Self::Int(value) => drop(out.int(value)),
            Self::Float(value) => drop(out.float(value)),
            Self::Str(value) => drop(out.str(&value)),
            Self::Tensor(tensor) => {
                let NewTensor { kind, shape, strides, content, memo, requires_grad, device } = tensor;
                let key = match content {
                    Content::Bytes(bytes) => records.add(bytes),
                    Content::Record(key) => key,
                };
                out.tensor(&FreshTensor { kind, key, device, sizes: shape, strides, requires_grad });
                if let Some(memo) = memo {
                    out.put(memo);
                }
            }
            Self::Again(memo) => drop(out.get(memo)),
            Self::Shared(memo, value) => {
                if records.written.insert(memo) {
                    value.write(out, records);
                    out.put(memo);
                } else {
                    out.get(memo);
                }
            }
            Self::Object { class, attributes } => {
                out.object(&class, |out| {
                    for (name, value) in attributes {
                        out.str(name);
                        value.write(out, records);
                    }
                });
            }
        }
    }
}

/// New records of one folder, named by the numbers that are free.
#[derive(Debug)]
pub(crate) struct Records {
    next: u64,
    pub(crate) added: BTreeMap<String, Vec<u8>>,
    /// Memo positions of shared objects that are written.
    written: BTreeSet<u32>,
}

impl Records {
    /// Numbers from the first one above all that `keys` hold.
    pub(crate) fn after<'k>(keys: impl Iterator<Item = &'k str>) -> Self {
        let numbers = keys.filter_map(|key| key.parse::<u64>().ok());
        Self {
            next: numbers.max().map_or(0, |last| last.saturating_add(1)),
            added: BTreeMap::new(),
            written: BTreeSet::new(),
        }
    }

    pub(crate) fn add(&mut self, bytes: Vec<u8>) -> String {
        let key = self.reserve();
        self.added.insert(key.clone(), bytes);
        key
    }

    /// A key for a record that is made elsewhere.
    pub(crate) fn reserve(&mut self) -> String {
        let key = self.next.to_string();
        self.next = self.next.saturating_add(1);
        key
    }
}
