//! What the buffers of injected modules hold.

use quant_math::WeightData;
use quant_math::data::LittleEndian;

use crate::error::Error;
use crate::find::model::Model;
use crate::torchscript::heap::TensorId;

/// The first element of an integer tensor.
pub(crate) fn whole(model: &Model, tensor: TensorId) -> Result<Option<i64>, Error> {
    let Some((_, found, storage)) = model.contents().tensor(tensor) else { return Ok(None) };
    let record = model.archive().read(&storage.record)?;
    let size = usize::try_from(found.kind.size()).unwrap_or(usize::MAX);
    let start = usize::try_from(found.offset).ok().and_then(|offset| offset.checked_mul(size));
    let bytes = start.and_then(|start| record.get(start..start.checked_add(size)?));
    let wide = bytes.and_then(|bytes| bytes.first_chunk()).map(|bytes| i64::from_le_bytes(*bytes));
    let narrow = bytes.and_then(|bytes| bytes.first_chunk()).map(|bytes| i32::from_le_bytes(*bytes).into());
    Ok(if size == 8 { wide } else { narrow })
}

/// The first element of a float tensor.
pub(crate) fn real(model: &Model, tensor: TensorId) -> Result<Option<f32>, Error> {
    let Some((_, found, storage)) = model.contents().tensor(tensor) else { return Ok(None) };
    let (Some(dtype), Ok(offset)) = (found.dtype(), usize::try_from(found.offset)) else { return Ok(None) };
    let record = model.archive().read(&storage.record)?;
    let data = LittleEndian::new(dtype, &record);
    Ok(data.chunk(offset..offset.saturating_add(1)).first().copied())
}

/// All elements of a float tensor, which is a vector or a scalar; none where it is another tensor or not stored in one piece.
pub(crate) fn reals(model: &Model, tensor: TensorId) -> Result<Vec<f32>, Error> {
    let Ok(stored) = model.contents().stored(tensor) else { return Ok(Vec::new()) };
    let bytes = stored.bytes(model.archive())?;
    let data = stored.data(&bytes);
    Ok(data.chunk(0..data.len()).into_owned())
}

/// All elements of an integer tensor in one piece; none where it is another tensor.
pub(crate) fn wholes(model: &Model, tensor: TensorId) -> Result<Vec<i64>, Error> {
    let Some((_, found, storage)) = model.contents().tensor(tensor) else { return Ok(Vec::new()) };
    let record = model.archive().read(&storage.record)?;
    let len = found.sizes.iter().fold(1_u64, |all, size| all.saturating_mul(*size));
    if found.kind.size() != 8 || found.offset != 0 || len.checked_mul(8) != Some(record.len() as u64) {
        return Ok(Vec::new());
    }
    Ok(record.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
}
