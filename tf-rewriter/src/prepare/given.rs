//! The values of variables that the caller gives, checked against what the graph says of them.

use protobuf::Message;

use crate::error::Error;
use crate::graphdef::bundle::Tensor;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::graphdef::pb::TensorShapeProto;
use crate::graphdef::tensor::dtype_size;

/// Gives a variable's value by its name.
pub(crate) type ReadVariable<'a> = dyn Fn(&str) -> Result<Option<Tensor>, Error> + 'a;

/// The value of a variable, by its node's name or the name that it is shared under, and that name; `None` where there is none.
///
/// # Errors
/// A value of another type or shape than the variable has; what `read` says.
pub(crate) fn given<'g>(
    read: &ReadVariable<'_>,
    graph: &'g Graph,
    variable: NodeId,
) -> Result<Option<(&'g str, Tensor)>, Error> {
    let bytes = graph.bytes();
    let name = graph.name(variable);
    let Some(node) = graph.index().node(variable) else { return Ok(None) };
    let mut found = read(name)?.map(|tensor| (name, tensor));
    if found.is_none() {
        let shared = node.attr_bytes(bytes, "shared_name")?.map(|span| span.text(bytes)).unwrap_or_default();
        if !shared.is_empty() && shared != name {
            found = read(shared)?.map(|tensor| (shared, tensor));
        }
    }
    if let Some((_, tensor)) = &found {
        graph.check_variable(variable, tensor.dtype)?;
        let shape = node.attr_shape(bytes, "shape")?.map(|span| span.of(bytes));
        check(name, tensor, shape)?;
    }
    Ok(found)
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
