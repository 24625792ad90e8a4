//! The value of a node that depends on constants alone, as far as weights need it: a constant, or codes behind dequantizing ops.

use protobuf::Enum;
use quant_math::WeightData;
use quant_math::data::round_to;

use super::folded::Folded;
use super::separated;
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Target};
use crate::graphdef::pb::DataType;
use crate::graphdef::tensor::{TensorView, float_type, positions};

/// Dequantizing chains are a handful of ops; what takes more steps is none of ours, and may be made to take for ever.
const MAX_STEPS: usize = 32;

/// Compute `id` from constants through Identity, Cast, Add, Sub, Mul, RealDiv and GatherV2, and through what separates codes that share
/// bytes: RightShift, BitwiseAnd, Reshape, Slice; `None` for anything else.
pub(super) fn fold(graph: &Graph, id: NodeId) -> Result<Option<Folded>, Error> {
    fold_at(graph, id, &mut 0)
}

fn fold_at(graph: &Graph, id: NodeId, steps: &mut usize) -> Result<Option<Folded>, Error> {
    *steps += 1;
    if *steps > MAX_STEPS {
        return Ok(None);
    }
    let mut input = |position| -> Result<Option<Folded>, Error> {
        match graph.input(id, position).map(|i| i.target) {
            Some(Target::Data { node, .. }) => fold_at(graph, NodeId { scope: id.scope, node }, steps),
            _ => Ok(None),
        }
    };
    match graph.op(id) {
        b"Const" => constant(graph, id),
        b"Identity" => input(0),
        b"Cast" => {
            let to = graph.index().node(id).map(|n| n.attr_type(graph.bytes(), "DstT")).transpose()?.flatten();
            Ok(input(0)?.and_then(|folded| cast(folded, to)))
        }
        // A table of levels, looked up by code.
        b"GatherV2" => {
            let (Some(levels), Some(index)) = (input(0)?, input(1)?) else { return Ok(None) };
            Ok(look_up(&levels, index))
        }
        b"RightShift" => {
            let (Some(bytes), Some(by)) = (input(0)?, input(1)?) else { return Ok(None) };
            Ok(separated::shifted(&bytes, &by, graph.file_len()))
        }
        b"BitwiseAnd" => {
            let (Some(codes), Some(mask)) = (input(0)?, input(1)?) else { return Ok(None) };
            Ok(separated::masked(codes, &mask))
        }
        b"Reshape" => {
            let Some(folded) = input(0)? else { return Ok(None) };
            Ok(sizes(graph, id, 1)?.and_then(|shape| separated::reshaped(folded, shape)))
        }
        b"Slice" => {
            let Some(folded) = input(0)? else { return Ok(None) };
            let (begin, size) = (sizes(graph, id, 1)?, sizes(graph, id, 2)?);
            Ok(begin.zip(size).and_then(|(begin, size)| separated::cut(folded, &begin, &size)))
        }
        op @ (b"Mul" | b"Sub" | b"Add" | b"AddV2" | b"RealDiv") => {
            let Some(a) = input(0)? else { return Ok(None) };
            let Some(b) = input(1)? else { return Ok(None) };
            Ok(broadcast(a, &b, |x, y| match op {
                b"Mul" => x * y,
                b"Sub" => x - y,
                b"RealDiv" => x / y,
                _ => x + y,
            }))
        }
        _ => Ok(None),
    }
}

/// The values after a Cast to a DataType number, as float32; `None` for types that weights do not have.
fn cast(mut folded: Folded, to: Option<u64>) -> Option<Folded> {
    let to = DataType::from_i32(i32::try_from(to?).ok()?)?;
    if to != DataType::DT_INT32 {
        round_to(float_type(to)?, &mut folded.values);
    }
    Some(folded)
}

/// `levels[index]` along the first axis of a vector.
fn look_up(levels: &Folded, mut index: Folded) -> Option<Folded> {
    for x in &mut index.values {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and `get` checks")]
        let at = *x as usize;
        *x = *levels.values.get(at)?;
    }
    (levels.shape.len() == 1).then_some(index)
}

fn constant(graph: &Graph, id: NodeId) -> Result<Option<Folded>, Error> {
    let Some(view) = graph.constant(id)? else { return Ok(None) };
    let shape = view.shape().to_vec();
    // A short form is spread out only as far as the file itself is long.
    if view.elements() as u64 > graph.file_len() {
        return Ok(None);
    }
    let values = if view.float_dtype().is_some() {
        let data = view.float_data()?;
        data.chunk(0..data.len()).into_owned()
    } else {
        match view.dtype() {
            Some(DataType::DT_INT8) => view.code_bytes()?.iter().map(|code| f32::from(code.cast_signed())).collect(),
            // What codes are shifted by, and their mask.
            Some(DataType::DT_UINT8) if view.elements() <= separated::MOST_PER_BYTE => small(&view)?,
            Some(DataType::DT_UINT8) => view.code_bytes()?.iter().map(|code| f32::from(*code)).collect(),
            // The offset of codes: at most 128.
            Some(DataType::DT_INT32) if view.elements() == 1 => small(&view)?,
            _ => return Ok(None),
        }
    };
    Ok(Some(Folded { shape, values }))
}

/// A few integers, all of them small.
fn small(view: &TensorView<'_>) -> Result<Vec<f32>, Error> {
    Ok(view.int_values()?.iter().filter_map(|x| i16::try_from(*x).ok()).map(f32::from).collect())
}

/// The sizes or positions that node `id` reads at `input`: a constant vector.
fn sizes(graph: &Graph, id: NodeId, input: usize) -> Result<Option<Vec<u64>>, Error> {
    /// No tensor has more dimensions (TensorFlow, `TensorShape::MaxDimensions`).
    const MOST: usize = 254;
    let Some(Target::Data { node, .. }) = graph.input(id, input).map(|i| i.target) else { return Ok(None) };
    let Some(view) = graph.constant(NodeId { scope: id.scope, node })? else { return Ok(None) };
    let is_size = matches!(view.dtype(), Some(DataType::DT_INT32 | DataType::DT_INT64)) && view.elements() <= MOST;
    if !is_size {
        return Ok(None);
    }
    Ok(view.int_values()?.into_iter().map(|size| u64::try_from(size).ok()).collect())
}

/// The op for each element of the first operand; `None` where the result has another shape.
fn broadcast(mut a: Folded, b: &Folded, op: impl Fn(f32, f32) -> f32) -> Option<Folded> {
    let (shape, positions) = positions(&a.shape, &b.shape, a.values.len())?;
    if shape != a.shape {
        return None;
    }
    for (x, (_, in_b)) in a.values.iter_mut().zip(positions) {
        *x = op(*x, *b.values.get(in_b)?);
    }
    Some(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(shape: &[u64], values: &[f32]) -> Folded {
        Folded { shape: shape.to_vec(), values: values.to_vec() }
    }

    #[test]
    fn scalars_and_channels_broadcast_as_in_the_ops() {
        let a = folded(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let by = |b: &Folded| broadcast(a.clone(), b, |x, y| x * y).map(|f| f.values);
        assert_eq!(by(&folded(&[], &[2.0])), Some(vec![2.0, 4.0, 6.0, 8.0, 10.0, 12.0]));
        assert_eq!(by(&folded(&[3], &[1.0, 0.0, 2.0])), Some(vec![1.0, 0.0, 6.0, 4.0, 0.0, 12.0]));
        assert_eq!(by(&folded(&[2, 1], &[1.0, 3.0])), Some(vec![1.0, 2.0, 3.0, 12.0, 15.0, 18.0]));
        assert_eq!(by(&folded(&[2], &[1.0, 3.0])), None);
        assert_eq!(by(&folded(&[1, 1, 1], &[1.0])), None);
    }
}
