//! Attributes of a node, found on the wire when a rule asks for them.

use super::{Node, Span, fields, payload};
use protobuf::Message;

use crate::error::{At, Error};
use crate::graphdef::pb::{AttrValue, attr_value};
use crate::graphdef::wire::Value;

/// The value of an attribute, as far as rules need it. AttrValue: s = 2, i = 3, f = 4, b = 5, type = 6, shape = 7, tensor = 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attr {
    /// The whole map entry in the node.
    pub(crate) entry: Span,
    /// The AttrValue.
    pub(crate) value: Span,
}

impl Node {
    /// The attribute `key`, if the node has it (the last one, as protobuf's maps merge).
    pub(crate) fn attr(&self, bytes: &[u8], key: &str) -> Result<Option<Attr>, Error> {
        let mut found = None;
        let mut walk = fields(bytes, self.body, "NodeDef");
        while let Some(field) = walk.next()? {
            if field.number != 5 {
                continue;
            }
            let entry = payload(&field, "NodeDef.attr")?;
            let (mut name, mut value) = (Span::default(), Span::new(entry.end(), entry.end()));
            let mut walk = fields(bytes, entry, "NodeDef.attr");
            while let Some(part) = walk.next()? {
                match part.number {
                    1 => name = payload(&part, "the name of an attribute")?,
                    2 => value = payload(&part, "the value of an attribute")?,
                    _ => {}
                }
            }
            if name.of(bytes) == key.as_bytes() {
                found = Some(Attr { entry: field.span.into(), value });
            }
        }
        Ok(found)
    }

    /// Whether TensorFlow could read all attributes. Tensors are left to whoever looks at them where they lie.
    ///
    /// # Errors
    /// The first one that is damaged.
    pub(crate) fn check_attrs(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut walk = fields(bytes, self.body, "NodeDef");
        while let Some(field) = walk.next()? {
            if field.number != 5 {
                continue;
            }
            let mut entry = fields(bytes, payload(&field, "NodeDef.attr")?, "NodeDef.attr");
            while let Some(part) = entry.next()? {
                if part.number == 2 {
                    check_value(bytes, payload(&part, "the value of an attribute")?)?;
                }
            }
        }
        Ok(())
    }

    /// A field of an attribute's AttrValue.
    fn attr_field<'a>(&self, bytes: &'a [u8], key: &str, number: u32) -> Result<Option<Value<'a>>, Error> {
        let Some(attr) = self.attr(bytes, key)? else { return Ok(None) };
        let mut found = None;
        let mut walk = fields(bytes, attr.value, "AttrValue");
        while let Some(field) = walk.next()? {
            if field.number == number {
                found = Some(field.value);
            }
        }
        Ok(found)
    }

    /// A DataType attribute, by its number in `types.proto`.
    pub(crate) fn attr_type(&self, bytes: &[u8], key: &str) -> Result<Option<u64>, Error> {
        Ok(match self.attr_field(bytes, key, 6)? {
            Some(Value::Varint(value)) => Some(value),
            _ => None,
        })
    }

    /// A boolean attribute; absent is false, as proto3 writes it.
    pub(crate) fn attr_bool(&self, bytes: &[u8], key: &str) -> Result<bool, Error> {
        Ok(matches!(self.attr_field(bytes, key, 5)?, Some(Value::Varint(1..))))
    }

    /// A bytes attribute.
    pub(crate) fn attr_bytes(&self, bytes: &[u8], key: &str) -> Result<Option<Span>, Error> {
        Ok(match self.attr_field(bytes, key, 2)? {
            Some(Value::Bytes(content, start)) => Some(Span::new(start, start + content.len())),
            _ => None,
        })
    }

    /// The TensorProto of a tensor attribute.
    pub(crate) fn attr_tensor(&self, bytes: &[u8], key: &str) -> Result<Option<Span>, Error> {
        Ok(match self.attr_field(bytes, key, 8)? {
            Some(Value::Bytes(content, start)) => Some(Span::new(start, start + content.len())),
            _ => None,
        })
    }

    /// The TensorShapeProto of a shape attribute.
    pub(crate) fn attr_shape(&self, bytes: &[u8], key: &str) -> Result<Option<Span>, Error> {
        Ok(match self.attr_field(bytes, key, 7)? {
            Some(Value::Bytes(content, start)) => Some(Span::new(start, start + content.len())),
            _ => None,
        })
    }

    /// A list of integers; empty where there is none.
    pub(crate) fn attr_ints(&self, bytes: &[u8], key: &str) -> Result<Vec<i64>, Error> {
        Ok(self.attr_list(bytes, key)?.map(|list| list.i).unwrap_or_default())
    }

    /// The list of an attribute; `None` where it has none.
    pub(crate) fn attr_list(&self, bytes: &[u8], key: &str) -> Result<Option<attr_value::ListValue>, Error> {
        let Some(Value::Bytes(content, start)) = self.attr_field(bytes, key, 1)? else { return Ok(None) };
        let list = attr_value::ListValue::parse_from_bytes(content).map_err(|error| Error::Wire {
            what: format!("attribute `{key}`").into(),
            found: error.to_string().into(),
            expected: "a list".into(),
            at: At::offset(start),
        })?;
        Ok(Some(list))
    }

    /// The names of all functions that the node's attributes `func` and `list(func)` hold, in their order, with the attribute's name.
    pub(crate) fn functions(&self, bytes: &[u8]) -> Result<Vec<(Span, Span)>, Error> {
        let mut found = Vec::new();
        let mut walk = fields(bytes, self.body, "NodeDef");
        while let Some(field) = walk.next()? {
            if field.number != 5 {
                continue;
            }
            let mut key = Span::default();
            let mut entry = fields(bytes, payload(&field, "NodeDef.attr")?, "NodeDef.attr");
            while let Some(part) = entry.next()? {
                match part.number {
                    1 => key = payload(&part, "the name of an attribute")?,
                    2 => functions_of(bytes, payload(&part, "the value of an attribute")?, key, &mut found)?,
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// A float attribute.
    pub(crate) fn attr_float(&self, bytes: &[u8], key: &str) -> Result<Option<f32>, Error> {
        Ok(match self.attr_field(bytes, key, 4)? {
            Some(Value::Fixed32(value)) => Some(f32::from_le_bytes(value)),
            _ => None,
        })
    }

    /// An integer attribute.
    pub(crate) fn attr_int(&self, bytes: &[u8], key: &str) -> Result<Option<i64>, Error> {
        Ok(match self.attr_field(bytes, key, 3)? {
            Some(Value::Varint(value)) => Some(value.cast_signed()),
            _ => None,
        })
    }
}

/// AttrValue: list = 1 (tensor = 8), tensor = 8.
fn check_value(bytes: &[u8], value: Span) -> Result<(), Error> {
    let mut holds_tensors = false;
    let mut walk = fields(bytes, value, "AttrValue");
    while let Some(field) = walk.next()? {
        holds_tensors |= field.number == 8;
        if field.number == 1 {
            let mut list = fields(bytes, payload(&field, "AttrValue.list")?, "AttrValue.list");
            while let Some(part) = list.next()? {
                holds_tensors |= part.number == 8;
            }
        }
    }
    if holds_tensors {
        return Ok(());
    }
    let read = AttrValue::parse_from_bytes(value.of(bytes));
    read.map(|_| ()).map_err(|error| Error::Wire {
        what: "AttrValue".into(),
        found: error.to_string().into(),
        expected: "an AttrValue".into(),
        at: At::offset(value.start()),
    })
}

/// AttrValue: list = 1 (func = 9), func = 10. NameAttrList: name = 1.
fn functions_of(bytes: &[u8], value: Span, key: Span, found: &mut Vec<(Span, Span)>) -> Result<(), Error> {
    let mut name_of = |list: Span| -> Result<(), Error> {
        let mut walk = fields(bytes, list, "NameAttrList");
        while let Some(part) = walk.next()? {
            if part.number == 1 {
                found.push((key, payload(&part, "the name of a function")?));
            }
        }
        Ok(())
    };
    let mut walk = fields(bytes, value, "AttrValue");
    while let Some(field) = walk.next()? {
        match field.number {
            1 => {
                let mut list = fields(bytes, payload(&field, "AttrValue.list")?, "AttrValue.list");
                while let Some(part) = list.next()? {
                    if part.number == 9 {
                        name_of(payload(&part, "AttrValue.list.func")?)?;
                    }
                }
            }
            10 => name_of(payload(&field, "AttrValue.func")?)?,
            _ => {}
        }
    }
    Ok(())
}
