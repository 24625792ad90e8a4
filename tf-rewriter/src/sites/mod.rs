//! Sites: the tensors of each op that could be quantized, before any config is looked at.

mod activation;
mod flow;
mod gradient;
mod roles;
mod trace;
mod weight;

pub(crate) use activation::{activation_inputs, element_type, leaves_graph, output_edges, tensor_name};
pub(crate) use flow::{Calls, Place, destinations, is_call, read, readers, sources};
pub(crate) use gradient::{Backward, BackwardOps};
pub(crate) use roles::{Role, Roles, backward_readers};
pub(crate) use trace::{Traced, is_quantizer, trace};
pub(crate) use weight::{Axes, Weight};

use crate::Error;
use crate::graph::Graph;
use crate::index::NodeId;
use crate::ops::OpInfo;

/// The input of `op` that is its weight, and what stands behind it. `None`: it has no weight.
///
/// Where one input alone can be the weight (a convolution's filter), there always is one. Of a product's two sides, one is where it leads
/// to a constant or variable, or is computed from nothing else.
pub(crate) fn weight_of(graph: &Graph, op: NodeId, info: &OpInfo) -> Result<Option<(usize, Traced)>, Error> {
    let (mut quantized, mut fed, mut computed, mut other) = (None, None, None, None);
    for &input in info.weights {
        match trace(graph, op, input)? {
            // A default value, where the other side has a weight that is none.
            found @ (Traced::Weight(_) | Traced::Several(_)) if fed.is_none() && can_be_fed(graph, &found) => {
                fed = Some((input, found));
            }
            found @ (Traced::Weight(_) | Traced::Variable(..) | Traced::Several(_)) => return Ok(Some((input, found))),
            // The weight, quantized before; a product of two constants has another one on its other side.
            Traced::Quantized(id) if is_parameter(graph, id, false) => return Ok(Some((input, Traced::Quantized(id)))),
            // A matrix product may read one quantized activation and one quantized weight: the preferred side is reported. An
            // argument of a function is taken for a weight on that side alone.
            found @ Traced::Quantized(_) if quantized.is_none() => quantized = Some((input, found)),
            found @ Traced::Argument if info.weights.first() == Some(&input) => quantized = Some((input, found)),
            found @ Traced::Computed if computed.is_none() && reads_parameter(graph, op, input) => {
                computed = Some((input, found));
            }
            found => other = Some((input, found)),
        }
    }
    // A quantized activation is no sign of a weight. What is made from a function's arguments can be either: it is taken for a
    // weight where an op has no other input for one.
    let found = match quantized {
        Some((input, Traced::Quantized(id))) => {
            let alone = info.always_weighs() || info.weights.len() == 1 && is_parameter(graph, id, true);
            alone.then_some((input, Traced::Quantized(id)))
        }
        None => fed.or(computed),
        argument => argument,
    };
    Ok(found.or_else(|| other.filter(|_| info.always_weighs())))
}

fn can_be_fed(graph: &Graph, found: &Traced) -> bool {
    found.weights().iter().any(|weight| weight.can_be_fed(graph))
}

/// Whether what `op` reads at `input` is made from constants and variables alone.
pub(crate) fn reads_parameter(graph: &Graph, op: NodeId, input: usize) -> bool {
    graph.source(op, input).is_some_and(|source| is_parameter(graph, source, false))
}

/// Whether a node's value is made from constants and variables (and `arguments` of functions whose callers are not known) alone: a parameter, computed or not,
/// and no activation.
pub(crate) fn is_parameter(graph: &Graph, id: NodeId, arguments: bool) -> bool {
    // Our longest chain, DoReFa's, has a dozen nodes; what is larger is no weight's.
    const CHAIN: usize = 64;
    let mut open = vec![Place::Output(id, 0)];
    let mut seen = Vec::new();
    while let Some(place) = open.pop() {
        if seen.contains(&place) {
            continue;
        }
        seen.push(place);
        if seen.len() > CHAIN {
            return false;
        }
        let Place::Output(next, _) = place else {
            match sources(graph, place) {
                Ok(Some(from)) => open.extend(from),
                _ if arguments => {}
                _ => return false,
            }
            continue;
        };
        let op = graph.op(next);
        if matches!(op, b"Const" | b"StatelessRandomGetAlg") || crate::ops::is_variable(op) {
            continue;
        }
        let found = graph.index().scope(next.scope).zip(graph.index().node(next));
        let Some((scope, node)) = found.filter(|_| is_function_of_inputs(op)) else { return false };
        if scope.inputs(node).len() > CHAIN {
            return false;
        }
        // What a tensor is reshaped, permuted, chosen or accompanied by does not make it an activation.
        let inputs = if matches!(op, b"Reshape" | b"Transpose" | b"Switch" | b"Print") { 1 } else { usize::MAX };
        let inputs = (0..scope.inputs(node).len()).take(inputs);
        let before = open.len();
        open.extend(inputs.filter_map(|input| read(graph, next, input)));
        // A placeholder.
        if open.len() == before {
            return false;
        }
    }
    true
}

#[cfg(feature = "run")]
impl Graph {
    /// Whether a node of the main graph is made from constants and variables alone.
    pub(crate) fn is_parameter_named(&self, name: &str) -> bool {
        let node = self.index().scope(0).and_then(|scope| scope.find(self.bytes(), name.as_bytes()));
        node.is_some_and(|node| is_parameter(self, NodeId { scope: 0, node }, false))
    }
}

/// Whether an op gives the same for the same inputs, as far as is known: no random number, no state of a loop, nothing that is fed.
fn is_function_of_inputs(op: &[u8]) -> bool {
    let others = [
        &b"Bitcast"[..],
        b"BroadcastTo",
        b"Cast",
        b"CheckNumerics",
        b"CheckNumericsV2",
        b"DecodeRaw",
        b"EnsureShape",
        b"Enter",
        b"Fill",
        b"Greater",
        b"GreaterEqual",
        b"GuaranteeConst",
        b"IdentityN",
        b"Merge",
        b"PreventGradient",
        b"Print",
        b"ReadVariableOp",
        b"ReverseV2",
        b"Round",
        b"Select",
        b"SelectV2",
        b"Sign",
        b"Snapshot",
        b"Split",
        b"SplitV",
        b"StopGradient",
        b"Switch",
        b"Unpack",
    ];
    let seeded = op.starts_with(b"StatelessRandom");
    (crate::ops::info(op).is_some() && op != b"PlaceholderWithDefault")
        || is_quantizer(op)
        || seeded
        || others.contains(&op)
}

/// Whether op inputs `adj_y`, `transpose_b` and the like swap the last two axes of the weight at `input`.
pub(crate) fn is_transposed(graph: &Graph, op: NodeId, input: usize) -> Result<bool, Error> {
    let Some(node) = graph.index().node(op) else { return Ok(false) };
    let key = match (node.op.of(graph.bytes()), input) {
        (b"MatMul", 0) => "transpose_a",
        (b"MatMul", _) => "transpose_b",
        (b"BatchMatMul" | b"BatchMatMulV2" | b"BatchMatMulV3", 0) => "adj_x",
        (b"BatchMatMul" | b"BatchMatMulV2" | b"BatchMatMulV3", _) => "adj_y",
        _ => return Ok(false),
    };
    let swapped = node.attr_bool(graph.bytes(), key)?;
    // On the left side, the weight's output dimension is its rows.
    Ok(if input == 0 { !swapped } else { swapped })
}
