//! The channels of an `Einsum`'s weight, by its equation.

use quant_math::einsum::channel_axis;

use crate::error::Error;
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
