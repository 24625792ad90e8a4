//! The elements of a tensor as numbers.

use std::borrow::Cow;
use std::ops::Range;

use half::{bf16, f16};
use quant_math::data::LittleEndian;
use quant_math::fold::Scaled;
use quant_math::{DType, WeightData};

use super::layout::{Coding, float_type};
use super::view::{Payload, TensorView};
use crate::error::Error;
use crate::graphdef::pb::DataType;
use crate::graphdef::wire::{Value, varint};

/// How many integers a splat may stand for; the tensors that are read this way (shapes, permutations) are short.
const MAX_INT_SPLAT: usize = 1 << 16;

/// The elements of a float tensor, in storage order. Borrowed from the file where they lie there as they do in memory.
///
/// A splat is not spread out: [`WeightData::chunk`] repeats the last stored element on the fly, so `len()` may be far more than
/// what is stored.
#[derive(Debug, Clone)]
pub struct FloatData<'a> {
    dtype: DType,
    stored: Stored<'a>,
    len: usize,
}

#[derive(Debug, Clone)]
enum Stored<'a> {
    InPlace(LittleEndian<'a>),
    Scaled(Scaled<'a>),
    Decoded(Floats),
}

#[derive(Debug, Clone)]
struct Floats(Vec<f32>);

impl WeightData for Floats {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self, span: Range<usize>) -> Cow<'_, [f32]> {
        self.0.as_slice().chunk(span)
    }
}

impl FloatData<'_> {
    /// The element type in the file.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The elements that are stored, at most `len()`. Where they are fewer, the last one stands for the rest, and where there are
    /// none, all are 0.
    pub fn stored(&self) -> &dyn WeightData {
        match &self.stored {
            Stored::InPlace(data) => data,
            Stored::Scaled(data) => data,
            Stored::Decoded(values) => values,
        }
    }

    /// Whether fewer elements are stored than the shape says.
    pub fn is_splat(&self) -> bool {
        self.stored().len() < self.len
    }
}

impl WeightData for FloatData<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn chunk(&self, span: Range<usize>) -> Cow<'_, [f32]> {
        let stored = self.stored();
        if span.end <= stored.len() {
            return stored.chunk(span);
        }
        if span.start > span.end || span.end > self.len {
            return Cow::default();
        }
        let mut values = stored.chunk(span.start.min(stored.len())..stored.len()).into_owned();
        let last = stored.chunk(stored.len().saturating_sub(1)..stored.len()).first().copied().unwrap_or(0.0);
        values.resize(span.len(), last);
        Cow::Owned(values)
    }

    fn pieces(&self, span: Range<usize>, work: &mut dyn FnMut(usize, &[f32])) {
        let stored = self.stored();
        if span.end <= stored.len() { stored.pieces(span, work) } else { work(span.start, &self.chunk(span)) }
    }
}

impl<'a> TensorView<'a> {
    /// The element type as the arithmetic knows it; `None` where it is no float that can be quantized.
    pub fn float_dtype(&self) -> Option<DType> {
        float_type(self.dtype()?)
    }

    /// The elements of a float tensor.
    ///
    /// # Errors
    /// [`Error::Tensor`] for any other element type.
    pub fn float_data(&self) -> Result<FloatData<'a>, Error> {
        let Some(dtype) = self.float_dtype() else {
            return Err(self.error(self.dtype_name(), "a float type", self.base));
        };
        let stored = match self.payload() {
            Payload::Content(span) | Payload::Values { contiguous: Some(span), .. } => {
                Stored::InPlace(LittleEndian::new(dtype, self.slice(span)))
            }
            Payload::Elsewhere => match self.elsewhere.and_then(|elements| elements.by) {
                None => Stored::InPlace(LittleEndian::new(dtype, self.elsewhere()?)),
                Some((_, by)) => Stored::Scaled(Scaled::new(dtype, self.elsewhere()?, by)),
            },
            Payload::Values { .. } => Stored::Decoded(Floats(self.decode_floats(dtype)?)),
            Payload::Opaque => Stored::Decoded(Floats(Vec::new())),
        };
        Ok(FloatData { dtype, stored, len: self.elements() })
    }

    /// Whether the elements have a type that [`TensorView::int_values`] reads.
    pub(crate) fn holds_ints(&self) -> bool {
        self.dtype().and_then(IntType::of).is_some()
    }

    /// The elements of an integer or bool tensor, a splat spread out.
    ///
    /// # Errors
    /// [`Error::Tensor`] for any other element type, for a 64-bit value beyond `i64`, and for a splat of more than 65,536 elements.
    pub fn int_values(&self) -> Result<Vec<i64>, Error> {
        let Some(int) = self.dtype().and_then(IntType::of) else {
            return Err(self.error(self.dtype_name(), "an integer type", self.base));
        };
        let mut values = match self.payload() {
            Payload::Content(span) => {
                self.slice(span).chunks_exact(int.size).map(|element| int.read(element)).collect()
            }
            Payload::Elsewhere => self.elsewhere()?.chunks_exact(int.size).map(|element| int.read(element)).collect(),
            Payload::Values { .. } => {
                let mut raw = Vec::new();
                self.each_varint(|value| raw.push(int.narrow(value)))?;
                raw
            }
            Payload::Opaque => Vec::new(),
        }
        .into_iter()
        .collect::<Option<Vec<i64>>>()
        .ok_or_else(|| self.error("a value of 2^63 or more", "a value below 2^63", self.base))?;
        if values.len() < self.elements() {
            if self.elements() > MAX_INT_SPLAT {
                let found = format!("{} values for {} elements", values.len(), self.elements());
                return Err(self.error(found, format!("at most {MAX_INT_SPLAT} elements in short form"), self.base));
            }
            let last = values.last().copied().unwrap_or(0);
            values.resize(self.elements(), last);
        }
        Ok(values)
    }

    /// The bytes of an int8 or uint8 tensor in `tensor_content` form, which is how packed weights are stored; of any other, nothing.
    ///
    /// # Errors
    /// Elements in a checkpoint whose CRC is wrong.
    pub fn code_bytes(&self) -> Result<&'a [u8], Error> {
        match self.payload() {
            Payload::Content(span) if self.holds_codes() => Ok(self.slice(span)),
            Payload::Elsewhere if self.holds_codes() => self.elsewhere(),
            _ => Ok(&[]),
        }
    }

    /// Whether there are [`code_bytes`](Self::code_bytes).
    pub(crate) fn holds_codes(&self) -> bool {
        matches!(self.dtype(), Some(DataType::DT_INT8 | DataType::DT_UINT8))
            && matches!(self.payload(), Payload::Content(_) | Payload::Elsewhere)
            && self.elements() > 0
    }

    fn decode_floats(&self, dtype: DType) -> Result<Vec<f32>, Error> {
        let mut values = Vec::new();
        match dtype {
            // The field's upper bits mean nothing, as in TensorFlow.
            DType::F16 => self.each_varint(|bits| values.push(f16::from_bits(low_bits(bits)).to_f32()))?,
            DType::BF16 => self.each_varint(|bits| values.push(bf16::from_bits(low_bits(bits)).to_f32()))?,
            DType::F32 | DType::F64 => {
                let Some(layout) = self.layout() else { return Ok(values) };
                let mut fields = self.fields();
                while let Some(field) = fields.next()? {
                    if field.number == layout.field {
                        let bytes = match &field.value {
                            Value::Fixed32(bytes) => &bytes[..],
                            Value::Fixed64(bytes) => &bytes[..],
                            Value::Bytes(bytes, _) => bytes,
                            Value::Varint(_) | Value::Group(..) => &[],
                        };
                        let data = LittleEndian::new(dtype, bytes);
                        values.extend_from_slice(&data.chunk(0..data.len()));
                    }
                }
            }
        }
        Ok(values)
    }

    /// Calls `each` for every value of the typed field, packed or not.
    fn each_varint(&self, mut each: impl FnMut(u64)) -> Result<(), Error> {
        let Some(layout) = self.layout().filter(|layout| layout.coding == Coding::Varint) else { return Ok(()) };
        let mut fields = self.fields();
        while let Some(field) = fields.next()? {
            if field.number != layout.field {
                continue;
            }
            match field.value {
                Value::Varint(value) => each(value),
                Value::Bytes(mut bytes, _) => {
                    while let Some((value, length)) = varint(bytes) {
                        each(value);
                        bytes = bytes.get(length..).unwrap_or_default();
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower 16 bits are the element")]
fn low_bits(value: u64) -> u16 {
    value as u16
}

/// An integer type by its size and sign.
#[derive(Debug, Clone, Copy)]
struct IntType {
    size: usize,
    signed: bool,
}

impl IntType {
    fn of(dtype: DataType) -> Option<Self> {
        let (size, signed) = match dtype {
            DataType::DT_INT8 => (1, true),
            DataType::DT_UINT8 | DataType::DT_BOOL => (1, false),
            DataType::DT_INT16 => (2, true),
            DataType::DT_UINT16 => (2, false),
            DataType::DT_INT32 => (4, true),
            DataType::DT_UINT32 => (4, false),
            DataType::DT_INT64 => (8, true),
            DataType::DT_UINT64 => (8, false),
            _ => return None,
        };
        Some(Self { size, signed })
    }

    /// A little-endian element; `None` beyond `i64`.
    fn read(self, element: &[u8]) -> Option<i64> {
        let raw = element.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        self.narrow(raw)
    }

    /// The element whose low bytes are `raw`; `None` beyond `i64`.
    fn narrow(self, raw: u64) -> Option<i64> {
        let unused = 64 - 8 * self.size;
        let high = raw << unused;
        if self.signed { Some(high.cast_signed() >> unused) } else { i64::try_from(high >> unused).ok() }
    }
}
