//! Attributes as encoded fields of a node.

use protobuf::Message;

use crate::error::Error;
use crate::graphdef::pb::{AttrValue, attr_value, node_def};
use crate::graphdef::wire::{Fields, Value as Wire, put_bytes};

/// What an attribute is set to.
pub(super) type Set<'a> = (&'a str, attr_value::Value);

/// The key of an attribute's entry.
pub(super) fn attr_key(entry: &[u8]) -> Result<&str, Error> {
    let mut key = "";
    let mut walk = Fields::new(entry, 0, "NodeDef.attr");
    while let Some(part) = walk.next()? {
        if let (1, Wire::Bytes(text, _)) = (part.number, &part.value) {
            key = std::str::from_utf8(text).unwrap_or_default();
        }
    }
    Ok(key)
}

/// Attributes as fields of a NodeDef.
pub(super) fn encoded(set: &[Set<'_>]) -> Vec<u8> {
    let entry = |(key, value): &Set<'_>| node_def::AttrEntry {
        key: (*key).to_owned(),
        value: Some(AttrValue { value: Some(value.clone()), ..AttrValue::default() }).into(),
        ..Default::default()
    };
    let node = crate::graphdef::pb::NodeDef { attr: set.iter().map(entry).collect(), ..Default::default() };
    // A message in memory without required fields always encodes.
    node.write_to_bytes().unwrap_or_default()
}

/// The attribute `value` with an encoded TensorProto. NodeDef.attr = 5 { key = 1, value = 2 { tensor = 8 } }.
pub(super) fn tensor(tensor: &[u8]) -> Vec<u8> {
    let (mut value, mut entry, mut field) = (Vec::new(), Vec::new(), Vec::new());
    put_bytes(&mut value, 8, tensor);
    put_bytes(&mut entry, 1, b"value");
    put_bytes(&mut entry, 2, &value);
    put_bytes(&mut field, 5, &entry);
    field
}
