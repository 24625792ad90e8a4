//! What a node that takes a constant's place keeps of it.

use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, fields, payload};

/// A constant's inputs: all of them are control inputs.
pub(super) fn control_inputs(graph: &Graph, id: NodeId) -> Vec<String> {
    let Some((scope, node)) = graph.index().scope(id.scope).zip(graph.index().node(id)) else { return Vec::new() };
    scope.inputs(node).iter().map(|i| i.text.text(graph.bytes()).to_owned()).collect()
}

/// What the node under the old name keeps of the constant: attributes that begin with `_`, and debug information (fields 6 and up).
pub(super) fn kept_fields(graph: &Graph, id: NodeId) -> Vec<u8> {
    kept_fields_but(graph, id, None)
}

/// The same without the attribute `dropped`.
pub(super) fn kept_fields_but(graph: &Graph, id: NodeId, dropped: Option<&str>) -> Vec<u8> {
    let bytes = graph.bytes();
    let Some(node) = graph.index().node(id) else { return Vec::new() };
    let mut kept = Vec::new();
    let mut walk = fields(bytes, node.body, "NodeDef");
    while let Ok(Some(field)) = walk.next() {
        let keep = match field.number {
            5 => payload(&field, "NodeDef.attr").is_ok_and(|entry| {
                let mut parts = fields(bytes, entry, "NodeDef.attr");
                let key = parts.next().ok().flatten().filter(|p| p.number == 1).and_then(|p| payload(&p, "key").ok());
                key.is_some_and(|key| key.of(bytes).starts_with(b"_") && Some(key.text(bytes)) != dropped)
            }),
            number => number > 5,
        };
        if keep {
            kept.extend_from_slice(bytes.get(field.span).unwrap_or_default());
        }
    }
    kept
}
