//! Activations: the float tensors between ops.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::find::ops::Activations;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, ScopeKind, Target};

/// Positions of the activation inputs of `op`, in order; each tensor once.
pub(crate) fn activation_inputs(graph: &Graph, op: NodeId, rule: Activations, weight: Option<usize>) -> Vec<usize> {
    let Some((scope, node)) = graph.index().scope(op.scope).zip(graph.index().node(op)) else { return Vec::new() };
    let inputs = scope.inputs(node);
    let data = inputs.iter().filter(|i| !matches!(i.target, Target::Control { .. })).count();
    let range = match rule {
        Activations::No => 0..0,
        Activations::One(position) => position..position + 1,
        Activations::Two | Activations::NotWeight => 0..2,
        Activations::All => 0..data,
        Activations::AllButLast => 0..data.saturating_sub(1),
        Activations::AllButFirst => 1..data,
    };
    let mut seen = BTreeSet::new();
    range
        .filter(|position| *position < data && Some(*position) != weight)
        .filter(|position| inputs.get(*position).is_some_and(|i| seen.insert(scope.plain(i.text.of(graph.bytes())))))
        .collect()
}

/// The DataType number of the activations of `op`: attribute `T`, `Tparams` of gathers, or `dtype` of placeholders.
pub(crate) fn element_type(graph: &Graph, op: NodeId) -> Result<Option<u64>, Error> {
    let Some(node) = graph.index().node(op) else { return Ok(None) };
    for key in ["T", "Tparams", "dtype"] {
        if let Some(found) = node.attr_type(graph.bytes(), key)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The name of the tensor at `input` of `op`, as `node:port`; an argument of a function has no port.
pub(crate) fn tensor_name(graph: &Graph, op: NodeId, input: usize) -> String {
    let Some(edge) = graph.input(op, input) else { return String::new() };
    match edge.target {
        Target::Data { node, port } => graph.site_tensor(NodeId { scope: op.scope, node }, port),
        // Without the function's name it would be the tensor of whichever node, or other function's argument, is called so too.
        Target::Control { .. } | Target::Argument => graph.name_in(op.scope, edge.text.text(graph.bytes())),
    }
}

/// The data edges that read output 0 of `op`, and whether some edge reads another output.
pub(crate) fn output_edges(graph: &Graph, op: NodeId) -> (Vec<(NodeId, usize)>, bool) {
    let Some(scope) = graph.index().scope(op.scope) else { return (Vec::new(), false) };
    let edges = scope.data_edges(op.node);
    let port = |reader: u32, input: usize| {
        let target = scope.nodes.get(reader as usize).and_then(|n| scope.inputs(n).get(input)).map(|i| i.target);
        matches!(target, Some(Target::Data { port: 0, .. }))
    };
    let others = edges.iter().any(|(reader, input)| !port(*reader, *input));
    let first = edges.into_iter().filter(|(reader, input)| port(*reader, *input));
    (first.map(|(node, input)| (NodeId { scope: op.scope, node }, input)).collect(), others)
}

/// Whether a node's output leaves the main graph, so that whoever fetches its name must get the quantized tensor: nothing reads it, or
/// the user named it. What the graph is fed with keeps its name; it is no output.
pub(crate) fn leaves_graph(graph: &Graph, op: NodeId, edges: &[(NodeId, usize)]) -> bool {
    let in_main = graph.index().scope(op.scope).is_some_and(|scope| matches!(scope.kind, ScopeKind::Main));
    let fed = matches!(graph.op(op), b"Placeholder" | b"PlaceholderWithDefault");
    in_main && !fed && (edges.is_empty() || graph.named_outputs().contains(&op))
}
