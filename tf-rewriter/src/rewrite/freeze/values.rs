//! The values of variables, checked against what the graph says of them.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::graphdef::bundle::Tensor;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::graphdef::pb::DataType;
use crate::prepare::{ReadVariable, given};

/// Values by name, and the names that had none.
pub(super) struct Values<'a> {
    read: &'a ReadVariable<'a>,
    /// Names under which a value was found.
    known: BTreeSet<String>,
    /// In the order in which they were asked for.
    missing: Vec<String>,
    is_missing: BTreeSet<String>,
}

impl<'a> Values<'a> {
    pub(super) fn new(read: &'a ReadVariable<'a>) -> Self {
        Self { read, known: BTreeSet::new(), missing: Vec::new(), is_missing: BTreeSet::new() }
    }

    /// The value of a variable (by its node's name, or the name that it is shared under), `None` where there is none.
    ///
    /// # Errors
    /// A value of another type or shape than the variable has.
    pub(super) fn of(&mut self, graph: &Graph, variable: NodeId) -> Result<Option<Tensor>, Error> {
        let Some((known, tensor)) = given(self.read, graph, variable)? else {
            let name = graph.name(variable);
            if self.is_missing.insert(name.to_owned()) {
                self.missing.push(name.to_owned());
            }
            return Ok(None);
        };
        // What was read counts like the graph's own bytes, once: nodes that share a name can stand for any number of copies.
        if self.known.insert(known.to_owned()) {
            graph.budget().read_too(tensor.bytes.len() as u64);
        }
        Ok(Some(tensor))
    }

    /// # Errors
    /// [`Error::MissingVariables`] where a variable had no value.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let names = std::mem::take(&mut self.missing);
        if names.is_empty() { Ok(()) } else { Err(Error::MissingVariables { names }) }
    }
}

/// A scalar.
pub(super) fn float(tensor: &Tensor) -> Option<f32> {
    (tensor.dtype == DataType::DT_FLOAT).then_some(())?;
    tensor.bytes.as_slice().try_into().ok().map(f32::from_le_bytes)
}

/// All elements.
pub(super) fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    (tensor.dtype == DataType::DT_FLOAT).then_some(())?;
    let (numbers, rest) = tensor.bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// A scalar.
pub(super) fn long(tensor: &Tensor) -> Option<i64> {
    (tensor.dtype == DataType::DT_INT64).then_some(())?;
    tensor.bytes.as_slice().try_into().ok().map(i64::from_le_bytes)
}
