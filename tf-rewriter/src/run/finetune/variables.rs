//! Resource variables that can be read and set from outside.

use std::collections::BTreeMap;

use tensorflow::{DataType, Operation, Output, Shape, Tensor};

use super::super::RunError;
use super::super::nodes::Nodes;
use super::super::session::Model;
use super::super::value::Value;

/// A variable with what reads and sets it.
#[derive(Debug)]
pub(super) struct Variable {
    /// The node's name, as a checkpoint has it.
    pub(super) name: String,
    handle: Output,
    read: Output,
    fed: Operation,
    assign: Operation,
    /// Its first value, where it is not set by the graph itself.
    zeros: Option<Value>,
}

/// The values of variables, by name.
pub(super) type Snapshot = BTreeMap<String, Value>;

impl Variable {
    /// Every resource variable of a graph.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(super) fn all(model: &mut Model) -> Result<Vec<Self>, RunError> {
        let handles: Vec<Operation> = model
            .graph
            .operation_iter()
            .filter(|operation| operation.op_type().is_ok_and(|kind| kind == "VarHandleOp"))
            .collect();
        let mut nodes = Nodes::new(model, "finetune/state");
        handles
            .into_iter()
            .map(|handle| {
                let dtype = handle
                    .get_attr_type("dtype")
                    .map_err(|status| nodes.model.failed("read a variable's type", &status))?;
                Self::beside(&mut nodes, handle, dtype, None)
            })
            .collect()
    }

    /// A new float32 variable that begins with zeros.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(super) fn zeros(nodes: &mut Nodes<'_>, name: &str, shape: &[u64]) -> Result<Self, RunError> {
        let handle = nodes.named(name, "VarHandleOp", |node| {
            node.set_attr_type("dtype", DataType::Float)?;
            node.set_attr_shape("shape", &Shape::from(shape))?;
            Ok(node.set_attr_string("shared_name", name)?)
        })?;
        Self::beside(nodes, handle, DataType::Float, Some(Value::F32(Tensor::new(shape))))
    }

    fn beside(
        nodes: &mut Nodes<'_>,
        handle: Operation,
        dtype: DataType,
        zeros: Option<Value>,
    ) -> Result<Self, RunError> {
        let name = handle.name().unwrap_or_default();
        let handle = Output { operation: handle, index: 0 };
        let read = nodes
            .with("ReadVariableOp", std::slice::from_ref(&handle), |node| Ok(node.set_attr_type("dtype", dtype)?))?;
        let fed = nodes.fed(dtype)?;
        let assign = nodes.node("AssignVariableOp", |node| {
            node.add_input(handle.clone());
            node.add_input(fed.clone());
            Ok(node.set_attr_type("dtype", dtype)?)
        })?;
        Ok(Self { name, handle, read, fed: fed.operation, assign, zeros })
    }

    /// The resource.
    pub(super) fn handle(&self) -> Output {
        self.handle.clone()
    }
}

/// The values of variables.
///
/// # Errors
/// TensorFlow's own.
pub(super) fn read<'v>(
    model: &Model,
    variables: impl Iterator<Item = &'v Variable> + Clone,
) -> Result<Snapshot, RunError> {
    let reads: Vec<Output> = variables.clone().map(|variable| variable.read.clone()).collect();
    let values = model.run_with([], &reads, &[])?;
    Ok(variables.map(|variable| variable.name.clone()).zip(values).collect())
}

/// Set variables to the values of a snapshot.
///
/// # Errors
/// The snapshot lacks one; TensorFlow's own.
pub(super) fn write<'v>(
    model: &Model,
    variables: impl Iterator<Item = &'v Variable>,
    values: &Snapshot,
) -> Result<(), String> {
    let (mut feeds, mut assigns) = (Vec::new(), Vec::new());
    for variable in variables {
        let value = values.get(&variable.name).ok_or_else(|| format!("it has no value of `{}`", variable.name))?;
        feeds.push((&variable.fed, 0, value));
        assigns.push(&variable.assign);
    }
    model.run_with(feeds, &[], &assigns).map(drop).map_err(|error| error.to_string())
}

/// Give the variables that begin with zeros their zeros.
///
/// # Errors
/// TensorFlow's own.
pub(super) fn begin(model: &Model, variables: &[Variable]) -> Result<(), RunError> {
    let feeds = variables.iter().filter_map(|variable| Some((&variable.fed, 0, variable.zeros.as_ref()?)));
    let assigns: Vec<&Operation> = variables.iter().filter(|v| v.zeros.is_some()).map(|v| &v.assign).collect();
    model.run_with(feeds, &[], &assigns).map(drop)
}
