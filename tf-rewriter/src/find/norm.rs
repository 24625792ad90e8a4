//! What a batch normalization in one op says of itself.
//!
//! Source of the defaults: TensorFlow 2.21, `FusedBatchNorm`, `FusedBatchNormV2`, `FusedBatchNormV3` in `nn_ops.cc`. A graph that was saved with
//! `strip_default_attrs` has none of them written.

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;

/// Whether an op is a batch normalization of any version.
pub(crate) fn is_fused(op: &[u8]) -> bool {
    matches!(op, b"FusedBatchNorm" | b"FusedBatchNormV2" | b"FusedBatchNormV3")
}

/// Whether it normalizes by the statistics of its own batch; absent is true.
///
/// # Errors
/// Damaged attributes.
pub(crate) fn uses_batch_statistics(graph: &Graph, id: NodeId) -> Result<bool, Error> {
    let (bytes, key) = (graph.bytes(), "is_training");
    let Some(node) = graph.index().node(id) else { return Ok(true) };
    Ok(node.attr(bytes, key)?.is_none() || node.attr_bool(bytes, key)?)
}

/// What is added to the variance; absent is 1e-4.
///
/// # Errors
/// Damaged attributes.
pub(crate) fn epsilon(graph: &Graph, id: NodeId) -> Result<f32, Error> {
    const DEFAULT: f32 = 1e-4;
    let Some(node) = graph.index().node(id) else { return Ok(DEFAULT) };
    // A field that holds proto3's default is not written.
    let absent = if node.attr(graph.bytes(), "epsilon")?.is_some() { 0.0 } else { DEFAULT };
    Ok(node.attr_float(graph.bytes(), "epsilon")?.unwrap_or(absent))
}

/// The axis of channels among `rank` of an op with the attribute `data_format`: the last where it is absent. `None` for a format that has
/// channels in two axes.
///
/// # Errors
/// Damaged attributes.
pub(crate) fn channel_axis(graph: &Graph, id: NodeId, rank: usize) -> Result<Option<usize>, Error> {
    let bytes = graph.bytes();
    let Some(node) = graph.index().node(id) else { return Ok(None) };
    let format = node.attr_bytes(bytes, "data_format")?.map(|span| span.of(bytes));
    Ok(match format {
        None | Some(b"" | b"NHWC" | b"NDHWC") => rank.checked_sub(1),
        Some(b"NCHW" | b"NCDHW") => Some(1).filter(|axis| *axis < rank),
        Some(_) => None,
    })
}
