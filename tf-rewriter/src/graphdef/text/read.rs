//! Text into the binary form.

use super::fields::{Building, Scalar, expectation};
use super::lexer::{Lexer, Token};
use super::numbers::{decimal, integer, special, to_f32};
use super::schema::{FieldSpec, Kind, MessageId, Schema};
use super::strings::unquote;
use crate::error::Error;
use crate::graphdef::io::check_length;
use crate::graphdef::wire::MAX_DEPTH;

/// The binary form of a GraphDef in text form.
///
/// Fields keep the order of the text, except that the values of one packed field stand together at their message's end.
///
/// # Errors
/// [`Error::Text`] with line and column; [`Error::TooLarge`] where the binary form would reach 2 GiB.
pub fn parse(text: &[u8]) -> Result<Vec<u8>, Error> {
    parse_as(text, Root::Graph)
}

/// What a text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// A GraphDef.
    Graph,
    /// A MetaGraphDef: what a Saver writes as `.meta`.
    MetaGraph,
    /// A SavedModel.
    SavedModel,
}

/// The binary form of a message of this kind in text form.
///
/// # Errors
/// Those of [`parse`].
pub(crate) fn parse_as(text: &[u8], kind: Root) -> Result<Vec<u8>, Error> {
    let schema = Schema::get();
    let message = match kind {
        Root::Graph => schema.graph,
        Root::MetaGraph => schema.meta_graph,
        Root::SavedModel => schema.saved_model,
    };
    let root = Frame { message, building: Building::default(), opened: None };
    let mut reader = Reader { schema, lexer: Lexer::new(text)?, frame: root, outer: Vec::new() };
    while !reader.step()? {}
    let bytes = reader.frame.building.finish();
    check_length(bytes.len() as u64)?;
    Ok(bytes)
}

/// A message whose end was not met yet.
struct Frame {
    message: MessageId,
    building: Building,
    /// How it began; `None` for the whole text.
    opened: Option<Opened>,
}

struct Opened {
    field: &'static FieldSpec,
    closer: u8,
    in_list: bool,
    offset: usize,
}

/// Nesting lives on `outer`, not on the call stack.
struct Reader<'a> {
    schema: &'static Schema,
    lexer: Lexer<'a>,
    frame: Frame,
    outer: Vec<Frame>,
}

impl Reader<'_> {
    /// Reads one field or the end of a message; whether the text is at its end.
    fn step(&mut self) -> Result<bool, Error> {
        match (self.lexer.peek(), &self.frame.opened) {
            (Token::End, None) => return Ok(true),
            (Token::End, Some(opened)) => {
                let message = format!("found the end of the text, expected `{}`", char::from(opened.closer));
                return Err(self
                    .lexer
                    .error(opened.offset, format!("{message} for the `{}` that begins here", opened.field.name)));
            }
            (Token::Symbol(symbol), Some(opened)) if symbol == opened.closer => self.close()?,
            (Token::Word(name), _) => self.field(name)?,
            (Token::Symbol(b'['), _) => {
                return Err(self.lexer.unexpected("the name of a field; extensions are not read"));
            }
            (_, None) => return Err(self.lexer.unexpected("the name of a field")),
            (_, Some(opened)) => {
                let expected = format!("the name of a field or `{}`", char::from(opened.closer));
                return Err(self.lexer.unexpected(&expected));
            }
        }
        Ok(false)
    }

    fn field(&mut self, name: &str) -> Result<(), Error> {
        let spec = self.schema.message(self.frame.message);
        let Some(field) = spec.by_name(name) else {
            let names: Vec<String> = spec.names().map(|name| format!("`{name}`")).collect();
            return Err(self.lexer.unexpected(&format!("a field of {}: {}", spec.name, names.join(", "))));
        };
        if let Some(other) = self.frame.building.claim(field) {
            let message = if other == name {
                format!("found `{name}` a second time, expected it once in {}", spec.name)
            } else {
                format!("found `{name}` beside `{other}`, expected one of them in {}", spec.name)
            };
            return Err(self.lexer.error(self.lexer.offset(), message));
        }
        self.lexer.take()?;
        let colon = self.lexer.take_symbol(b':')?;
        if let Kind::Message(id) = field.kind {
            return self.messages(field, id);
        }
        if !colon {
            return Err(self.lexer.unexpected("`:`"));
        }
        if field.repeated && self.lexer.take_symbol(b'[')? {
            if !self.lexer.take_symbol(b']')? {
                self.value(field)?;
                while self.lexer.take_symbol(b',')? {
                    self.value(field)?;
                }
                if !self.lexer.take_symbol(b']')? {
                    return Err(self.lexer.unexpected("`,` or `]`"));
                }
            }
        } else {
            self.value(field)?;
        }
        self.separator()
    }

    /// A message or a list of messages begins.
    fn messages(&mut self, field: &'static FieldSpec, id: MessageId) -> Result<(), Error> {
        let in_list = field.repeated && self.lexer.take_symbol(b'[')?;
        if in_list && self.lexer.take_symbol(b']')? {
            return self.separator();
        }
        self.open(field, id, in_list)
    }

    fn open(&mut self, field: &'static FieldSpec, message: MessageId, in_list: bool) -> Result<(), Error> {
        let offset = self.lexer.offset();
        let closer = if self.lexer.take_symbol(b'{')? {
            b'}'
        } else if self.lexer.take_symbol(b'<')? {
            b'>'
        } else {
            return Err(self.lexer.unexpected("`{`"));
        };
        if self.outer.len() == MAX_DEPTH {
            return Err(self
                .lexer
                .error(offset, format!("found messages nested deeper, expected at most {MAX_DEPTH} levels")));
        }
        let opened = Some(Opened { field, closer, in_list, offset });
        let inner = Frame { message, building: Building::default(), opened };
        self.outer.push(std::mem::replace(&mut self.frame, inner));
        Ok(())
    }

    /// The innermost message ends.
    fn close(&mut self) -> Result<(), Error> {
        self.lexer.take()?;
        let Some(outer) = self.outer.pop() else { return Ok(()) };
        let inner = std::mem::replace(&mut self.frame, outer);
        let Some(Opened { field, in_list, .. }) = inner.opened else { return Ok(()) };
        self.frame.building.add_message(field.number, inner.building);
        if !in_list || self.lexer.take_symbol(b']')? {
            return self.separator();
        }
        if !self.lexer.take_symbol(b',')? {
            return Err(self.lexer.unexpected("`,` or `]`"));
        }
        self.open(field, inner.message, true)
    }

    /// Between fields a comma or a semicolon may stand.
    fn separator(&mut self) -> Result<(), Error> {
        let _ = self.lexer.take_symbol(b',')? || self.lexer.take_symbol(b';')?;
        Ok(())
    }

    fn value(&mut self, field: &FieldSpec) -> Result<(), Error> {
        let start = self.lexer.offset();
        let negative = self.lexer.take_symbol(b'-')?;
        let token = self.lexer.peek();
        let value = match (field.kind, token) {
            (Kind::String | Kind::Bytes, Token::String(_)) if !negative => {
                let bytes = self.string()?;
                if field.kind == Kind::String && std::str::from_utf8(&bytes).is_err() {
                    return Err(self
                        .lexer
                        .error(start, format!("found other bytes in `{}`, expected UTF-8", field.name)));
                }
                self.frame.building.add(field, &Scalar::Bytes(bytes));
                return Ok(());
            }
            (Kind::Bool, Token::Word("true" | "True" | "t")) if !negative => Some(Scalar::Varint(1)),
            (Kind::Bool, Token::Word("false" | "False" | "f")) if !negative => Some(Scalar::Varint(0)),
            (Kind::Bool, Token::Number(text)) if !negative => {
                integer(text).filter(|value| *value < 2).map(Scalar::Varint)
            }
            (Kind::Enum(id), Token::Word(name)) if !negative => {
                let spec = self.schema.enumeration(id);
                let Some(number) = spec.number(name) else {
                    return Err(self.lexer.unexpected(&format!("a value of {}", spec.name)));
                };
                Some(Scalar::Varint(i64::from(number).cast_unsigned()))
            }
            (kind, Token::Number(text)) => number(kind, text, negative),
            (Kind::Float, Token::Word(word)) => {
                special(word).map(|value| Scalar::Float(to_f32(signed(value, negative))))
            }
            (Kind::Double, Token::Word(word)) => special(word).map(|value| Scalar::Double(signed(value, negative))),
            _ => None,
        };
        let Some(value) = value else {
            let sign = if negative { "`-` and " } else { "" };
            let message =
                format!("found {sign}{}, expected {} for `{}`", token.describe(), expectation(field.kind), field.name);
            return Err(self.lexer.error(start, message));
        };
        self.lexer.take()?;
        self.frame.building.add(field, &value);
        Ok(())
    }

    /// Strings that follow each other are one.
    fn string(&mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Token::String(quoted) = self.lexer.peek() {
            let start = self.lexer.offset();
            unquote(quoted, &mut bytes).map_err(|(at, message)| self.lexer.error(start + at, message))?;
            self.lexer.take()?;
        }
        Ok(bytes)
    }
}

fn signed(value: f64, negative: bool) -> f64 {
    if negative { -value } else { value }
}

fn number(kind: Kind, text: &str, negative: bool) -> Option<Scalar> {
    match kind {
        Kind::Float => return decimal(text).map(|value| Scalar::Float(to_f32(signed(value, negative)))),
        Kind::Double => return decimal(text).map(|value| Scalar::Double(signed(value, negative))),
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Message(_) => return None,
        _ => {}
    }
    let magnitude = i128::from(integer(text)?);
    let value = if negative { -magnitude } else { magnitude };
    match kind {
        Kind::Int32 | Kind::Enum(_) => {
            i32::try_from(value).ok().map(|value| Scalar::Varint(i64::from(value).cast_unsigned()))
        }
        Kind::Int64 => i64::try_from(value).ok().map(|value| Scalar::Varint(value.cast_unsigned())),
        Kind::Uint32 => u32::try_from(value).ok().map(|value| Scalar::Varint(value.into())),
        Kind::Uint64 => u64::try_from(value).ok().map(Scalar::Varint),
        Kind::Fixed64 => u64::try_from(value).ok().map(Scalar::Fixed64),
        _ => None,
    }
}
