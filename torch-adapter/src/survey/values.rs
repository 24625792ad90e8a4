//! The values of tensors by name, decoded where they are codes.

use quant_math::WeightData;
use quant_math::data::LittleEndian;

use crate::error::Error;
use crate::model::Model;
use crate::pickle::StorageType;
use crate::sites::heap::{Item, Object, TensorId, join};
use crate::tensors::Tensor;

/// A float tensor, or codes with their scale.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    tensor: TensorId,
    scale: Option<TensorId>,
    zero_point: Option<TensorId>,
}

/// Every float tensor that is an attribute or a constant, and every int8 tensor with a scale beside it; a tied one under its
/// first name.
pub(super) fn named(model: &Model) -> Vec<Named> {
    let heap = model.heap();
    let mut seen = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    let mut add = |name: String, tensor: TensorId, object: Option<(&Object, &str)>| {
        let Some(facts) = heap.tensor(tensor) else { return };
        let beside = |suffix: &str| match object?.0.attribute(&format!("{}_{suffix}", object?.1))? {
            Item::Tensor(tensor) => Some(*tensor),
            _ => None,
        };
        let scale = if facts.scalar == "Char" { beside("scale") } else { None };
        if (facts.dtype.is_some() || scale.is_some()) && seen.insert(tensor) {
            let shape = facts.shape.clone();
            found.push(Named { name, shape, tensor, scale, zero_point: scale.and_then(|_| beside("zero_point")) });
        }
    };
    for object in &heap.objects {
        for (name, item) in &object.attributes {
            if let Item::Tensor(tensor) = item {
                add(join(&object.path, name), *tensor, Some((object, name)));
            }
        }
    }
    for (number, item) in heap.constants.iter().enumerate() {
        if let Item::Tensor(tensor) = item {
            add(format!("CONSTANTS.c{number}"), *tensor, None);
        }
    }
    found
}

impl Named {
    /// The values, row-major.
    pub(super) fn values(&self, model: &Model) -> Result<Vec<f32>, Error> {
        let mut values = elements(model, self.tensor)?;
        let zero_point = self.zero_point.map(|tensor| elements(model, tensor)).transpose()?;
        let Some(scale) = self.scale.map(|tensor| elements(model, tensor)).transpose()? else { return Ok(values) };
        // One number, or one per index of the axis that the scale is long in.
        let beside = self.scale.and_then(|tensor| model.heap().tensor(tensor)).map_or(&[][..], |facts| &facts.shape);
        let axis = beside.iter().position(|size| *size > 1);
        let inner: u64 = self.shape.iter().skip(axis.map_or(self.shape.len(), |axis| axis + 1)).product();
        let inner = usize::try_from(inner.max(1)).unwrap_or(usize::MAX);
        for (index, value) in values.iter_mut().enumerate() {
            let channel = index / inner % scale.len().max(1);
            let zero = zero_point.as_ref().and_then(|zeros| zeros.get(channel)).copied().unwrap_or(0.0);
            *value = (*value - zero) * scale.get(channel).copied().unwrap_or(0.0);
        }
        Ok(values)
    }
}

/// All elements of a tensor as float32, row-major.
fn elements(model: &Model, tensor: TensorId) -> Result<Vec<f32>, Error> {
    let Some((_, found, storage)) = model.tensor(tensor) else { return Ok(Vec::new()) };
    let record = model.archive().read(&storage.record)?;
    let all: Vec<f32> = match (found.dtype(), found.kind) {
        (Some(dtype), _) => {
            let data = LittleEndian::new(dtype, &record);
            data.chunk(0..data.len()).into_owned()
        }
        (None, StorageType::Char) => record.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
        (None, _) => Vec::new(),
    };
    Ok(gather(found, &all))
}

fn gather(tensor: &Tensor, all: &[f32]) -> Vec<f32> {
    // An expanded view can stand for more than there is; what is asked for is bounded by the storage.
    if tensor.numel() > all.len() as u64 {
        return Vec::new();
    }
    let mut index = vec![0_u64; tensor.sizes.len()];
    let mut values = Vec::new();
    for _ in 0..tensor.numel() {
        let steps = index.iter().zip(&tensor.strides).map(|(i, stride)| i.saturating_mul(*stride));
        let at = steps.fold(tensor.offset, u64::saturating_add);
        values.push(usize::try_from(at).ok().and_then(|at| all.get(at)).copied().unwrap_or(0.0));
        for (i, size) in index.iter_mut().zip(&tensor.sizes).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    values
}
