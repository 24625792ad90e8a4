//! The fields of a message under construction, in the binary form.

use super::schema::{FieldSpec, Kind};
use crate::graphdef::wire::{put_bytes, put_tag, put_varint};

/// A value as text gives it, of the kind that its field asks for.
#[derive(Debug, Clone)]
pub(super) enum Scalar {
    /// A varint, sign-extended.
    Varint(u64),
    Fixed64(u64),
    Double(f64),
    Float(f32),
    Bytes(Vec<u8>),
}

impl Scalar {
    /// Whether a field without explicit presence leaves it out.
    fn is_default(&self) -> bool {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => *value == 0,
            // -0 is not the default.
            Self::Double(value) => value.to_bits() == 0,
            Self::Float(value) => value.to_bits() == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    /// Appends the value without its tag.
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Varint(value) => put_varint(out, *value),
            Self::Fixed64(value) => out.extend(value.to_le_bytes()),
            Self::Double(value) => out.extend(value.to_le_bytes()),
            Self::Float(value) => out.extend(value.to_le_bytes()),
            Self::Bytes(bytes) => {
                put_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// A message that is being built.
#[derive(Debug, Default)]
pub(super) struct Building {
    bytes: Vec<u8>,
    /// Packed fields, which stand at the message's end.
    packed: Vec<(u32, Vec<u8>)>,
    /// Singular fields that were given: number, name, oneof.
    given: Vec<(u32, &'static str, Option<i32>)>,
}

impl Building {
    /// Notes that `field` is given. The other field that forbids it, if there is one: itself, or one of the same oneof.
    pub(super) fn claim(&mut self, field: &'static FieldSpec) -> Option<&'static str> {
        if field.repeated {
            return None;
        }
        let taken = self
            .given
            .iter()
            .find(|(number, _, oneof)| *number == field.number || oneof.is_some() && *oneof == field.oneof);
        if let Some((_, name, _)) = taken {
            return Some(name);
        }
        self.given.push((field.number, field.name, field.oneof));
        None
    }

    /// Adds a value.
    pub(super) fn add(&mut self, field: &FieldSpec, value: &Scalar) {
        if field.repeated && field.kind.packs() {
            if !self.packed.iter().any(|(number, _)| *number == field.number) {
                self.packed.push((field.number, Vec::new()));
            }
            if let Some((_, values)) = self.packed.iter_mut().find(|(number, _)| *number == field.number) {
                value.put(values);
            }
        } else if field.repeated || field.oneof.is_some() || !value.is_default() {
            put_tag(&mut self.bytes, field.number, field.kind.wire_type());
            value.put(&mut self.bytes);
        }
    }

    /// Adds a finished message.
    pub(super) fn add_message(&mut self, number: u32, message: Self) {
        put_bytes(&mut self.bytes, number, &message.finish());
    }

    /// The message's bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        for (number, values) in &self.packed {
            put_bytes(&mut self.bytes, *number, values);
        }
        self.bytes
    }
}

/// What a field of this kind expects, for messages.
pub(super) fn expectation(kind: Kind) -> &'static str {
    match kind {
        Kind::Int32 => "an integer of 32 bits",
        Kind::Int64 => "an integer of 64 bits",
        Kind::Uint32 => "a non-negative integer of 32 bits",
        Kind::Uint64 | Kind::Fixed64 => "a non-negative integer of 64 bits",
        Kind::Float | Kind::Double => "a decimal number",
        Kind::Bool => "`true` or `false`",
        Kind::String => "a string of UTF-8",
        Kind::Bytes => "a string",
        Kind::Enum(_) => "the name of a value",
        Kind::Message(_) => "`{`",
    }
}
