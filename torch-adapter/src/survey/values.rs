//! The values of tensors by name, decoded where they are codes.

use quant_math::WeightData;
use quant_math::data::{LittleEndian, round_to};
use quant_math::weights::Storage;

use crate::error::Error;
use crate::find::model::Model;
use crate::find::sites::{Arithmetic, Operand, Step};
use crate::torchscript::heap::{Item, Separated, TensorId, join};
use crate::torchscript::pickle::StorageType;

/// A float tensor, or codes that the model's code decodes.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    tensor: TensorId,
}

/// Every float tensor and every one of codes that attributes and constants hold, in lists too; a tied one under its first name.
pub(super) fn named(model: &Model) -> Vec<Named> {
    let heap = model.heap();
    let mut seen = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    let mut add = |name: String, item: &Item| {
        let Item::Tensor(tensor) = item else { return };
        let Some(facts) = heap.tensor(*tensor) else { return };
        let known = facts.dtype.is_some() || model.sites().decodings.contains_key(tensor);
        if known && seen.insert(*tensor) {
            found.push(Named { name, shape: facts.shape.clone(), tensor: *tensor });
        }
    };
    let plain = |item: &&(String, Item)| matches!(item.1, Item::Tensor(_));
    for object in &heap.objects {
        for (name, item) in object.attributes.iter().filter(plain) {
            add(join(&object.path, name), item);
        }
    }
    for object in &heap.objects {
        for (name, item) in &object.attributes {
            let name = join(&object.path, name);
            match item {
                Item::List(items) => {
                    items.iter().enumerate().for_each(|(index, item)| add(format!("{name}[{index}]"), item));
                }
                Item::Dict(pairs) => pairs.iter().for_each(|(key, item)| add(join(&name, key), item)),
                _ => {}
            }
        }
    }
    for (number, item) in heap.constants.iter().enumerate() {
        add(format!("CONSTANTS.c{number}"), item);
    }
    found
}

impl Named {
    /// The values, row-major.
    pub(super) fn values(&self, model: &Model) -> Result<Vec<f32>, Error> {
        values(model, self.tensor)
    }
}

/// The values of a tensor, row-major, decoded where it holds codes.
pub(super) fn values(model: &Model, tensor: TensorId) -> Result<Vec<f32>, Error> {
    let mut values = elements(model, tensor)?;
    let shape = model.heap().tensor(tensor).map_or(&[][..], |facts| &facts.shape);
    for step in model.sites().decodings.get(&tensor).into_iter().flatten() {
        decode(model, shape, &mut values, step)?;
    }
    Ok(values)
}

/// One step of decoding, in float32 as torch does it.
fn decode(model: &Model, shape: &[u64], values: &mut [f32], step: &Step) -> Result<(), Error> {
    if let (Arithmetic::Cast, Operand::Tensor(tensor)) = (step.how, step.operand) {
        if let Some(dtype) = model.heap().tensor(tensor).and_then(|facts| facts.dtype) {
            round_to(dtype, values);
        }
        return Ok(());
    }
    let (operands, axis) = match step.operand {
        Operand::Number(number) => (vec![number], None),
        Operand::Tensor(tensor) => {
            let beside = model.heap().tensor(tensor).map_or(&[][..], |facts| &facts.shape);
            (elements(model, tensor)?, beside.iter().position(|size| *size > 1))
        }
    };
    // One number, or one per index of the axis that the operand is long in.
    let inner: u64 = shape.iter().skip(axis.map_or(shape.len(), |axis| axis + 1)).product();
    let inner = usize::try_from(inner.max(1)).unwrap_or(usize::MAX);
    for (index, value) in values.iter_mut().enumerate() {
        let operand = operands.get(index / inner % operands.len().max(1)).copied().unwrap_or(0.0);
        *value = match step.how {
            Arithmetic::Add => *value + operand,
            Arithmetic::Sub => *value - operand,
            Arithmetic::Mul => *value * operand,
            Arithmetic::Div => *value / operand,
            Arithmetic::Cast => *value,
        };
    }
    Ok(())
}

/// All elements of a tensor as float32, row-major.
fn elements(model: &Model, tensor: TensorId) -> Result<Vec<f32>, Error> {
    let Some((_, found, storage)) = model.contents().tensor(tensor) else { return Ok(Vec::new()) };
    let record = model.archive().read(&storage.record)?;
    let separated = model.heap().tensor(tensor).and_then(|facts| Some((&facts.shape, facts.separated.as_ref()?)));
    if let Some((shape, Separated { storage, strides })) = separated {
        let codes = Codes { storage: *storage, bytes: &record, offset: found.offset };
        return Ok(gather((shape, strides, 0), codes.len(), |at| codes.code(at)));
    }
    let place = (found.sizes.as_slice(), found.strides.as_slice(), found.offset);
    Ok(match (found.dtype(), found.kind) {
        (Some(dtype), _) => {
            let data = LittleEndian::new(dtype, &record);
            let all = data.chunk(0..data.len());
            gather(place, all.len(), |at| all.get(at).copied())
        }
        (None, StorageType::Char) => {
            gather(place, record.len(), |at| record.get(at).map(|byte| f32::from(byte.cast_signed())))
        }
        (None, _) => Vec::new(),
    })
}

/// Codes that share bytes, of which the first one has number `offset`.
struct Codes<'b> {
    storage: Storage,
    bytes: &'b [u8],
    offset: u64,
}

impl Codes<'_> {
    fn len(&self) -> usize {
        self.bytes.len().saturating_mul(self.storage.per_byte())
    }

    fn code(&self, at: usize) -> Option<f32> {
        let shared = self.storage.per_byte();
        let byte = usize::try_from(self.offset).ok()?.checked_add(at / shared)?;
        let bytes = self.bytes.get(byte..=byte)?;
        self.storage.unpack(bytes).nth(at % shared).map(f32::from)
    }
}

/// The elements of a view with these sizes, strides and offset, row-major; `all` of them are stored, and `element` has the one at a position.
fn gather(
    (sizes, strides, offset): (&[u64], &[u64], u64),
    all: usize,
    element: impl Fn(usize) -> Option<f32>,
) -> Vec<f32> {
    let elements = sizes.iter().fold(1_u64, |n, size| n.saturating_mul(*size));
    // An expanded view can stand for more than there is; what is asked for is bounded by the storage.
    if elements > all as u64 {
        return Vec::new();
    }
    let mut index = vec![0_u64; sizes.len()];
    let mut values = Vec::new();
    for _ in 0..elements {
        let steps = index.iter().zip(strides).map(|(i, stride)| i.saturating_mul(*stride));
        let at = steps.fold(offset, u64::saturating_add);
        values.push(usize::try_from(at).ok().and_then(&element).unwrap_or(0.0));
        for (i, size) in index.iter_mut().zip(sizes).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    values
}
