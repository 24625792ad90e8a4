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
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F16, Self::BF16, Self::F32, Self::F64];

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

    /// Call `work(position, elements)` for the elements `span` in order: for all at once where they are float32 already, else piece by piece,
    /// so that those of a piece stay in the nearest cache while `work` reads them. Every piece but the last is a multiple of [`PIECE`].
    fn pieces(&self, span: Span<usize>, work: &mut dyn FnMut(usize, &[f32])) {
        work(span.start, &self.chunk(span));
    }
}

/// Elements that are converted at a time: 16 KiB.
pub const PIECE: usize = 4096;

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

    fn bytes_of(&self, span: Span<usize>) -> &'a [u8] {
        let size = self.dtype.size();
        let bytes = span.start.checked_mul(size).zip(span.end.checked_mul(size));
        bytes.and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or_default()
    }

    /// `bytes` as they are, where they are float32 as this machine has them.
    fn in_place(&self, bytes: &'a [u8]) -> Option<&'a [f32]> {
        let same = self.dtype == DType::F32 && cfg!(target_endian = "little");
        same.then(|| bytemuck::try_cast_slice(bytes).ok()).flatten()
    }
}

impl WeightData for LittleEndian<'_> {
    fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    fn chunk(&self, span: Span<usize>) -> Cow<'_, [f32]> {
        let bytes = self.bytes_of(span);
        self.in_place(bytes).map_or_else(
            || {
                let mut values = vec![0.0; bytes.len() / self.dtype.size()];
                read_little_endian(self.dtype, bytes, &mut values);
                Cow::Owned(values)
            },
            Cow::Borrowed,
        )
    }

    fn pieces(&self, span: Span<usize>, work: &mut dyn FnMut(usize, &[f32])) {
        let bytes = self.bytes_of(span.clone());
        if let Some(values) = self.in_place(bytes) {
            return work(span.start, values);
        }
        let mut values = [0.0; PIECE];
        for (number, bytes) in bytes.chunks(PIECE * self.dtype.size()).enumerate() {
            let values = values.get_mut(..bytes.len() / self.dtype.size()).unwrap_or_default();
            read_little_endian(self.dtype, bytes, values);
            work(span.start + number * PIECE, values);
        }
    }
}

/// `values[i]` from little-endian `bytes` of `dtype`, as far as both reach.
fn read_little_endian(dtype: DType, bytes: &[u8], values: &mut [f32]) {
    fn each<const N: usize>(bytes: &[u8], values: &mut [f32], read: impl Fn([u8; N]) -> f32) {
        values.iter_mut().zip(bytes.as_chunks().0).for_each(|(value, bytes)| *value = read(*bytes));
    }
    match dtype {
        DType::F32 => each(bytes, values, f32::from_le_bytes),
        DType::F64 => each(bytes, values, |b| narrow(f64::from_le_bytes(b))),
        DType::F16 => each(bytes, values, |b| f16::from_le_bytes(b).to_f32()),
        DType::BF16 => each(bytes, values, |b| bf16::from_le_bytes(b).to_f32()),
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

/// Turn `values` into what is read again after [`write_little_endian`] as `dtype`.
pub fn round_to(dtype: DType, values: &mut [f32]) {
    match dtype {
        DType::F32 | DType::F64 => {}
        DType::F16 => values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32()),
        DType::BF16 => values.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
pub(crate) fn narrow(x: f64) -> f32 {
    x as f32
}
