//! Protobuf's wire format, as far as spans need it: fields are found and measured, nothing is copied.
//!
//! Source of the encoding: the protobuf documentation, "Encoding". Offsets in errors are offsets in the file, so every reader knows
//! where its bytes begin there.

use std::ops::Range;

use crate::error::{At, Error};

/// How deep messages and groups may be nested; TensorFlow's own decoder refuses more.
pub const MAX_DEPTH: usize = 100;

/// The longest varint: ten groups of seven bits.
const MAX_VARINT: usize = 10;

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// Tag and value: their bytes' offsets in the file.
    pub span: Range<usize>,
}

/// The value of a field, by wire type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, little endian.
    Fixed64([u8; 8]),
    /// Wire type 2: the bytes, and their offset in the file.
    Bytes(&'a [u8], usize),
    /// Wire types 3 and 4: the fields between the two tags.
    Group(&'a [u8], usize),
    /// Wire type 5, little endian.
    Fixed32([u8; 4]),
}

impl Value<'_> {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Varint(_) => "a varint",
            Self::Fixed64(_) => "8 fixed bytes",
            Self::Bytes(..) => "length-delimited bytes",
            Self::Group(..) => "a group",
            Self::Fixed32(_) => "4 fixed bytes",
        }
    }
}

/// Walks the fields of one message.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    position: usize,
    base: usize,
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// The fields of `bytes`, which begin at offset `base` of the file and are a `what` (for messages).
    pub fn new(bytes: &'a [u8], base: usize, what: &'static str) -> Self {
        Self { bytes, position: 0, base, what }
    }

    /// The next field; `None` at the end.
    ///
    /// # Errors
    /// Bytes that are no field.
    #[expect(
        clippy::should_implement_trait,
        reason = "a fallible walk: the error ends it, which an iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<Field<'a>>, Error> {
        if self.position == self.bytes.len() {
            return Ok(None);
        }
        let start = self.offset();
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            3 => {
                let inner = self.position;
                let end = self.skip_group(number)?;
                Value::Group(self.bytes.get(inner..end).unwrap_or_default(), self.base.saturating_add(inner))
            }
            4 => return Err(self.error(start, "the end of a group that was not begun", "a field")),
            _ => self.plain_value(wire_type)?,
        };
        Ok(Some(Field { number, value, span: start..self.offset() }))
    }

    /// Offset of the next byte in the file.
    pub fn offset(&self) -> usize {
        self.base.saturating_add(self.position)
    }

    fn tag(&mut self) -> Result<(u32, u32), Error> {
        let start = self.offset();
        let tag = self.varint()?;
        // A tag is a 32-bit number: 29 bits of field number, 3 of wire type.
        let tag = u32::try_from(tag).map_err(|_| self.error(start, "a tag of more than 32 bits", "a field"))?;
        if tag >> 3 == 0 {
            return Err(self.error(start, "field number 0", "a field number from 1 to 536870911"));
        }
        Ok((tag >> 3, tag & 7))
    }

    fn plain_value(&mut self, wire_type: u32) -> Result<Value<'a>, Error> {
        Ok(match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed()?),
            2 => {
                let at = self.offset();
                let length = self.varint()?;
                let left = self.bytes.len() - self.position;
                let length = usize::try_from(length).ok().filter(|length| *length <= left).ok_or_else(|| {
                    self.error(at, format!("a length of {length}"), format!("at most the {left} bytes that are left"))
                })?;
                let offset = self.offset();
                let end = self.position + length;
                let bytes = self.bytes.get(self.position..end).unwrap_or_default();
                self.position = end;
                Value::Bytes(bytes, offset)
            }
            5 => Value::Fixed32(self.fixed()?),
            _ => return Err(self.error(self.offset(), format!("wire type {wire_type}"), "a wire type from 0 to 5")),
        })
    }

    /// Moves behind the end tag of group `number`; returns the position where that tag begins.
    fn skip_group(&mut self, number: u32) -> Result<usize, Error> {
        let mut open = vec![number];
        loop {
            let start = self.position;
            if start == self.bytes.len() {
                return Err(self.error(self.offset(), "the end of the message", "the end of a group"));
            }
            let (number, wire_type) = self.tag()?;
            match wire_type {
                3 if open.len() == MAX_DEPTH => {
                    return Err(self.error(
                        self.base.saturating_add(start),
                        "groups nested deeper",
                        "at most 100 levels",
                    ));
                }
                3 => open.push(number),
                4 => {
                    if open.pop() != Some(number) {
                        let found = format!("the end of group {number}");
                        return Err(self.error(
                            self.base.saturating_add(start),
                            found,
                            "the end of the innermost group",
                        ));
                    }
                    if open.is_empty() {
                        return Ok(start);
                    }
                }
                _ => {
                    self.plain_value(wire_type)?;
                }
            }
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let value = *rest
            .first_chunk::<N>()
            .ok_or_else(|| self.error(self.offset(), format!("{} bytes", rest.len()), format!("{N} bytes")))?;
        self.position += N;
        Ok(value)
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        match varint(rest) {
            Some((value, length)) => {
                self.position += length;
                Ok(value)
            }
            None if rest.len() < MAX_VARINT => {
                Err(self.error(self.offset(), "the end of the message", "the rest of a varint"))
            }
            None => Err(self.error(self.offset(), "more than 64 bits", "a varint of at most 10 bytes")),
        }
    }

    fn error(
        &self,
        offset: usize,
        found: impl Into<std::borrow::Cow<'static, str>>,
        expected: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Error {
        Error::Wire { what: self.what.into(), found: found.into(), expected: expected.into(), at: At::offset(offset) }
    }
}

/// The varint at the start of `bytes` and its length; `None` where it does not end in time or has more than 64 bits.
#[inline]
pub fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(MAX_VARINT) {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte holds the 64th bit alone.
        if index == MAX_VARINT - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Appends `value` as a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Appends the tag of a field: its number and wire type.
pub fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Appends a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Field<'_>>, Error> {
        let mut fields = Fields::new(bytes, 0x100, "test");
        let mut found = Vec::new();
        while let Some(field) = fields.next()? {
            found.push(field);
        }
        Ok(found)
    }

    fn check_error(bytes: &[u8], message: &str, offset: u64) {
        match all(bytes) {
            Err(error @ Error::Wire { .. }) => {
                assert_eq!(error.to_string(), format!("test: {message}"));
                assert_eq!(error.location(), Some(format!("offset {:#x}", 0x100 + offset)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_wire_type_is_measured() {
        let bytes = [
            &[0x08, 0x96, 0x01][..],            // 1: varint 150
            &[0x11, 1, 0, 0, 0, 0, 0, 0, 0x80], // 2: fixed64
            &[0x1a, 2, b'h', b'i'],             // 3: bytes
            &[0x23, 0x08, 1, 0x2b, 0x2c, 0x24], // 4: group { 1: 1, 5: group {} }
            &[0x35, 1, 2, 3, 4],                // 6: fixed32
        ]
        .concat();
        let fields = all(&bytes).unwrap();
        let values: Vec<_> = fields.iter().map(|field| (field.number, field.value.clone())).collect();
        assert_eq!(
            values,
            [
                (1, Value::Varint(150)),
                (2, Value::Fixed64([1, 0, 0, 0, 0, 0, 0, 0x80])),
                (3, Value::Bytes(b"hi", 0x10e)),
                (4, Value::Group(&[0x08, 1, 0x2b, 0x2c], 0x111)),
                (6, Value::Fixed32([1, 2, 3, 4])),
            ]
        );
        let spans: Vec<_> = fields.iter().map(|field| field.span.clone()).collect();
        assert_eq!(spans, [0x100..0x103, 0x103..0x10c, 0x10c..0x110, 0x110..0x116, 0x116..0x11b]);
    }

    #[test]
    fn damage_is_named_with_its_offset() {
        check_error(&[0x08], "found the end of the message, expected the rest of a varint", 1);
        check_error(&[0x08, 1, 0x80], "found the end of the message, expected the rest of a varint", 2);
        check_error(
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            "found more than 64 bits, expected a varint of at most 10 bytes",
            1,
        );
        check_error(&[0x80; 11], "found more than 64 bits, expected a varint of at most 10 bytes", 0);
        check_error(&[0x00, 0], "found field number 0, expected a field number from 1 to 536870911", 0);
        check_error(&[0x88, 0x80, 0x80, 0x80, 0x10, 0], "found a tag of more than 32 bits, expected a field", 0);
        check_error(&[0x0a, 5, 1, 2], "found a length of 5, expected at most the 2 bytes that are left", 1);
        check_error(
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            "found a length of 18446744073709551615, expected at most the 0 bytes that are left",
            1,
        );
        check_error(&[0x0d, 1, 2, 3], "found 3 bytes, expected 4 bytes", 1);
        check_error(&[0x09, 1], "found 1 bytes, expected 8 bytes", 1);
        check_error(&[0x0e], "found wire type 6, expected a wire type from 0 to 5", 1);
        check_error(&[0x0c], "found the end of a group that was not begun, expected a field", 0);
        check_error(&[0x0b, 0x14], "found the end of group 2, expected the end of the innermost group", 1);
        check_error(&[0x0b], "found the end of the message, expected the end of a group", 1);
        check_error(&[0x0b; 101], "found groups nested deeper, expected at most 100 levels", 100);
    }

    #[test]
    fn overlong_varints_are_legal_up_to_ten_bytes() {
        assert_eq!(varint(&[0x80, 0x80, 0]), Some((0, 3)));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Some((u64::MAX, 10)));
        assert_eq!(varint(&[]), None);
    }

    proptest! {
        #[test]
        fn varints_come_back(value: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(varint(&bytes), Some((value, bytes.len())));
        }

        #[test]
        fn walking_arbitrary_bytes_ends_without_a_panic(bytes: Vec<u8>) {
            let mut fields = Fields::new(&bytes, usize::MAX - 4, "test");
            let mut steps = 0;
            while let Ok(Some(_)) = fields.next() {
                steps += 1;
            }
            prop_assert!(steps <= bytes.len());
        }
    }
}
