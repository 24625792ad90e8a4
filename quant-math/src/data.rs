//! Float tensors as the arithmetic reads them: chunks of float32, whatever they are stored as.

use std::borrow::Cow;
use std::ops::Range as Span;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// The float types that can be quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// A tensor's elements in storage order, readable in chunks and from several threads.
///
/// All arithmetic is float32: f16 and bf16 convert exactly, f64 rounds to the nearest float32 (a number beyond float32's range
/// becomes an infinity, which the observers refuse with its index).
pub trait WeightData: Sync {
    /// The number of elements.
    fn len(&self) -> usize;

    /// Whether there are no elements.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements `span` as float32; borrowed where they are float32 already. Out of bounds is an empty or short slice.
    fn chunk(&self, span: Span<usize>) -> Cow<'_, [f32]>;
}

impl WeightData for [f32] {
    fn len(&self) -> usize {
        self.len()
    }

    fn chunk(&self, span: Span<usize>) -> Cow<'_, [f32]> {
        Cow::Borrowed(self.get(span).unwrap_or_default())
    }
}

/// A tensor that lies in memory as little-endian bytes of `dtype`, aligned or not.
#[derive(Debug, Clone, Copy)]
pub struct LittleEndian<'a> {
    dtype: DType,
    bytes: &'a [u8],
}

impl<'a> LittleEndian<'a> {
    /// A view of `bytes`; a tail shorter than one element is ignored.
    pub fn new(dtype: DType, bytes: &'a [u8]) -> Self {
        Self { dtype, bytes }
    }

    /// The element type.
    pub fn dtype(self) -> DType {
        self.dtype
    }
}

impl WeightData for LittleEndian<'_> {
    fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    fn chunk(&self, span: Span<usize>) -> Cow<'_, [f32]> {
        let size = self.dtype.size();
        let bytes = span.start.checked_mul(size).zip(span.end.checked_mul(size));
        let bytes = bytes.and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or_default();
        match self.dtype {
            DType::F32 if cfg!(target_endian = "little") => match bytemuck::try_cast_slice(bytes) {
                Ok(floats) => Cow::Borrowed(floats),
                Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
            },
            DType::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            DType::F64 => bytes.as_chunks().0.iter().map(|b| narrow(f64::from_le_bytes(*b))).collect(),
            DType::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            DType::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        }
    }
}

/// Write float32 values as little-endian `dtype` (nearest even where that is narrower); `out` holds exactly `values.len()` elements.
pub fn write_little_endian(dtype: DType, values: &[f32], out: &mut [u8]) {
    match dtype {
        DType::F32 => values.iter().zip(out.as_chunks_mut().0).for_each(|(v, o)| *o = v.to_le_bytes()),
        DType::F64 => values.iter().zip(out.as_chunks_mut().0).for_each(|(v, o)| *o = f64::from(*v).to_le_bytes()),
        DType::F16 => values.iter().zip(out.as_chunks_mut().0).for_each(|(v, o)| *o = f16::from_f32(*v).to_le_bytes()),
        DType::BF16 => {
            values.iter().zip(out.as_chunks_mut().0).for_each(|(v, o)| *o = bf16::from_f32(*v).to_le_bytes());
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
pub(crate) fn narrow(x: f64) -> f32 {
    x as f32
}
