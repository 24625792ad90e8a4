//! How attributes stand in a node: NodeDef.attr = 5 { key = 1, value = 2 }. What reads them is the index.

use protobuf::{EnumOrUnknown, Message};

use super::pb::attr_value::Value;
use super::pb::{AttrValue, DataType, NodeDef, node_def};
use super::wire::{Fields, Value as Wire, put_bytes, put_tag, put_varint};
use crate::error::Error;

/// What an attribute is set to.
pub(crate) type Set<'a> = (&'a str, Value);

/// The value that is an element type.
pub(crate) fn of_type(dtype: DataType) -> Value {
    Value::Type(EnumOrUnknown::new(dtype))
}

/// The value that is the element type with this number, known or not.
pub(crate) fn of_type_number(number: i32) -> Value {
    Value::Type(EnumOrUnknown::from_i32(number))
}

/// An attribute as a message.
pub(crate) fn message(key: &str, value: Value) -> node_def::AttrEntry {
    let value = AttrValue { value: Some(value), ..AttrValue::default() };
    node_def::AttrEntry { key: key.to_owned(), value: Some(value).into(), ..Default::default() }
}

/// An attribute as a field of a NodeDef.
pub(crate) fn entry(key: &str, value: Value) -> Vec<u8> {
    encoded(vec![message(key, value)])
}

/// An attribute with a text.
pub(crate) fn text(key: &str, text: &str) -> Vec<u8> {
    entry(key, Value::S(text.into()))
}

/// Attributes as fields of a NodeDef.
pub(crate) fn entries(set: &[Set<'_>]) -> Vec<u8> {
    encoded(set.iter().map(|(key, value)| message(key, value.clone())).collect())
}

fn encoded(attr: Vec<node_def::AttrEntry>) -> Vec<u8> {
    // A message in memory without required fields always encodes.
    NodeDef { attr, ..NodeDef::default() }.write_to_bytes().unwrap_or_default()
}

/// The field of an attribute up to its TensorProto, whose `length` bytes must follow. AttrValue.tensor = 8.
pub(crate) fn tensor_head(key: &str, length: usize) -> Vec<u8> {
    let around = |before: Vec<u8>, number: u32, inner: Vec<u8>| {
        let mut out = before;
        put_tag(&mut out, number, 2);
        put_varint(&mut out, (inner.len() + length) as u64);
        out.extend(inner);
        out
    };
    let mut named = Vec::new();
    put_bytes(&mut named, 1, key.as_bytes());
    let value = around(Vec::new(), 8, Vec::new());
    around(Vec::new(), 5, around(named, 2, value))
}

/// An attribute with an encoded TensorProto.
pub(crate) fn tensor(key: &str, tensor: &[u8]) -> Vec<u8> {
    let mut field = tensor_head(key, tensor.len());
    field.extend_from_slice(tensor);
    field
}

/// The attributes of a `Const` with an encoded TensorProto.
pub(crate) fn constant(dtype: DataType, value: &[u8]) -> Vec<u8> {
    let mut fields = entry("dtype", of_type(dtype));
    fields.extend(tensor("value", value));
    fields
}

/// The key of an attribute's entry.
pub(crate) fn key_of(entry: &[u8]) -> Result<&str, Error> {
    let mut key = "";
    let mut walk = Fields::new(entry, 0, "NodeDef.attr");
    while let Some(part) = walk.next()? {
        if let (1, Wire::Bytes(text, _)) = (part.number, &part.value) {
            key = std::str::from_utf8(text).unwrap_or_default();
        }
    }
    Ok(key)
}
