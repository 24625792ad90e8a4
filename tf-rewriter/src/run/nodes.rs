//! New nodes in a graph that TensorFlow holds.

use tensorflow::{DataType, Operation, OperationDescription, Output, Shape, Status, Tensor, TensorType};

use super::RunError;
use super::session::Model;

/// Makes nodes below one scope, with names that nothing else has.
pub(super) struct Nodes<'m> {
    pub(super) model: &'m mut Model,
    scope: String,
    made: usize,
}

impl<'m> Nodes<'m> {
    pub(super) fn new(model: &'m mut Model, scope: impl Into<String>) -> Self {
        Self { model, scope: scope.into(), made: 0 }
    }

    /// A node of type `kind`; its first output.
    pub(super) fn add(&mut self, kind: &str, inputs: &[Output]) -> Result<Output, RunError> {
        self.with(kind, inputs, |_| Ok(()))
    }

    /// A node with attributes.
    pub(super) fn with(
        &mut self,
        kind: &str,
        inputs: &[Output],
        attributes: impl FnOnce(&mut OperationDescription<'_>) -> Result<(), Status>,
    ) -> Result<Output, RunError> {
        let make = |node: &mut OperationDescription<'_>| {
            for input in inputs {
                node.add_input(input.clone());
            }
            attributes(node)
        };
        self.node(kind, make).map(|operation| Output { operation, index: 0 })
    }

    /// A node that is made as `make` says.
    pub(super) fn node(
        &mut self,
        kind: &str,
        make: impl FnOnce(&mut OperationDescription<'_>) -> Result<(), Status>,
    ) -> Result<Operation, RunError> {
        let name = loop {
            let name = format!("{}/{kind}_{}", self.scope, self.made);
            self.made += 1;
            if self.model.graph.operation_by_name(&name).ok().flatten().is_none() {
                break name;
            }
        };
        self.named(&name, kind, make)
    }

    /// A node that takes a list of any length.
    pub(super) fn list(&mut self, kind: &str, inputs: &[Output]) -> Result<Output, RunError> {
        let node = self.node(kind, |node| {
            node.add_input_list(inputs);
            Ok(())
        });
        node.map(|operation| Output { operation, index: 0 })
    }

    /// A node with several inputs and no output that is read.
    pub(super) fn operation(&mut self, kind: &str, inputs: &[Output]) -> Result<Operation, RunError> {
        self.with(kind, inputs, |_| Ok(())).map(|output| output.operation)
    }

    /// A node of a given name.
    pub(super) fn named(
        &mut self,
        name: &str,
        kind: &str,
        make: impl FnOnce(&mut OperationDescription<'_>) -> Result<(), Status>,
    ) -> Result<Operation, RunError> {
        let node = self.model.graph.new_operation(kind, name);
        let finished = node.map_err(Status::from).and_then(|mut node| {
            make(&mut node)?;
            node.finish()
        });
        finished.map_err(|status| self.model.failed(format!("add `{name}`"), &status))
    }

    /// A Const.
    pub(super) fn constant<T: TensorType>(&mut self, tensor: Tensor<T>) -> Result<Output, RunError> {
        self.with("Const", &[], |node| {
            node.set_attr_type("dtype", T::data_type())?;
            node.set_attr_tensor("value", tensor)
        })
    }

    /// A Placeholder.
    pub(super) fn placeholder(&mut self, dtype: DataType, shape: &[u64]) -> Result<Output, RunError> {
        self.with("Placeholder", &[], |node| {
            node.set_attr_type("dtype", dtype)?;
            Ok(node.set_attr_shape("shape", &Shape::from(shape))?)
        })
    }

    /// A Placeholder of any shape.
    pub(super) fn fed(&mut self, dtype: DataType) -> Result<Output, RunError> {
        self.with("Placeholder", &[], |node| Ok(node.set_attr_type("dtype", dtype)?))
    }
}
