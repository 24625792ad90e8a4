//! Look-ups in variables (`ResourceGather`, `ResourceGatherNd`), as look-ups in the values that the handles became.

use protobuf::EnumOrUnknown;

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::graphdef::pb::DataType;
use crate::rewrite::emit::{Editor, NewNode};

/// Whether an op looks rows of a variable up.
pub(super) fn gathers(op: &[u8]) -> bool {
    matches!(op, b"ResourceGather" | b"ResourceGatherNd")
}

/// Let a look-up in a variable of type `dtype` look in its value: `GatherV2` along the first axis, or `GatherNd`. Their outputs are called
/// alike.
///
/// # Errors
/// Damaged nodes.
pub(super) fn gather(editor: &mut Editor<'_>, id: NodeId, dtype: DataType) -> Result<(), Error> {
    let graph = editor.graph;
    let (name, device) = (graph.name(id).to_owned(), editor.device(id));
    let (params, indices) = (editor.reads(id, 0), editor.reads(id, 1));
    let attr = |key: &str| type_attr(graph, id, key);
    let index_type = attr("Tindices")?.unwrap_or(DataType::DT_INT32);
    let typed = |node: NewNode| node.typed("Tparams", dtype).typed("Tindices", index_type);
    if graph.op(id) == b"ResourceGatherNd" {
        editor.replace(id, vec![typed(NewNode::new("GatherNd", name, vec![params, indices], device))]);
        return Ok(());
    }
    let node = graph.index().node(id);
    let batch_dims = node.map(|node| node.attr_int(graph.bytes(), "batch_dims")).transpose()?.flatten().unwrap_or(0);
    let axis = editor.unique(id.scope, &format!("{name}/axis"));
    // The gathered axis is the one behind the batch.
    let first = i32::try_from(batch_dims).unwrap_or(0);
    let axis = NewNode::ints(axis, device, &[], &[first]).with_inputs(editor.frame_control(id, &indices));
    let inputs = vec![params, indices, axis.output(editor.scope_kind(id.scope))];
    let gather = typed(NewNode::new("GatherV2", name, inputs, device)).typed("Taxis", DataType::DT_INT32);
    editor.replace(id, vec![axis, gather.int("batch_dims", batch_dims)]);
    Ok(())
}

fn type_attr(graph: &Graph, id: NodeId, key: &str) -> Result<Option<DataType>, Error> {
    let number = graph.index().node(id).map(|node| node.attr_type(graph.bytes(), key)).transpose()?.flatten();
    Ok(number.and_then(|number| EnumOrUnknown::from_i32(i32::try_from(number).ok()?).enum_value().ok()))
}
