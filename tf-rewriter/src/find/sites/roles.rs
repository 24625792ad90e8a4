//! Ops that are no part of the forward pass: what they make goes into variables, summaries or gradients.

use crate::find::ops::{self, makes_nothing, writes_variables};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Scope, Target};

/// What an op of the main graph is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Role {
    /// The forward pass, as far as is known.
    #[default]
    Forward,
    /// Its value goes to assignments (initializers, moving averages, optimizers), savers and summaries alone.
    Bookkeeping,
    /// It computes a gradient, or something from one.
    Backward,
}

/// The role of each node of the main graph.
#[derive(Debug)]
pub(crate) struct Roles(Vec<Role>);

impl Roles {
    pub(crate) fn of(graph: &Graph) -> Self {
        let Some(scope) = graph.index().scope(0) else { return Self(Vec::new()) };
        let mut roles = vec![Role::Forward; scope.nodes.len()];
        bookkeeping(graph, scope, &mut roles);
        backward(graph, scope, &mut roles);
        Self(roles)
    }

    pub(crate) fn role(&self, id: NodeId) -> Role {
        if id.scope == 0 { self.0.get(id.node as usize).copied().unwrap_or_default() } else { Role::Forward }
    }
}

/// The edges by which ops that make a layer's gradients read the very tensor that `op` reads at `input`: they have to see what it sees.
pub(crate) fn backward_readers(graph: &Graph, roles: &Roles, op: NodeId, input: usize) -> Vec<(NodeId, usize)> {
    let (Some(scope), Some(source)) = (graph.index().scope(op.scope), graph.source(op, input)) else {
        return Vec::new();
    };
    let tensor = graph.input(op, input).map(|input| input.target);
    let edges = scope.data_edges(source.node).into_iter().map(|(node, at)| (NodeId { scope: op.scope, node }, at));
    edges
        .filter(|(reader, at)| {
            // Others, such as the gradient of a penalty on the weights, are about the float weight.
            let of_layer = ops::info(graph.op(*reader)).is_some_and(|info| info.default)
                || graph.op(*reader) == b"DepthwiseConv2dNativeBackpropInput";
            of_layer
                && roles.role(*reader) == Role::Backward
                && graph.input(*reader, *at).map(|input| input.target) == tensor
        })
        .collect()
}

/// The nodes that a node reads as data; one that it reads twice comes twice.
fn sources(scope: &Scope, node: u32) -> impl Iterator<Item = (u32, u32)> {
    let inputs = scope.nodes.get(node as usize).map(|node| scope.inputs(node)).unwrap_or_default();
    inputs.iter().filter_map(|input| match input.target {
        Target::Data { node, port } => Some((node, port)),
        Target::Control { .. } | Target::Argument => None,
    })
}

/// From the ops that keep values, back through those that nothing else reads. A layer is never one of them: a net whose loss is summed up
/// for a summary alone is a net.
fn bookkeeping(graph: &Graph, scope: &Scope, roles: &mut [Role]) {
    let count = u32::try_from(scope.nodes.len()).unwrap_or(u32::MAX);
    let op = |node: u32| graph.op(NodeId { scope: 0, node });
    let mut readers = vec![0usize; scope.nodes.len()];
    let mut open = Vec::new();
    for node in 0..count {
        for (source, _) in sources(scope, node) {
            if let Some(readers) = readers.get_mut(source as usize) {
                *readers += 1;
            }
        }
        if keeps(op(node)) {
            open.push(node);
        }
    }
    while let Some(node) = open.pop() {
        if let Some(role) = roles.get_mut(node as usize) {
            *role = Role::Bookkeeping;
        }
        for (source, _) in sources(scope, node) {
            let Some(left) = readers.get_mut(source as usize) else { continue };
            *left = left.saturating_sub(1);
            let id = NodeId { scope: 0, node: source };
            let is_layer = ops::info(op(source)).is_some_and(|info| info.default);
            if *left == 0 && !is_layer && !graph.named_outputs().contains(&id) && !keeps(op(source)) {
                open.push(source);
            }
        }
    }
}

/// Ops that are where [`bookkeeping`] begins.
fn keeps(op: &[u8]) -> bool {
    writes_variables(op) || is_summary(op) || makes_nothing(op)
}

fn is_summary(op: &[u8]) -> bool {
    op.ends_with(b"Summary") || op.ends_with(b"SummaryV2")
}

/// From the ops that only gradients are made of, on to all that reads them.
fn backward(graph: &Graph, scope: &Scope, roles: &mut [Role]) {
    let count = u32::try_from(scope.nodes.len()).unwrap_or(u32::MAX);
    let op = |node: u32| graph.op(NodeId { scope: 0, node });
    // The second output of these losses is their gradient.
    let is_gradient = |(source, port): (u32, u32)| {
        port == 1 && matches!(op(source), b"SoftmaxCrossEntropyWithLogits" | b"SparseSoftmaxCrossEntropyWithLogits")
    };
    let begins = |node: u32| {
        let named = is_gradient_name(graph.name(NodeId { scope: 0, node }));
        named || makes_gradients(op(node)) || sources(scope, node).any(is_gradient)
    };
    let mut open: Vec<u32> = (0..count).filter(|node| begins(*node)).collect();
    while let Some(node) = open.pop() {
        match roles.get_mut(node as usize) {
            Some(role) if *role != Role::Backward => *role = Role::Backward,
            _ => continue,
        }
        // A variable that is updated is read in the forward pass too.
        if !writes_variables(op(node)) {
            open.extend(scope.data_edges(node).into_iter().map(|(reader, _)| reader));
        }
    }
}

/// The scopes in which `tf.gradients` and gradient tapes put what they make, unless they are told another one.
fn is_gradient_name(name: &str) -> bool {
    let scopes = name.rsplit_once('/').map(|(scopes, _)| scopes).unwrap_or_default();
    let numbered = |rest: &str| rest.strip_prefix('_').is_some_and(|number| number.parse::<u32>().is_ok());
    scopes.split('/').any(|scope| {
        let rest = scope.strip_prefix("gradients").or_else(|| scope.strip_prefix("gradient_tape"));
        rest.is_some_and(|rest| rest.is_empty() || numbered(rest))
    })
}

/// Op types that stand in backward passes alone (TensorFlow 2.21's op names).
fn makes_gradients(op: &[u8]) -> bool {
    let versions = [&b""[..], b"V2", b"V3"];
    let is_grad = |version: &&[u8]| op.strip_suffix(*version).is_some_and(|op| op.ends_with(b"Grad"));
    versions.iter().any(is_grad)
        || matches!(op, b"Conv2DBackpropFilter" | b"DepthwiseConv2dNativeBackpropFilter")
        || op.starts_with(b"Conv3DBackpropFilter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initializers_summaries_and_gradients_are_no_part_of_the_forward_pass() {
        let node = |name: &str, op: &str, inputs: &[&str]| {
            let inputs: Vec<_> = inputs.iter().map(|input| format!("input: \"{input}\"")).collect();
            let inputs = inputs.join(" ");
            format!("node {{ name: \"{name}\" op: \"{op}\" {inputs}}}\n")
        };
        let nodes = [
            node("w", "VariableV2", &[]),
            node("random", "RandomUniform", &[]),
            node("initial", "AddV2", &["random", "random"]),
            node("assign", "Assign", &["w", "initial"]),
            node("x", "Placeholder", &[]),
            node("fc", "MatMul", &["x", "w"]),
            node("y", "AddV2", &["fc", "fc"]),
            node("loss", "Mean", &["y"]),
            node("tag", "ScalarSummary", &["loss"]),
            node("gradients/y_grad/Mul", "Mul", &["y", "y"]),
            node("gradients/fc_grad/MatMul", "MatMul", &["gradients/y_grad/Mul", "w"]),
            node("clipped", "Mul", &["gradients/fc_grad/MatMul", "x"]),
            node("apply", "ApplyGradientDescent", &["w", "w", "clipped"]),
        ];
        let graph = Graph::from_bytes(crate::graphdef::text::parse(nodes.concat().as_bytes()).unwrap()).unwrap();
        let roles = Roles::of(&graph);
        let role = |name: &str| roles.role(graph.named(name).unwrap());
        for name in ["fc", "y", "x"] {
            assert_eq!(role(name), Role::Forward, "{name}");
        }
        for name in ["initial", "loss"] {
            assert_eq!(role(name), Role::Bookkeeping, "{name}");
        }
        for name in ["gradients/y_grad/Mul", "gradients/fc_grad/MatMul", "clipped"] {
            assert_eq!(role(name), Role::Backward, "{name}");
        }
        // What makes a layer's gradient sees the weight that the layer sees.
        let found = backward_readers(&graph, &roles, graph.named("fc").unwrap(), 1);
        assert_eq!(found, [(graph.named("gradients/fc_grad/MatMul").unwrap(), 1)]);
    }
}
