//! Sites: the tensors of each op that could be quantized, before any config is looked at.

mod activation;
mod weight;

pub(crate) use activation::{activation_inputs, element_type, output_edges, tensor_name};
pub(crate) use weight::{Axes, Traced, Weight, is_quantizer, trace};

use crate::Error;
use crate::graph::Graph;
use crate::index::NodeId;
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
        Some((input, Traced::Quantized(id))) if !reads_constant(graph, id)? => {
            info.weights.len().eq(&1).then_some((input, Traced::Quantized(id)))
        }
        other => other,
    })
}

/// Whether a quantizer node (or our own dequantizing node) has a constant at its end.
fn reads_constant(graph: &Graph, id: NodeId) -> Result<bool, Error> {
    let constant = |traced: &Traced| !matches!(traced, Traced::Computed | Traced::Argument);
    Ok(graph.op(id) == b"Const" || constant(&trace(graph, id, 0)?))
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
