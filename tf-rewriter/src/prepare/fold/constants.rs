//! Small tensors that are computed from constants alone, in float64: what batch normalizations are made of, in whatever ops.

use quant_math::WeightData;

use crate::error::Error;
use crate::find::sites::{expanded, reshaped, squeezed};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::graphdef::tensor::positions;

/// Nodes that are looked at for one tensor. A batch normalization has some twenty.
const MOST_NODES: usize = 128;
/// Elements of a tensor: no layer has more channels.
const MOST_ELEMENTS: usize = 1 << 16;

/// A small tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) shape: Vec<u64>,
    pub(super) values: Vec<f64>,
}

/// The ops that [`value`] computes: no effect, and the same for the same inputs.
pub(super) fn is_computed_by(op: &[u8]) -> bool {
    matches!(
        op,
        b"Add"
            | b"AddV2"
            | b"Cast"
            | b"Const"
            | b"Div"
            | b"ExpandDims"
            | b"Identity"
            | b"Mul"
            | b"Neg"
            | b"RealDiv"
            | b"Reshape"
            | b"Rsqrt"
            | b"Sqrt"
            | b"Square"
            | b"Squeeze"
            | b"Sub"
    )
}

/// The value of a node; `None` where it is not computed from small constants by these ops.
///
/// # Errors
/// Damaged tensors.
pub(super) fn value(graph: &Graph, id: NodeId) -> Result<Option<Value>, Error> {
    at(graph, id, &mut 0)
}

fn at(graph: &Graph, id: NodeId, nodes: &mut usize) -> Result<Option<Value>, Error> {
    *nodes += 1;
    if *nodes > MOST_NODES {
        return Ok(None);
    }
    let mut input = |position| match graph.source(id, position) {
        Some(source) => at(graph, source, nodes),
        None => Ok(None),
    };
    let op = graph.op(id);
    if op == b"Const" {
        return constant(graph, id);
    }
    if !is_computed_by(op) {
        return Ok(None);
    }
    let Some(first) = input(0)? else { return Ok(None) };
    let each = |compute: fn(f64) -> f64| {
        let values = first.values.iter().map(|x| compute(*x)).collect();
        Some(Value { shape: first.shape.clone(), values })
    };
    let ints = |position| graph.constant_ints(id, position);
    let in_shape = |shape: Option<Vec<u64>>| Some(Value { shape: shape?, values: first.values.clone() });
    Ok(match op {
        b"Identity" => Some(first),
        b"Cast" => {
            let to = graph.index().node(id).map(|node| node.attr_type(graph.bytes(), "DstT")).transpose()?.flatten();
            // float32 and float64: no element changes, as far as anybody computes with it.
            matches!(to, Some(1 | 2)).then_some(first)
        }
        b"Neg" => each(|x| -x),
        b"Rsqrt" => each(|x| 1.0 / x.sqrt()),
        b"Sqrt" => each(f64::sqrt),
        b"Square" => each(|x| x * x),
        b"Reshape" => in_shape(ints(1)?.and_then(|wanted| reshaped(&first.shape, &wanted))),
        b"ExpandDims" => in_shape(ints(1)?.and_then(|axis| expanded(&first.shape, &axis))),
        b"Squeeze" => {
            let axes = graph.index().node(id).map(|node| node.attr_ints(graph.bytes(), "squeeze_dims")).transpose()?;
            in_shape(squeezed(&first.shape, &axes.unwrap_or_default()))
        }
        _ => {
            let Some(second) = input(1)? else { return Ok(None) };
            match op {
                b"Mul" => broadcast(&first, &second, |x, y| x * y),
                b"Sub" => broadcast(&first, &second, |x, y| x - y),
                b"Div" | b"RealDiv" => broadcast(&first, &second, |x, y| x / y),
                _ => broadcast(&first, &second, |x, y| x + y),
            }
        }
    })
}

fn constant(graph: &Graph, id: NodeId) -> Result<Option<Value>, Error> {
    let Some(view) = graph.constant(id)? else { return Ok(None) };
    if view.float_dtype().is_none() || view.elements() > MOST_ELEMENTS {
        return Ok(None);
    }
    let data = view.float_data()?;
    let values = data.chunk(0..data.len()).iter().map(|x| f64::from(*x)).collect();
    Ok(Some(Value { shape: view.shape().to_vec(), values }))
}

/// The op for each pair of elements.
fn broadcast(a: &Value, b: &Value, op: impl Fn(f64, f64) -> f64) -> Option<Value> {
    let (shape, positions) = positions(&a.shape, &b.shape, MOST_ELEMENTS)?;
    let one = |(in_a, in_b): (usize, usize)| Some(op(*a.values.get(in_a)?, *b.values.get(in_b)?));
    let values = positions.map(one).collect::<Option<_>>()?;
    Some(Value { shape, values })
}
