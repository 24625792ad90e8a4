//! Who reads a weight constant, and what to do when not all of them are to see it quantized.

use std::collections::BTreeSet;

use protobuf::Message;

use super::{Editor, WeightWork};
use crate::Error;
use crate::graph::Graph;
use crate::index::{NodeId, ScopeKind};
use crate::pb::NodeDef;
use crate::splice::{Segment, node_field};

/// Whether every edge out of `source`, through Identity, Cast, Reshape, ExpandDims, Transpose and Enter, ends at one of `chosen`.
///
/// Then the constant itself may change; else the chosen ops get a quantized copy. A node on the way that is an output of the graph
/// is another reader.
pub(super) fn owns(graph: &Graph, source: NodeId, chosen: &BTreeSet<(NodeId, usize)>) -> bool {
    let Some(scope) = graph.index().scope(source.scope) else { return false };
    let in_main = matches!(scope.kind, ScopeKind::Main);
    let mut open = vec![source];
    while let Some(id) = open.pop() {
        if graph.named_outputs().contains(&id) || (in_main && scope.consumers(id.node).is_empty()) {
            return false;
        }
        for (reader, input) in scope.data_edges(id.node) {
            let reader = NodeId { scope: source.scope, node: reader };
            let passes = matches!(
                graph.op(reader),
                b"Identity" | b"Cast" | b"Reshape" | b"ExpandDims" | b"Transpose" | b"Enter"
            );
            if chosen.contains(&(reader, input)) {
                continue;
            }
            if !(passes && input == 0) {
                return false;
            }
            open.push(reader);
        }
        // A function may return its constant.
        let own = graph.name(id);
        if scope.returns.iter().any(|r| r.text.text(graph.bytes()).split(':').next() == Some(own)) {
            return false;
        }
    }
    true
}

/// Let the op of `work` read `reference` in place of the constant: the nodes between are copied, once for all ops that share them.
pub(super) fn reroute(editor: &mut Editor<'_>, work: &WeightWork, reference: &str) -> Result<(), Error> {
    let graph = editor.graph;
    let how = format!("copy {}", work.slot);
    let mut reads = reference.to_owned();
    for &id in work.weight.path.iter().rev() {
        let original = graph.name(id).to_owned();
        if let Some(made) = editor.already_made(id.scope, &original, &how) {
            reads = made;
            continue;
        }
        let last = original.rsplit('/').next().unwrap_or(&original);
        let name = editor.unique(id.scope, &format!("{}/weight_quant/{last}", graph.name(work.op)));
        let Some(node) = graph.index().node(id) else { continue };
        let mut copy = NodeDef::parse_from_bytes(node.body.of(graph.bytes())).map_err(|e| Error::Wire {
            what: "NodeDef".into(),
            found: e.to_string().into(),
            expected: "a NodeDef".into(),
            at: crate::At::offset(node.body.start()),
        })?;
        copy.name.clone_from(&name);
        if let Some(first) = copy.input.first_mut() {
            *first = reads;
        }
        let bytes = copy.write_to_bytes().unwrap_or_default();
        let kind = editor.scope_kind(id.scope);
        editor.insert_raw(id, node_field(kind, vec![Segment::Bytes(bytes)]));
        // The edge after this node keeps its output name.
        reads = format!("{name}{}", output_suffix(graph, work, id));
        editor.remember(id.scope, &original, &how, &reads);
    }
    editor.reroute(work.op, work.input, reads);
    Ok(())
}

/// What follows the node's name where the next node of the path (or the op) reads it: nothing, `:0`, or `:output:0`.
fn output_suffix(graph: &Graph, work: &WeightWork, id: NodeId) -> String {
    let position = work.weight.path.iter().position(|p| *p == id);
    let reader = match position {
        Some(0) | None => (work.op, work.input),
        Some(n) => (work.weight.path.get(n - 1).copied().unwrap_or(work.op), 0),
    };
    let text = graph.input(reader.0, reader.1).map(|i| i.text.text(graph.bytes())).unwrap_or_default();
    text.find(':').and_then(|at| text.get(at..)).unwrap_or_default().to_owned()
}
