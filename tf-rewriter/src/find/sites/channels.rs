//! Which axes of a weight are its channels, by the op that reads it.

use quant_math::einsum::channel_axis;

use super::weight::{Axes, ChannelAxes, Weight};
use crate::error::Error;
use crate::find::ops::{self, ChannelRule};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;

/// The channel axis of the weight, of rank `rank`, that an `Einsum` reads at `input`; or why none is clear.
///
/// # Errors
/// Damaged attributes.
pub(crate) fn channel_label(
    graph: &Graph,
    op: NodeId,
    input: usize,
    rank: usize,
) -> Result<Result<usize, String>, Error> {
    let node = graph.index().node(op);
    let equation = node.map(|node| node.attr_bytes(graph.bytes(), "equation")).transpose()?.flatten();
    Ok(channel_axis(equation.map_or("", |span| span.text(graph.bytes())), input, rank))
}

/// The channel axes of the weight that `op` reads at `input`.
pub(crate) fn channel_axes(
    graph: &Graph,
    op: NodeId,
    input: usize,
    weight: &Weight,
) -> Result<Option<ChannelAxes>, Error> {
    let Some(info) = ops::info(graph.op(op)) else { return Ok(None) };
    Ok(match (info.channels, weight.edge_shape().map(<[u64]>::len)) {
        (ChannelRule::Equation, Some(rank)) => {
            let axis = channel_label(graph, op, input, rank)?.ok();
            axis.and_then(|first| weight.axes_of(Axes { first, count: 1 }))
        }
        (rule, _) => weight.channel_axes(rule, is_transposed(graph, op, input)?),
    })
}

/// Whether op inputs `adj_y`, `transpose_b` and the like swap the last two axes of the weight at `input`.
fn is_transposed(graph: &Graph, op: NodeId, input: usize) -> Result<bool, Error> {
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
