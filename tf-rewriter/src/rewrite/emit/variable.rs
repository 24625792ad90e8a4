//! A constant that becomes a variable.

use super::Editor;
use super::node::NewNode;
use super::taking_over::{control_inputs, kept_fields, kept_fields_but};
use crate::error::Error;
use crate::find::mark;
use crate::graphdef::bundle::Tensor;
use crate::graphdef::index::NodeId;
use crate::graphdef::pb::DataType;
use crate::graphdef::tensor::pb_type;
use crate::rewrite::splice::Segment;
use protobuf::Enum;
use quant_math::DType;

/// Names of new nodes.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) variable: String,
    pub(crate) assign: String,
}

/// Put a variable, its first value and what reads it (under the old name) in place of the constant `id` of the main graph.
pub(crate) fn new_variable(editor: &mut Editor<'_>, id: NodeId, dtype: DType, shape: &[u64]) -> Result<Names, Error> {
    let graph = editor.graph;
    let name = graph.name(id).to_owned();
    let device = editor.device(id);
    let variable = editor.unique(id.scope, &format!("{name}/variable"));
    let initial = editor.unique(id.scope, &format!("{name}/initial_value"));
    let assign = editor.unique(id.scope, &format!("{name}/assign"));
    let dtype = pb_type(dtype);
    let mut value = NewNode::new("Const", initial.clone(), Vec::new(), device).typed("dtype", dtype);
    value.set_tensor(vec![Segment::Copy(graph.constant_span(id)?.unwrap_or_default())]);
    let read = NewNode::new("ReadVariableOp", name, vec![variable.clone()], device)
        .typed("dtype", dtype)
        .with_inputs(control_inputs(graph, id))
        .taking_over(kept_fields(graph, id));
    let nodes = vec![
        NewNode::variable(variable.clone(), device, dtype, shape),
        value,
        NewNode::assign("AssignVariableOp", assign.clone(), device, dtype, [&variable, &initial]),
        read,
    ];
    editor.replace(id, nodes);
    Ok(Names { variable, assign })
}

/// A node that runs the others, in the main graph.
pub(crate) fn init_op(editor: &mut Editor<'_>, name: &str, runs: &[String]) {
    let controls = runs.iter().map(|run| format!("^{run}")).collect();
    editor.insert(NodeId { scope: 0, node: 0 }, vec![NewNode::new("NoOp", name.to_owned(), controls, "")]);
}

/// Put a variable's value in place of what reads it (`ReadVariableOp`, or a reference variable itself), under the same name.
pub(crate) fn frozen_variable(editor: &mut Editor<'_>, id: NodeId, value: &Tensor) {
    let graph = editor.graph;
    let name = graph.name(id).to_owned();
    let node = NewNode::raw(name, editor.device(id), value.dtype, &value.shape, &value.bytes)
        .taking_over(kept_fields_but(graph, id, Some(mark::COLOCATED)));
    editor.replace(id, vec![node]);
}

/// Let what reads a variable once more read the constant that it became.
pub(crate) fn read_again(editor: &mut Editor<'_>, id: NodeId, constant: &str) -> Result<(), Error> {
    let graph = editor.graph;
    let number = graph.index().node(id).map(|node| node.attr_type(graph.bytes(), "dtype")).transpose()?.flatten();
    let dtype = number.and_then(|number| DataType::from_i32(i32::try_from(number).ok()?)).unwrap_or_default();
    let node = NewNode::new("Identity", graph.name(id).to_owned(), vec![constant.to_owned()], editor.device(id))
        .typed("T", dtype)
        .taking_over(kept_fields_but(graph, id, Some(mark::COLOCATED)));
    editor.replace(id, vec![node]);
    Ok(())
}
