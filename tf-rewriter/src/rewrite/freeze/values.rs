//! The values of variables, checked against what the graph says of them.

use std::collections::BTreeSet;

use protobuf::Message;

use crate::error::Error;
use crate::graphdef::bundle::Tensor;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::graphdef::pb::{DataType, TensorShapeProto};
use crate::graphdef::tensor::dtype_size;

type Read<'a> = &'a dyn Fn(&str) -> Result<Option<Tensor>, Error>;

/// Values by name, and the names that had none.
pub(super) struct Values<'a> {
    read: Read<'a>,
    /// Names under which a value was found.
    known: BTreeSet<String>,
    /// In the order in which they were asked for.
    missing: Vec<String>,
    is_missing: BTreeSet<String>,
}

impl<'a> Values<'a> {
    pub(super) fn new(read: Read<'a>) -> Self {
        Self { read, known: BTreeSet::new(), missing: Vec::new(), is_missing: BTreeSet::new() }
    }

    /// The value of a variable (by its node's name, or the name that it is shared under), `None` where there is none.
    ///
    /// # Errors
    /// A value of another type or shape than the variable has.
    pub(super) fn of(&mut self, graph: &Graph, variable: NodeId) -> Result<Option<Tensor>, Error> {
        let bytes = graph.bytes();
        let name = graph.name(variable);
        let Some(node) = graph.index().node(variable) else { return Ok(None) };
        let mut found = (self.read)(name)?.map(|tensor| (name, tensor));
        if found.is_none() {
            let shared = node.attr_bytes(bytes, "shared_name")?.map(|span| span.text(bytes)).unwrap_or_default();
            if !shared.is_empty() && shared != name {
                found = (self.read)(shared)?.map(|tensor| (shared, tensor));
            }
        }
        let Some((known, tensor)) = found else {
            if self.is_missing.insert(name.to_owned()) {
                self.missing.push(name.to_owned());
            }
            return Ok(None);
        };
        // What was read counts like the graph's own bytes, once: nodes that share a name can stand for any number of copies.
        if self.known.insert(known.to_owned()) {
            graph.budget().read_too(tensor.bytes.len() as u64);
        }
        graph.check_variable(variable, tensor.dtype)?;
        let shape = node.attr_shape(bytes, "shape")?.map(|span| span.of(bytes));
        check(name, &tensor, shape)?;
        Ok(Some(tensor))
    }

    /// # Errors
    /// [`Error::MissingVariables`] where a variable had no value.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let names = std::mem::take(&mut self.missing);
        if names.is_empty() { Ok(()) } else { Err(Error::MissingVariables { names }) }
    }
}

fn check(name: &str, tensor: &Tensor, shape: Option<&[u8]>) -> Result<(), Error> {
    let wrong = |found: String, expected: String| Error::Tensor {
        what: format!("variable `{name}`"),
        found,
        expected,
        at: Box::default(),
    };
    let declared = shape.and_then(|shape| TensorShapeProto::parse_from_bytes(shape).ok());
    if let Some(declared) = declared.filter(|shape| !shape.unknown_rank) {
        let dims: Vec<i64> = declared.dim.iter().map(|dim| dim.size).collect();
        let fits = |(dim, size): (&i64, &u64)| *dim < 0 || u64::try_from(*dim) == Ok(*size);
        if dims.len() != tensor.shape.len() || !dims.iter().zip(&tensor.shape).all(fits) {
            return Err(wrong(format!("shape {:?}", tensor.shape), format!("shape {dims:?}")));
        }
    }
    let elements = tensor.shape.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim));
    let size = dtype_size(tensor.dtype).and_then(|size| elements?.checked_mul(size as u64));
    if size != u64::try_from(tensor.bytes.len()).ok() {
        let expected = size.map_or_else(|| "elements of a fixed size".to_owned(), |size| format!("{size} bytes"));
        return Err(wrong(format!("{} bytes", tensor.bytes.len()), expected));
    }
    Ok(())
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
