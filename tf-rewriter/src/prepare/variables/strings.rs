//! The strings of a constant.

use protobuf::Message;

use crate::error::{At, Error};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::graphdef::pb::{DataType, TensorProto};

/// All elements of a constant of strings, in order; none where `node` is something else. The last one that is stored stands for all that are
/// missing, but no more than the node's own file may ask for.
///
/// # Errors
/// A damaged tensor, or bytes that are no text.
pub(super) fn strings(graph: &Graph, node: NodeId) -> Result<Vec<String>, Error> {
    let Some(span) = graph.constant_span(node)? else { return Ok(Vec::new()) };
    let damaged = |found: String, expected: &'static str| Error::Wire {
        what: "a constant of strings".into(),
        found: found.into(),
        expected: expected.into(),
        at: Box::new(At { node: Some(graph.name(node).to_owned()), index: None, offset: Some(span.start() as u64) }),
    };
    let tensor = TensorProto::parse_from_bytes(span.of(graph.bytes()))
        .map_err(|error| damaged(error.to_string(), "a TensorProto"))?;
    if tensor.dtype.enum_value() != Ok(DataType::DT_STRING) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for text in tensor.string_val {
        let text = String::from_utf8(text).map_err(|_| damaged("bytes that are not UTF-8".to_owned(), "text"))?;
        found.push(text);
    }
    let count =
        tensor.tensor_shape.dim.iter().try_fold(1_usize, |n, dim| n.checked_mul(usize::try_from(dim.size).ok()?));
    if let (Some(count), Some(last)) = (count, found.last().cloned()) {
        let missing = count.saturating_sub(found.len());
        graph
            .budget()
            .take((missing as u64).saturating_mul((last.len() + size_of::<String>()) as u64), "names of tensors")?;
        found.resize(found.len() + missing, last);
    }
    Ok(found)
}
