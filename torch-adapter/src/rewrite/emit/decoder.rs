//! From codes to values, in text: what lies beside the codes, and the expression that reads both.

use std::collections::BTreeMap;

use quant_math::DType;
use quant_math::weights::{Dequant, Form, Storage};

use crate::find::injected::Function;
use crate::find::model::Model;
use crate::rewrite::edit::class_edit::Listed;
use crate::rewrite::edit::editor::Editor;
use crate::rewrite::edit::stem::identifier;
use crate::rewrite::edit::value::{Content, NewTensor, NewValue};
use crate::rewrite::weights::Observed;
use crate::torchscript::heap::{ObjectId, TensorId};
use crate::torchscript::pickle::StorageType;

/// What a tensor's values are made of, besides its codes.
#[derive(Clone)]
pub(crate) struct Decoder {
    dequant: Dequant,
    storage: Storage,
    /// How codes lie in the weight's shape: its sizes and strides.
    place: (Vec<u64>, Vec<u64>),
    /// Tensors beside the codes, with what follows the weight's in their names. Everything is computed in the type of the first one, which is
    /// float32 until the model changes its type.
    pub(crate) beside: Vec<(&'static str, NewTensor)>,
}

const SCALE: &str = "scale";
const ZERO_POINT: &str = "zero_point";
/// One less than the number of DoReFa's levels.
const LEVELS: &str = "levels";
/// No elements, of the weight's type, which changes with the model's.
const TYPE: &str = "type";

impl Decoder {
    pub(crate) fn new(model: &Model, weight: &Observed) -> Option<Self> {
        let (_, tensor, _) = model.contents().tensor(weight.site.tensor)?;
        let elements = usize::try_from(weight.stored.dense.len()).unwrap_or(usize::MAX);
        let storage = Storage::of(weight.map.bits(), elements);
        let dequant = weight.map.dequant_of(storage)?;
        let shape = beside(model, weight);
        let mut tensors = match &dequant {
            Dequant::Affine { scale, .. } => vec![(SCALE, NewTensor::f32s(shape.clone(), scale))],
            Dequant::DoReFa { levels, .. } => vec![(LEVELS, NewTensor::scalar_f32(*levels))],
            Dequant::Sign { mean_abs, .. } => vec![(SCALE, NewTensor::scalar_f32(*mean_abs))],
        };
        match dequant.zero_points().as_slice() {
            [] => {}
            [all] => tensors.push((ZERO_POINT, NewTensor::scalar_f32(*all))),
            each => tensors.push((ZERO_POINT, NewTensor::f32s(shape, each))),
        }
        if tensor.kind != StorageType::Float {
            tensors.push((TYPE, NewTensor::empty(tensor.kind)));
        }
        Some(Self { dequant, storage, place: (tensor.sizes.clone(), tensor.strides.clone()), beside: tensors })
    }

    /// What is written for the codes.
    pub(crate) fn form(&self) -> Form {
        // The error counts the values of the codes before any rounding to the weight's type.
        Form::Codes(DType::F32, self.storage)
    }

    /// The function that separates codes that share bytes.
    pub(crate) fn function(&self) -> Option<Function> {
        match self.storage {
            Storage::QUARTERS => Some(Function::Quarters),
            Storage::HALVES => Some(Function::Halves),
            _ => None,
        }
    }

    /// The tensor of codes, which the record `key` holds.
    pub(crate) fn codes(&self, key: String, device: &str) -> NewTensor {
        let (sizes, strides) = self.place.clone();
        let shared = self.storage.is_shared();
        NewTensor {
            kind: if shared { StorageType::Byte } else { StorageType::Char },
            shape: if shared { vec![self.codes_len()] } else { sizes },
            strides: (!shared).then_some(strides),
            content: Content::Record(key),
            memo: None,
            requires_grad: false,
            device: device.to_owned(),
        }
    }

    /// Bytes of the codes.
    pub(crate) fn codes_len(&self) -> u64 {
        let elements = self.place.0.iter().fold(1_u64, |n, size| n.saturating_mul(*size));
        elements.div_ceil(self.storage.per_byte() as u64)
    }

    /// The expression for the values of the codes `codes`; `name` is the text for a tensor beside them.
    pub(crate) fn text(&self, codes: &str, name: impl Fn(&str) -> String) -> String {
        let has = |suffix: &str| self.beside.iter().any(|(known, _)| *known == suffix);
        let float = self.beside.first().map_or_else(String::new, |(suffix, _)| name(suffix));
        let separated = self.function().map(|function| {
            let (sizes, strides) = &self.place;
            format!("{}({codes}, {sizes:?}, {strides:?})", function.qualified())
        });
        let real = format!("torch.type_as({}, {float})", separated.as_deref().unwrap_or(codes));
        let value = match &self.dequant {
            Dequant::Affine { .. } | Dequant::Sign { .. } if has(ZERO_POINT) => {
                format!("torch.mul(torch.sub({real}, {}), {float})", name(ZERO_POINT))
            }
            Dequant::Affine { .. } | Dequant::Sign { .. } => format!("torch.mul({real}, {float})"),
            Dequant::DoReFa { offset, .. } => {
                let shifted = if *offset == 0 { real } else { format!("torch.add({real}, {offset})") };
                format!("torch.sub(torch.mul(torch.true_divide({shifted}, {float}), 2), 1)")
            }
        };
        if has(TYPE) { format!("torch.type_as({value}, {})", name(TYPE)) } else { value }
    }

    /// Bytes beside the codes.
    pub(crate) fn len(&self) -> u64 {
        self.beside.iter().map(|(_, tensor)| tensor.len()).sum()
    }
}

/// The shape that lets one number per channel meet the codes: 1 everywhere but along the channels.
fn beside(model: &Model, weight: &Observed) -> Vec<u64> {
    let Some(axis) = weight.site.settings.channel_axis else { return Vec::new() };
    let shape = model.heap().tensor(weight.site.tensor).map_or(&[][..], |facts| &facts.shape);
    shape.iter().enumerate().map(|(dim, size)| if dim == axis { *size } else { 1 }).collect()
}

/// What the tensors beside the codes are called.
pub(crate) type Beside = BTreeMap<&'static str, String>;

/// Add the tensors beside codes to an object, where the weight `tensor` is; the names that they got.
pub(crate) fn declare(
    editor: &mut Editor<'_>,
    owner: ObjectId,
    stem: &str,
    tensor: TensorId,
    decoder: &Decoder,
) -> Beside {
    let device = editor.model.contents().device(tensor);
    let add = |(suffix, beside): &(&'static str, NewTensor)| {
        let unique = editor.unique(owner, &format!("{}_{suffix}", identifier(stem)));
        let value = NewValue::Tensor(beside.clone()).on(device);
        editor.add(owner, &unique, "Tensor".to_owned(), Listed::Buffer, value);
        (*suffix, unique)
    };
    decoder.beside.iter().map(add).collect()
}
