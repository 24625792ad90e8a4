//! Protobuf messages, told apart by the fields they begin with. Only a few are looked at; readers check all.

use super::{Format, Written, text};

pub(super) fn format(bytes: &[u8]) -> Format {
    let head = head(bytes);
    let has = |number: u64| head.iter().any(|field| field.number == number && field.text.is_some());
    let counts = |number: u64| head.iter().any(|field| field.number == number && field.text.is_none());
    match head.first().map(|field| (field.number, field.text)) {
        // Hashes, where an ONNX model has the names of what made it.
        Some((1, None)) if (2..=5).any(counts) && !(2..=4).any(has) => Format::Fingerprint,
        Some((1, None)) if has(7) || has(8) => Format::Onnx(Written::Binary),
        Some((1, None)) if has(2) => Format::SavedModel(Written::Binary),
        // A schema version of 0 is not written.
        Some((2, Some(inner))) if is_meta_graph(inner) => Format::SavedModel(Written::Binary),
        Some((1 | 2, Some(_))) if head.iter().any(is_caffe2_op) => Format::Caffe2,
        Some((1, Some(inner))) if is_proto_file(inner) => Format::ProtoFiles,
        Some((1, Some(inner))) if has(2) && is_meta_info(inner) => Format::MetaGraph(Written::Binary),
        Some((number, text)) if is_graph_field(number, text) => Format::GraphDef(Written::Binary),
        _ if text::is_prose(bytes) => Format::Text,
        _ => Format::Unknown,
    }
}

/// Whether a GraphDef may begin like this: a node, a library, a version, a VersionDef or debug information, which again begins with
/// one of its own fields.
fn is_graph_field(number: u64, text: Option<&[u8]>) -> bool {
    let tags: &[u8] = match (number, text) {
        (3, None) => return true,
        (1, Some(_)) => &[0x0a, 0x12, 0x1a, 0x22, 0x2a, 0x32, 0x3a],
        (2, Some(_)) => &[0x0a, 0x12, 0x1a],
        (4, Some(_)) => &[0x08, 0x10, 0x18, 0x1a],
        (5, Some(_)) => &[0x0a, 0x12, 0x22, 0x2a, 0x32],
        _ => return false,
    };
    text.and_then(<[u8]>::first).is_none_or(|first| tags.contains(first))
}

/// A field at the start of a message: its number, and its bytes if it is length-delimited, or as much of them as there is.
struct Head<'a> {
    number: u64,
    text: Option<&'a [u8]>,
}

fn head(bytes: &[u8]) -> Vec<Head<'_>> {
    const FIELDS_READ: usize = 16;
    let mut rest = bytes;
    let mut head = Vec::new();
    while head.len() < FIELDS_READ
        && let Some((field, behind)) = field(rest)
    {
        head.push(field);
        rest = behind;
    }
    head
}

/// The first field, and what follows it; a length-delimited one may be cut off.
fn field(bytes: &[u8]) -> Option<(Head<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    let number = tag >> 3;
    if number == 0 {
        return None;
    }
    Some(match tag & 7 {
        0 => (Head { number, text: None }, varint(rest)?.1),
        1 => (Head { number, text: None }, rest.get(8..)?),
        2 => {
            let (text, behind): (&[u8], &[u8]) = match varint(rest) {
                Some((length, rest)) => {
                    let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
                    rest.split_at_checked(length)?
                }
                // The length itself is cut off.
                None if rest.len() < LONGEST => (&[], &[]),
                None => return None,
            };
            (Head { number, text: Some(text) }, behind)
        }
        5 => (Head { number, text: None }, rest.get(4..)?),
        _ => return None,
    })
}

/// Bytes of the longest varint.
const LONGEST: usize = 10;

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(LONGEST).position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at_checked(end + 1)?;
    Some((number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)), rest))
}

/// Whether the first field of a message is a MetaGraph's MetaInfoDef and not a node: a list of ops or a version instead of the name
/// of an op, a version of TensorFlow instead of an attribute.
fn is_meta_info(inner: &[u8]) -> bool {
    head(inner).iter().any(|field| match (field.number, field.text) {
        (2, Some(text)) => text.starts_with(&[0x0a]),
        (5, Some(text)) => text.first().is_some_and(u8::is_ascii_digit),
        (7, None) => true,
        _ => false,
    })
}

/// Whether a message is a MetaGraphDef: its first field is a MetaInfoDef.
fn is_meta_graph(inner: &[u8]) -> bool {
    head(inner).first().is_some_and(|field| field.number == 1 && field.text.is_some_and(is_meta_info))
}

/// Whether a field is an operator of a Caffe2 net (NetDef.op = 2; OperatorDef.type = 4, a name). A library of functions has no field 4.
fn is_caffe2_op(field: &Head<'_>) -> bool {
    let is_name = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric);
    let is_type = |part: &Head<'_>| part.number == 4 && part.text.is_some_and(is_name);
    field.number == 2 && field.text.is_some_and(|inner| head(inner).iter().any(is_type))
}

/// Whether a message, or a text, is the name of a `.proto` file or begins with it: a FileDescriptorSet begins with the files' descriptors,
/// a FileDescriptorProto with the name.
fn is_proto_file(inner: &[u8]) -> bool {
    let is_name = |text: &[u8]| text.ends_with(b".proto");
    is_name(inner) || head(inner).first().is_some_and(|field| field.number == 1 && field.text.is_some_and(is_name))
}
