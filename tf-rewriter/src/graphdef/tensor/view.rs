//! A TensorProto as spans: type, shape, and where the elements stand.

use std::ops::Range;

use protobuf::Enum;

use super::layout::{Coding, Layout, dtype_name};
use crate::error::{At, Error};
use crate::graphdef::pb::DataType;
use crate::graphdef::tensor::{Elements, MARK};
use crate::graphdef::wire::{Field, Fields, Value, varint};

/// The most dimensions that TensorFlow's `TensorShape` holds.
const MAX_RANK: usize = 254;

/// Where the elements of a tensor stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// All of them, as they lie in memory (little endian): a span of the file.
    Content(Range<usize>),
    /// In the typed field `field`: `count` elements, of which the last one stands for all that are missing; no elements: all are 0.
    Values {
        /// The field's number.
        field: u32,
        /// Elements that are there, at most as many as the shape says.
        count: usize,
        /// Their bytes in the file, where they lie there in one piece and little endian.
        contiguous: Option<Range<usize>>,
    },
    /// All of them, as they lie in memory (little endian), outside of the graph's own bytes: in a checkpoint.
    Elsewhere,
    /// The type has no fixed-size elements (strings, handles, variants) or is not known here; nothing was checked.
    Opaque,
}

/// A checked view of an encoded TensorProto. The payload is not decoded.
///
/// Where both `tensor_content` and a typed field are filled, `tensor_content` counts, as in TensorFlow.
#[derive(Debug, Clone)]
pub struct TensorView<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) base: usize,
    pub(super) node: &'a str,
    dtype: i32,
    shape: Vec<u64>,
    elements: usize,
    payload: Payload,
    pub(super) elsewhere: Option<Elements<'a>>,
}

impl<'a> TensorView<'a> {
    /// Reads the TensorProto `bytes` that begins at offset `base` of the file and belongs to the node `node` (for messages).
    ///
    /// # Errors
    /// [`Error::Wire`] for bytes that are no message, [`Error::Tensor`] where dtype, shape and payload contradict each other.
    pub fn parse(bytes: &'a [u8], base: usize, node: &'a str) -> Result<Self, Error> {
        Self::parse_with(bytes, base, node, &|_| None)
    }

    /// The same, for a tensor whose elements may be `elsewhere`, under a number.
    ///
    /// # Errors
    /// Those of [`TensorView::parse`].
    pub(crate) fn parse_with(
        bytes: &'a [u8],
        base: usize,
        node: &'a str,
        elsewhere: &dyn Fn(u64) -> Option<Elements<'a>>,
    ) -> Result<Self, Error> {
        let (payload, shape) = (Payload::Opaque, Vec::new());
        let mut view = Self { bytes, base, node, dtype: 0, shape, elements: 0, payload, elsewhere: None };
        let (mut content, mut found) = (None, None);
        let mut fields = view.fields();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => view.dtype = view.dtype_of(&field)?,
                2 => view.read_shape(&field)?,
                4 => match field.value {
                    // As everywhere in protobuf, the last one counts.
                    Value::Bytes(bytes, offset) => content = Some(offset..offset.saturating_add(bytes.len())),
                    _ => return Err(view.wrong_wire_type(&field, "length-delimited bytes")),
                },
                MARK => {
                    if let Value::Varint(number) = field.value {
                        found = elsewhere(number);
                    }
                }
                _ => {}
            }
        }
        if view.dtype == 0 {
            return Err(view.error("no element type", "the type of a value", base));
        }
        view.elements = view.count_elements()?;
        let layout = DataType::from_i32(view.dtype).and_then(Layout::of);
        if let Some(layout) = layout {
            view.payload = match (found, content.filter(|span| !span.is_empty())) {
                (Some(elements), _) => {
                    view.elsewhere = found;
                    view.checked_elsewhere(layout, elements.len())?
                }
                (None, Some(span)) => view.checked_content(layout, span)?,
                (None, None) => view.checked_values(layout)?,
            };
        }
        Ok(view)
    }

    /// The element type; `None` where the number is not known here.
    pub fn dtype(&self) -> Option<DataType> {
        DataType::from_i32(self.dtype)
    }

    /// The element type's name as TensorFlow writes it, for messages.
    pub fn dtype_name(&self) -> String {
        dtype_name(self.dtype).into_owned()
    }

    /// The size of each dimension, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The product of the sizes. A splat may have far more elements than the file has bytes.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// How many elements are stored: fewer than [`elements`](Self::elements) in short form. None of them is read.
    pub(crate) fn stored(&self) -> usize {
        match self.payload {
            Payload::Content(_) | Payload::Elsewhere => self.elements,
            Payload::Values { count, .. } => count,
            Payload::Opaque => 0,
        }
    }

    /// The elements of [`Payload::Elsewhere`]; of any other, nothing.
    pub(crate) fn elsewhere(&self) -> Result<&'a [u8], Error> {
        self.elsewhere.map_or(Ok(&[]), Elements::bytes)
    }

    /// Where the elements stand.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    pub(super) fn fields(&self) -> Fields<'a> {
        Fields::new(self.bytes, self.base, "TensorProto")
    }

    pub(super) fn layout(&self) -> Option<Layout> {
        self.dtype().and_then(Layout::of)
    }

    /// The bytes of a span of the file that lies in this tensor.
    pub(super) fn slice(&self, span: &Range<usize>) -> &'a [u8] {
        let start = span.start.wrapping_sub(self.base);
        let end = span.end.wrapping_sub(self.base);
        self.bytes.get(start..end).unwrap_or_default()
    }

    pub(super) fn error(&self, found: impl Into<String>, expected: impl Into<String>, offset: usize) -> Error {
        let mut at = At::offset(offset);
        at.node = Some(self.node.to_owned());
        Error::Tensor { what: format!("`{}`", self.node), found: found.into(), expected: expected.into(), at }
    }

    fn wrong_wire_type(&self, field: &Field<'_>, expected: &str) -> Error {
        self.error(format!("{} in field {}", field.value.kind(), field.number), expected, field.span.start)
    }

    fn dtype_of(&self, field: &Field<'_>) -> Result<i32, Error> {
        let Value::Varint(number) = field.value else { return Err(self.wrong_wire_type(field, "a varint")) };
        match i32::try_from(number) {
            // The list of types is open at its end, but neither 0 nor a reference is the type of a value.
            Ok(number @ (1..=100 | 201..)) => Ok(number),
            Ok(number) => Err(self.error(dtype_name(number), "the type of a value", field.span.start)),
            Err(_) => Err(self.error(format!("element type {number}"), "the type of a value", field.span.start)),
        }
    }

    fn read_shape(&mut self, field: &Field<'a>) -> Result<(), Error> {
        let Value::Bytes(bytes, offset) = field.value else {
            return Err(self.wrong_wire_type(field, "a TensorShapeProto"));
        };
        let mut fields = Fields::new(bytes, offset, "TensorShapeProto");
        while let Some(field) = fields.next()? {
            match (field.number, &field.value) {
                (2, Value::Bytes(dim, offset)) => {
                    let size = self.dimension(dim, *offset)?;
                    if self.shape.len() == MAX_RANK {
                        return Err(self.error("more dimensions", format!("at most {MAX_RANK}"), field.span.start));
                    }
                    self.shape.push(size);
                }
                (3, Value::Varint(0)) => {}
                (3, Value::Varint(_)) => {
                    return Err(self.error("a shape of unknown rank", "the shape of a value", field.span.start));
                }
                (2, _) => return Err(self.wrong_wire_type(&field, "a dimension")),
                (3, _) => return Err(self.wrong_wire_type(&field, "a varint")),
                _ => {}
            }
        }
        Ok(())
    }

    fn dimension(&self, bytes: &[u8], offset: usize) -> Result<u64, Error> {
        let mut size = 0;
        let mut fields = Fields::new(bytes, offset, "TensorShapeProto.Dim");
        while let Some(field) = fields.next()? {
            if field.number == 1 {
                let Value::Varint(raw) = field.value else { return Err(self.wrong_wire_type(&field, "a varint")) };
                size = raw;
                if raw > i64::MAX as u64 {
                    let found = format!("a dimension of size {}", raw.cast_signed());
                    return Err(self.error(found, "a size of at least 0", field.span.start));
                }
            }
        }
        Ok(size)
    }

    /// The product of the dimensions, as TensorFlow counts it: in 63 bits. Its bytes must be addressable too.
    fn count_elements(&self) -> Result<usize, Error> {
        let too_many = || self.error(format!("shape {:?}", self.shape), "fewer than 2^63 bytes", self.base);
        let size = self.layout().map_or(1, |layout| layout.size) as u64;
        // Without the zeros, so that the product of any of the sizes is small enough too, in an empty tensor as well.
        let factors = self.shape.iter().filter(|size| **size > 0);
        let bytes = factors.copied().try_fold(size, u64::checked_mul);
        let bytes = bytes.filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(too_many)?;
        let elements = if self.shape.contains(&0) { 0 } else { bytes / size };
        usize::try_from(elements).map_err(|_| too_many())
    }

    fn checked_content(&self, layout: Layout, span: Range<usize>) -> Result<Payload, Error> {
        let expected = self.elements.saturating_mul(layout.size);
        if span.len() == expected {
            return Ok(Payload::Content(span));
        }
        let found = format!("{} bytes of tensor_content", span.len());
        Err(self.error(found, format!("{expected} for {} of shape {:?}", self.dtype_name(), self.shape), span.start))
    }

    fn checked_elsewhere(&self, layout: Layout, length: usize) -> Result<Payload, Error> {
        let expected = self.elements.saturating_mul(layout.size);
        if length == expected {
            return Ok(Payload::Elsewhere);
        }
        let found = format!("{length} bytes in a checkpoint");
        Err(self.error(found, format!("{expected} for {} of shape {:?}", self.dtype_name(), self.shape), self.base))
    }

    fn checked_values(&self, layout: Layout) -> Result<Payload, Error> {
        let mut values = 0_usize;
        let mut chunks = 0_usize;
        let mut contiguous = None;
        let mut start = self.base;
        let mut fields = self.fields();
        while let Some(field) = fields.next()? {
            if field.number != layout.field {
                continue;
            }
            start = field.span.start;
            let (found, span) = self.count_values(&field, layout.coding)?;
            if layout.coding == Coding::Bytes {
                // A single byte string: the last one counts.
                (values, chunks, contiguous) = (found, 1, span);
            } else if found > 0 {
                values = values.saturating_add(found);
                chunks += 1;
                contiguous = span;
            }
        }
        let stored = format!("{values} values in field {}", layout.field);
        if !values.is_multiple_of(layout.per_element) {
            return Err(self.error(stored, "pairs of real and imaginary part", start));
        }
        let count = values / layout.per_element;
        if count > self.elements {
            let expected = format!("at most {} for {} of shape {:?}", self.elements, self.dtype_name(), self.shape);
            return Err(self.error(stored, expected, start));
        }
        Ok(Payload::Values { field: layout.field, count, contiguous: contiguous.filter(|_| chunks == 1) })
    }

    /// The number of values in one occurrence of the typed field, and their span where they are little-endian numbers.
    fn count_values(&self, field: &Field<'_>, coding: Coding) -> Result<(usize, Option<Range<usize>>), Error> {
        let item = match (coding, &field.value) {
            (Coding::Fixed32, Value::Fixed32(_)) => return Ok((1, Some(field.span.end - 4..field.span.end))),
            (Coding::Fixed64, Value::Fixed64(_)) => return Ok((1, Some(field.span.end - 8..field.span.end))),
            (Coding::Varint, Value::Varint(_)) => return Ok((1, None)),
            (Coding::Fixed32, _) => 4,
            (Coding::Fixed64, _) => 8,
            (Coding::Bytes, _) => 1,
            (Coding::Varint, _) => 0,
        };
        let Value::Bytes(bytes, offset) = field.value else {
            let expected = match coding {
                Coding::Fixed32 => "numbers of 4 bytes",
                Coding::Fixed64 => "numbers of 8 bytes",
                Coding::Varint => "varints",
                Coding::Bytes => "length-delimited bytes",
            };
            return Err(self.wrong_wire_type(field, expected));
        };
        if item == 0 {
            return Ok((self.count_varints(bytes, offset)?, None));
        }
        if !bytes.len().is_multiple_of(item) {
            let found = format!("{} bytes in field {}", bytes.len(), field.number);
            return Err(self.error(found, format!("a multiple of {item}"), offset));
        }
        Ok((bytes.len() / item, Some(offset..offset.saturating_add(bytes.len()))))
    }

    fn count_varints(&self, bytes: &[u8], offset: usize) -> Result<usize, Error> {
        let mut position = 0;
        let mut count = 0;
        while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
            let Some((_, length)) = varint(rest) else {
                return Err(self.error("a broken varint", "varints", offset.saturating_add(position)));
            };
            position += length;
            count += 1;
        }
        Ok(count)
    }
}
