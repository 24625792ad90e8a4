//! New tensors, in the form that TensorFlow itself writes.

use half::{bf16, f16};
use protobuf::Enum;
use quant_math::DType;

use super::layout::{Layout, pb_type};
use crate::graphdef::pb::DataType;
use crate::graphdef::wire::{put_bytes, put_tag, put_varint};

/// The bytes of a TensorProto up to its payload: type, shape, and the tag and length of `content_length` bytes of `tensor_content`
/// that must follow. So large contents need not be copied.
pub fn header(dtype: DataType, shape: &[u64], content_length: usize) -> Vec<u8> {
    let mut out = shape_and_type(dtype, shape);
    put_tag(&mut out, 4, 2);
    put_varint(&mut out, content_length as u64);
    out
}

/// A whole TensorProto. `content` holds the elements as they lie in memory, little endian; its length is the product of `shape`
/// times the size of `dtype`.
pub fn encode_tensor(dtype: DataType, shape: &[u64], content: &[u8]) -> Vec<u8> {
    let mut out = header(dtype, shape, content.len());
    out.extend_from_slice(content);
    out
}

/// A TensorProto in short form: fewer `values` than elements, the last of which stands for all that are missing. The values are
/// rounded to `dtype`.
pub fn encode_splat(dtype: DType, shape: &[u64], values: &[f32]) -> Vec<u8> {
    let mut packed = Vec::new();
    for value in values {
        match dtype {
            DType::F32 => packed.extend(value.to_le_bytes()),
            DType::F64 => packed.extend(f64::from(*value).to_le_bytes()),
            DType::F16 => put_varint(&mut packed, f16::from_f32(*value).to_bits().into()),
            DType::BF16 => put_varint(&mut packed, bf16::from_f32(*value).to_bits().into()),
        }
    }
    let mut out = shape_and_type(pb_type(dtype), shape);
    if let (false, Some(layout)) = (packed.is_empty(), Layout::of(pb_type(dtype))) {
        put_bytes(&mut out, layout.field, &packed);
    }
    out
}

/// A TensorProto without elements.
pub(crate) fn shape_and_type(dtype: DataType, shape: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    put_tag(&mut out, 1, 0);
    put_varint(&mut out, dtype.value().cast_unsigned().into());
    let mut dims = Vec::new();
    for size in shape {
        let mut dim = Vec::new();
        if *size != 0 {
            put_tag(&mut dim, 1, 0);
            put_varint(&mut dim, *size);
        }
        put_bytes(&mut dims, 2, &dim);
    }
    // A scalar's shape is written too, as TensorFlow does.
    put_bytes(&mut out, 2, &dims);
    out
}
