//! What constants and variables say of themselves.

use protobuf::{Enum, Message};
use quant_math::DType;

use super::flow::{self, MAX_PATH};
use crate::error::Error;
use crate::graphdef::graph::{Graph, Place};
use crate::graphdef::index::{NodeId, Span};
use crate::graphdef::pb::{DataType, TensorShapeProto};
use crate::graphdef::tensor::{TensorView, float_type};

impl Graph {
    /// The view of a Const node's tensor; `None` where the node has none.
    pub(crate) fn constant(&self, id: NodeId) -> Result<Option<TensorView<'_>>, Error> {
        let Some(span) = self.constant_span(id)? else { return Ok(None) };
        self.tensor(span, self.name(id)).map(Some)
    }

    /// Type and shape of a variable, where its node says both and the type is one that weights have.
    pub(crate) fn variable(&self, id: NodeId) -> Result<Option<(DType, Vec<u64>)>, Error> {
        let bytes = self.bytes();
        let Some(node) = self.index().node(id) else { return Ok(None) };
        let dtype = node.attr_type(bytes, "dtype")?.and_then(weight_type);
        let shape = node.attr_shape(bytes, "shape")?.and_then(|span| known_shape(span.of(bytes)));
        Ok(dtype.zip(shape))
    }

    /// Where a Const node's TensorProto lies.
    pub(crate) fn constant_span(&self, id: NodeId) -> Result<Option<Span>, Error> {
        match self.index().node(id) {
            Some(node) if node.op.of(self.bytes()) == b"Const" => node.attr_tensor(self.bytes(), "value"),
            _ => Ok(None),
        }
    }

    /// The integers that `input` of `op` holds, if a constant stands there, or behind what passes it on and cannot be fed.
    pub(crate) fn constant_ints(&self, op: NodeId, input: usize) -> Result<Option<Vec<i64>>, Error> {
        self.constant_at(op, input)?.map(|view| view.int_values()).transpose()
    }

    /// The constant at `input` of `op`, or behind what passes it on and cannot be fed.
    pub(super) fn constant_at(&self, op: NodeId, input: usize) -> Result<Option<TensorView<'_>>, Error> {
        let mut place = flow::read(self, op, input);
        for _ in 0..MAX_PATH {
            let Some(at) = place else { return Ok(None) };
            if let Place::Output(id, port) = at {
                if let Some(view) = self.constant(id)?.filter(|_| port == 0) {
                    return Ok(Some(view));
                }
                if self.op(id) == b"PlaceholderWithDefault" {
                    return Ok(None);
                }
            }
            place = match flow::sources(self, at)?.as_deref() {
                Some([one]) => Some(*one),
                _ => None,
            };
        }
        Ok(None)
    }
}

/// The type of a weight's elements, by its number.
pub(super) fn weight_type(number: u64) -> Option<DType> {
    float_type(i32::try_from(number).ok().and_then(DataType::from_i32)?)
}

/// The dimensions of a TensorShapeProto that knows all of them, and whose number of elements fits.
fn known_shape(shape: &[u8]) -> Option<Vec<u64>> {
    let shape = TensorShapeProto::parse_from_bytes(shape).ok().filter(|shape| !shape.unknown_rank)?;
    let dims: Vec<u64> = shape.dim.iter().map(|dim| u64::try_from(dim.size).ok()).collect::<Option<_>>()?;
    dims.iter().try_fold(8u64, |bytes, dim| bytes.checked_mul(*dim))?;
    Some(dims)
}
