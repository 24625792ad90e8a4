//! How TensorFlow stores the elements of each type in a TensorProto.
//!
//! Source: TensorFlow 2.21, `tensor.proto` for the fields, `Tensor::FromProto` for which type reads which.

use std::borrow::Cow;

use protobuf::Enum;
use quant_math::DType;

use crate::graphdef::pb::DataType;

/// Bytes of an element in `tensor_content`, and the typed field that can stand in for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of an element.
    pub(super) size: usize,
    /// Number of the typed field.
    pub(super) field: u32,
    /// What the typed field holds.
    pub(super) coding: Coding,
    /// Values of the typed field that make one element: 2 for complex numbers.
    pub(super) per_element: usize,
}

/// How a typed field codes its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Repeated numbers of 4 bytes.
    Fixed32,
    /// Repeated numbers of 8 bytes.
    Fixed64,
    /// Repeated varints.
    Varint,
    /// One byte string.
    Bytes,
}

impl Layout {
    /// The layout of a type; `None` for strings, handles, variants, references and types unknown here.
    pub(super) fn of(dtype: DataType) -> Option<Self> {
        use Coding::{Bytes, Fixed32, Fixed64, Varint};
        use DataType as D;
        let (size, field, coding, per_element) = match dtype {
            D::DT_FLOAT => (4, 5, Fixed32, 1),
            D::DT_DOUBLE => (8, 6, Fixed64, 1),
            D::DT_INT32 | D::DT_QINT32 => (4, 7, Varint, 1),
            D::DT_INT16 | D::DT_UINT16 | D::DT_QINT16 | D::DT_QUINT16 => (2, 7, Varint, 1),
            // Four-bit and two-bit integers take a byte each outside of kernels.
            D::DT_INT8
            | D::DT_UINT8
            | D::DT_QINT8
            | D::DT_QUINT8
            | D::DT_INT4
            | D::DT_UINT4
            | D::DT_INT2
            | D::DT_UINT2 => (1, 7, Varint, 1),
            D::DT_COMPLEX64 => (8, 9, Fixed32, 2),
            D::DT_INT64 => (8, 10, Varint, 1),
            D::DT_BOOL => (1, 11, Varint, 1),
            D::DT_COMPLEX128 => (16, 12, Fixed64, 2),
            D::DT_HALF | D::DT_BFLOAT16 => (2, 13, Varint, 1),
            D::DT_UINT32 => (4, 16, Varint, 1),
            D::DT_UINT64 => (8, 17, Varint, 1),
            D::DT_FLOAT8_E5M2
            | D::DT_FLOAT8_E4M3FN
            | D::DT_FLOAT8_E4M3FNUZ
            | D::DT_FLOAT8_E4M3B11FNUZ
            | D::DT_FLOAT8_E5M2FNUZ => (1, 18, Bytes, 1),
            _ => return None,
        };
        Some(Self { size, field, coding, per_element })
    }
}

/// Bytes of an element outside of a graph; `None` for strings, handles, variants, references and types unknown here.
pub fn dtype_size(dtype: DataType) -> Option<usize> {
    Layout::of(dtype).map(|layout| layout.size)
}

/// The name of an element type as TensorFlow writes it, for messages.
pub fn dtype_name(number: i32) -> Cow<'static, str> {
    match DataType::from_i32(number) {
        Some(dtype) => format!("{dtype:?}").into(),
        None => format!("element type {number}").into(),
    }
}

/// Types that can hold a quantized value.
pub(crate) fn pb_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::DT_FLOAT,
        DType::F64 => DataType::DT_DOUBLE,
        DType::F16 => DataType::DT_HALF,
        DType::BF16 => DataType::DT_BFLOAT16,
    }
}

/// The type of a weight's elements; `None` for types that weights do not have.
pub(crate) fn float_type(dtype: DataType) -> Option<DType> {
    DType::ALL.into_iter().find(|own| pb_type(*own) == dtype)
}
