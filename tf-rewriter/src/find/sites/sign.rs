//! Tensors that hold no number below 0, whatever is fed.

use std::collections::BTreeSet;

use super::flow::{read, read_by, sources};
use crate::error::Error;
use crate::graphdef::graph::{Graph, Place};
use crate::graphdef::index::NodeId;

/// How far back is looked; what is farther is taken for signed.
const MOST: usize = 256;

/// What an op makes of numbers that are not negative.
enum Sign {
    /// It makes none below 0, whatever it reads.
    Never,
    /// None below 0 where its first input, or one of all inputs, has none.
    OfFirst,
    OfAll,
    Open,
}

fn sign(op: &[u8]) -> Sign {
    match op {
        b"Relu" | b"Relu6" | b"Sigmoid" | b"Softmax" | b"Softplus" | b"Exp" | b"Abs" | b"Square" | b"Sqrt"
        | b"Rsqrt" => Sign::Never,
        b"AvgPool"
        | b"AvgPool3D"
        | b"BatchToSpaceND"
        | b"BroadcastTo"
        | b"DepthToSpace"
        | b"ExpandDims"
        | b"Gather"
        | b"GatherNd"
        | b"GatherV2"
        | b"Max"
        | b"MaxPool"
        | b"MaxPool3D"
        | b"MaxPoolV2"
        | b"Mean"
        | b"Min"
        | b"MirrorPad"
        | b"Pad"
        | b"Reshape"
        | b"ResizeBilinear"
        | b"ResizeNearestNeighbor"
        | b"ReverseV2"
        | b"Slice"
        | b"SpaceToBatchND"
        | b"SpaceToDepth"
        | b"Squeeze"
        | b"StridedSlice"
        | b"Sum"
        | b"Tile"
        | b"Transpose" => Sign::OfFirst,
        b"Add" | b"AddN" | b"AddV2" | b"ConcatV2" | b"Maximum" | b"Minimum" | b"Mul" | b"Pack" => Sign::OfAll,
        _ => Sign::Open,
    }
}

/// Whether the tensor at a place is known to hold no number below 0: it comes from ops that make none, through ops that add none.
///
/// # Errors
/// Damaged nodes.
pub(crate) fn is_never_negative(graph: &Graph, place: Place) -> Result<bool, Error> {
    let (mut open, mut seen) = (vec![place], BTreeSet::new());
    while let Some(place) = open.pop() {
        if !seen.insert(place) {
            continue;
        }
        if seen.len() > MOST {
            return Ok(false);
        }
        let Place::Output(id, _) = place else {
            match sources(graph, place)? {
                Some(places) => open.extend(places),
                None => return Ok(false),
            }
            continue;
        };
        match sign(graph.op(id)) {
            Sign::Never => {}
            Sign::OfFirst => match read(graph, id, 0) {
                Some(first) => open.push(first),
                None => return Ok(false),
            },
            Sign::OfAll => open.extend(numbers(graph, id)),
            Sign::Open => match sources(graph, place)? {
                Some(places) => open.extend(places),
                None => return Ok(false),
            },
        }
    }
    Ok(true)
}

/// The inputs of an op that computes with all of them; an axis is none.
fn numbers(graph: &Graph, id: NodeId) -> Vec<Place> {
    let mut read: Vec<Place> = read_by(graph, id).collect();
    if graph.op(id) == b"ConcatV2" {
        read.pop();
    }
    read
}
