//! The binary form into text.

use std::io::Write;

use quant_math::Budget;

use super::numbers::{f32_text, f64_text};
use super::schema::{FieldSpec, Kind, MessageId, MessageSpec, Schema};
use super::strings::quote;
use crate::error::{At, Error};
use crate::graphdef::wire::{Field, Fields, MAX_DEPTH, Value, varint};

/// Writes the GraphDef `graph` in text form.
///
/// Fields keep the order of the binary form. A NaN is written as `nan`; text has no way to say more about it.
///
/// # Errors
/// [`Error::Wire`] for bytes that are no GraphDef, [`Error::NoText`] for a field that has no name (text would lose it),
/// [`Error::Io`] where `out` refuses; [`Error::Budget`] for a text far longer than the graph: lines are indented, and a byte deep inside
/// can stand for hundreds.
pub fn write(graph: &[u8], out: &mut impl Write) -> Result<(), Error> {
    let schema = Schema::get();
    let mut writer =
        Writer { schema, out, line: Vec::new(), joined: false, budget: Budget::for_file(graph.len() as u64) };
    writer.message(schema.message(schema.graph), graph, 0, 0)
}

struct Writer<'a, W> {
    schema: &'static Schema,
    out: &'a mut W,
    line: Vec<u8>,
    /// Whether the bytes that are being written are a joined copy.
    joined: bool,
    /// Counts the bytes of the text.
    budget: Budget,
}

/// A singular field: protobuf says that the last one counts, that messages merge, and that members of a oneof exclude each other.
struct Single {
    number: u32,
    oneof: Option<i32>,
    /// Offsets of the first and last field that count.
    first: usize,
    last: usize,
}

impl<W: Write> Writer<'_, W> {
    /// Writes the fields of a message. Depth is limited, so the call stack is.
    fn message(&mut self, spec: &MessageSpec, bytes: &[u8], base: usize, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Wire {
                what: spec.name.into(),
                found: "messages nested deeper".into(),
                expected: format!("at most {MAX_DEPTH} levels").into(),
                at: At::offset(base),
            });
        }
        let singles = singles(spec, bytes, base)?;
        let mut fields = Fields::new(bytes, base, "GraphDef");
        while let Some(field) = fields.next()? {
            let known = known(spec, &field)?;
            let single = singles.iter().find(|single| single.number == field.number);
            match (known.kind, &field.value) {
                (_, _) if !known.repeated && single.is_none_or(|single| single.last != field.span.start) => {}
                (Kind::Message(id), Value::Bytes(inner, at)) => match single {
                    Some(single) if single.first != single.last => {
                        let joined = self.join(spec, bytes, base, single)?;
                        self.joined = true;
                        self.nested(known, id, &joined, *at, depth)?;
                        self.joined = false;
                    }
                    _ => self.nested(known, id, inner, *at, depth)?,
                },
                (kind, Value::Bytes(packed, at)) if kind.packs() => self.packed(known, packed, *at, depth)?,
                (_, value) => {
                    if known.repeated || known.oneof.is_some() || !is_default(value) {
                        self.scalar(known, value, depth)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The bytes of a message that stands in several pieces.
    fn join(&self, spec: &MessageSpec, bytes: &[u8], base: usize, single: &Single) -> Result<Vec<u8>, Error> {
        // Copies of copies could add up to many times the file. No writer makes them.
        if self.joined {
            return Err(Error::Wire {
                what: spec.name.into(),
                found: "a message in several pieces inside of another one".into(),
                expected: "messages in one piece".into(),
                at: At::offset(single.first),
            });
        }
        let mut joined = Vec::new();
        let mut fields = Fields::new(bytes, base, "GraphDef");
        while let Some(field) = fields.next()? {
            if let Value::Bytes(piece, _) = field.value
                && field.number == single.number
                && field.span.start >= single.first
            {
                joined.extend_from_slice(piece);
            }
        }
        Ok(joined)
    }

    fn nested(
        &mut self,
        field: &FieldSpec,
        id: MessageId,
        bytes: &[u8],
        base: usize,
        depth: usize,
    ) -> Result<(), Error> {
        self.indent(depth);
        self.line.extend(field.name.as_bytes());
        self.line.extend(b" {");
        self.end_line()?;
        self.message(self.schema.message(id), bytes, base, depth + 1)?;
        self.indent(depth);
        self.line.push(b'}');
        self.end_line()
    }

    fn packed(&mut self, field: &FieldSpec, packed: &[u8], base: usize, depth: usize) -> Result<(), Error> {
        let mut rest = packed;
        while !rest.is_empty() {
            let value = match field.kind.wire_type() {
                0 => varint(rest).map(|(value, length)| (Value::Varint(value), length)),
                1 => rest.first_chunk().map(|bytes| (Value::Fixed64(*bytes), 8)),
                _ => rest.first_chunk().map(|bytes| (Value::Fixed32(*bytes), 4)),
            };
            let Some((value, length)) = value else {
                return Err(Error::Wire {
                    what: format!("field `{}`", field.name).into(),
                    found: format!("{} bytes", rest.len()).into(),
                    expected: "a whole value".into(),
                    at: At::offset(base.saturating_add(packed.len() - rest.len())),
                });
            };
            self.scalar(field, &value, depth)?;
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    fn scalar(&mut self, field: &FieldSpec, value: &Value<'_>, depth: usize) -> Result<(), Error> {
        self.indent(depth);
        self.line.extend(field.name.as_bytes());
        self.line.extend(b": ");
        match (field.kind, value) {
            (_, Value::Bytes(bytes, _)) => quote(bytes, &mut self.line),
            (Kind::Float, Value::Fixed32(bytes)) => self.line.extend(f32_text(f32::from_le_bytes(*bytes)).bytes()),
            (Kind::Double, Value::Fixed64(bytes)) => self.line.extend(f64_text(f64::from_le_bytes(*bytes)).bytes()),
            (_, Value::Fixed32(bytes)) => self.line.extend(u32::from_le_bytes(*bytes).to_string().bytes()),
            (_, Value::Fixed64(bytes)) => self.line.extend(u64::from_le_bytes(*bytes).to_string().bytes()),
            (Kind::Bool, Value::Varint(value)) => self.line.extend(if *value == 0 { &b"false"[..] } else { b"true" }),
            (Kind::Enum(id), Value::Varint(value)) => {
                let number = low_32_bits(*value).cast_signed();
                match self.schema.enumeration(id).name_of(number) {
                    Some(name) => self.line.extend(name.bytes()),
                    None => self.line.extend(number.to_string().bytes()),
                }
            }
            (Kind::Int32, Value::Varint(value)) => {
                self.line.extend(low_32_bits(*value).cast_signed().to_string().bytes());
            }
            (Kind::Uint32, Value::Varint(value)) => self.line.extend(low_32_bits(*value).to_string().bytes()),
            (Kind::Int64, Value::Varint(value)) => self.line.extend(value.cast_signed().to_string().bytes()),
            (_, Value::Varint(value)) => self.line.extend(value.to_string().bytes()),
            // `known` lets no group pass.
            (_, Value::Group(..)) => {}
        }
        self.end_line()
    }

    fn indent(&mut self, depth: usize) {
        self.line.resize(2 * depth, b' ');
    }

    fn end_line(&mut self) -> Result<(), Error> {
        self.line.push(b'\n');
        self.budget.take(self.line.len() as u64, "the lines of the text")?;
        let written = self.out.write_all(&self.line);
        self.line.clear();
        written.map_err(Error::writing)
    }
}

/// Decoders take the lower half of a longer varint.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn low_32_bits(value: u64) -> u32 {
    value as u32
}

fn is_default(value: &Value<'_>) -> bool {
    match value {
        Value::Varint(value) => *value == 0,
        Value::Fixed32(bytes) => *bytes == [0; 4],
        Value::Fixed64(bytes) => *bytes == [0; 8],
        Value::Bytes(bytes, _) | Value::Group(bytes, _) => bytes.is_empty(),
    }
}

/// The field's entry in the schema, whose wire type it has.
fn known<'s>(spec: &'s MessageSpec, field: &Field<'_>) -> Result<&'s FieldSpec, Error> {
    let wire_type = match field.value {
        Value::Varint(_) => 0,
        Value::Fixed64(_) => 1,
        Value::Bytes(..) => 2,
        Value::Group(..) => 3,
        Value::Fixed32(_) => 5,
    };
    let fits = |known: &&FieldSpec| {
        known.kind.wire_type() == wire_type || wire_type == 2 && known.repeated && known.kind.packs()
    };
    spec.by_number(field.number).filter(fits).ok_or_else(|| Error::NoText {
        message: spec.name.to_owned(),
        field: field.number,
        found: field.value.kind(),
        at: At::offset(field.span.start),
    })
}

fn singles(spec: &MessageSpec, bytes: &[u8], base: usize) -> Result<Vec<Single>, Error> {
    let mut singles: Vec<Single> = Vec::new();
    let mut fields = Fields::new(bytes, base, "GraphDef");
    while let Some(field) = fields.next()? {
        let known = known(spec, &field)?;
        if known.repeated {
            continue;
        }
        let (number, oneof, start) = (field.number, known.oneof, field.span.start);
        singles.retain(|single| single.number == number || oneof.is_none() || single.oneof != oneof);
        match singles.iter_mut().find(|single| single.number == number) {
            Some(single) => single.last = start,
            None => singles.push(Single { number, oneof, first: start, last: start }),
        }
    }
    Ok(singles)
}
