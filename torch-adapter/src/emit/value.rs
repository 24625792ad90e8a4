//! New values of attributes, and the records that their tensors need.

use std::collections::BTreeMap;

use quant_math::DType;

use crate::emit::library::Class;
use crate::pickle::{Fresh, FreshTensor, StorageType};

/// A tensor that is not in the archive yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewTensor {
    pub(crate) kind: StorageType,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl NewTensor {
    pub(crate) fn scalar_f32(value: f32) -> Self {
        Self { kind: StorageType::Float, shape: Vec::new(), bytes: value.to_le_bytes().to_vec() }
    }

    pub(crate) fn scalar_i64(value: i64) -> Self {
        Self { kind: StorageType::Long, shape: Vec::new(), bytes: value.to_le_bytes().to_vec() }
    }

    pub(crate) fn f32s(shape: Vec<u64>, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { kind: StorageType::Float, shape, bytes }
    }

    pub(crate) fn i32s(shape: Vec<u64>, values: &[i32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { kind: StorageType::Int, shape, bytes }
    }
}

/// The value of a new attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NewValue {
    Bool(bool),
    Int(i64),
    Float(f64),
    Tensor(NewTensor),
    Object { class: String, attributes: Vec<(&'static str, NewValue)> },
}

impl NewValue {
    /// An instance of a library class that has seen nothing yet.
    pub(crate) fn quantizer(class: Class, training: bool, settings: &[Self]) -> Self {
        let buffer = |name: &&'static str| {
            let zero = if *name == "step" { NewTensor::scalar_i64(0) } else { NewTensor::scalar_f32(0.0) };
            (*name, Self::Tensor(zero))
        };
        let mut attributes: Vec<_> = class.buffers().iter().map(buffer).collect();
        attributes.push(("training", Self::Bool(training)));
        attributes.extend(class.settings().iter().zip(settings).map(|((name, _), value)| (*name, value.clone())));
        Self::Object { class: class.qualified(), attributes }
    }

    /// Append to a pickle; tensors get records.
    pub(crate) fn write(self, out: &mut Fresh, records: &mut Records) {
        match self {
            Self::Bool(value) => drop(out.bool(value)),
            Self::Int(value) => drop(out.int(value)),
            Self::Float(value) => drop(out.float(value)),
            Self::Tensor(tensor) => {
                let NewTensor { kind, shape, bytes } = tensor;
                let key = records.add(bytes);
                out.tensor(&FreshTensor { kind, key, sizes: shape, requires_grad: false });
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
}

impl Records {
    /// Numbers from the first one above all that `keys` hold.
    pub(crate) fn after<'k>(keys: impl Iterator<Item = &'k str>) -> Self {
        let numbers = keys.filter_map(|key| key.parse::<u64>().ok());
        Self { next: numbers.max().map_or(0, |last| last.saturating_add(1)), added: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, bytes: Vec<u8>) -> String {
        let key = self.next.to_string();
        self.next = self.next.saturating_add(1);
        self.added.insert(key.clone(), bytes);
        key
    }
}

/// The number by which `torch.to` knows an element type (`c10::ScalarType`).
pub(crate) fn scalar_code(dtype: DType) -> u8 {
    match dtype {
        DType::F16 => 5,
        DType::F32 => 6,
        DType::F64 => 7,
        DType::BF16 => 15,
    }
}
