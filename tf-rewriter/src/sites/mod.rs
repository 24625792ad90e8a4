//! Sites: the tensors of each op that could be quantized, before any config is looked at.

mod activation;
mod weight;

pub(crate) use activation::{activation_inputs, element_type, output_edges, tensor_name};
pub(crate) use weight::{Axes, Traced, Weight, is_quantizer, trace};

use crate::Error;
use crate::graph::Graph;
use crate::index::{NodeId, Target};
use crate::ops::OpInfo;

/// The input of `op` that is its weight, and what stands behind it. `None`: no input leads to a constant or variable.
pub(crate) fn weight_of(graph: &Graph, op: NodeId, info: &OpInfo) -> Result<Option<(usize, Traced)>, Error> {
    let mut quantized = None;
    for &input in info.weights {
        match trace(graph, op, input)? {
            found @ (Traced::Weight(_) | Traced::Variable(_)) => return Ok(Some((input, found))),
            // A matrix product may read one quantized activation and one quantized weight: the preferred side is reported.
            found @ (Traced::Quantized(_) | Traced::Argument) if quantized.is_none() => {
                quantized = Some((input, found));
            }
            _ => {}
        }
    }
    // A quantized activation is no sign of a weight; a quantizer that reads a constant is.
    Ok(match quantized {
        Some((input, Traced::Quantized(id))) if !reads_constant(graph, id) => {
            info.weights.len().eq(&1).then_some((input, Traced::Quantized(id)))
        }
        other => other,
    })
}

/// Whether everything that a quantizer node (or our own last dequantizing node) makes its value from is constant or a variable.
fn reads_constant(graph: &Graph, id: NodeId) -> bool {
    // Our longest chain, DoReFa's, has a dozen nodes; what is larger is no weight's.
    const CHAIN: usize = 64;
    let Some(scope) = graph.index().scope(id.scope) else { return false };
    let mut open = vec![id];
    let mut seen = Vec::new();
    while let Some(next) = open.pop() {
        if seen.contains(&next) {
            continue;
        }
        seen.push(next);
        if seen.len() > CHAIN {
            return false;
        }
        if matches!(graph.op(next), b"Const" | b"Variable" | b"VariableV2" | b"VarHandleOp") {
            continue;
        }
        let Some(node) = graph.index().node(next) else { return false };
        let known = open.len();
        for input in scope.inputs(node) {
            match input.target {
                Target::Data { node, .. } => open.push(NodeId { scope: id.scope, node }),
                Target::Argument => return false,
                Target::Control { .. } => {}
            }
        }
        // A placeholder, a random number.
        if open.len() == known {
            return false;
        }
    }
    true
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
