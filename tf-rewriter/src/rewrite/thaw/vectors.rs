//! Vectors that are applied to what an op with a weight makes: biases, scales, offsets.

use crate::error::Error;
use crate::find::norm::uses_batch_statistics;
use crate::find::sites::{Traced, Weight, applied_behind, changes_shape, is_parameter, trace};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;

/// A vector, and the node that applies it.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) by: NodeId,
    pub(super) what: Vector,
}

#[derive(Debug)]
pub(super) enum Vector {
    Constant(Box<Weight>),
    /// Made by this node from constants alone.
    Computed(NodeId),
}

/// The vectors that are applied behind `op`, one after the other.
pub(super) fn behind(graph: &Graph, op: NodeId) -> Result<Vec<Applied>, Error> {
    applied_behind(graph, op, |reader, input| {
        let mut found = Vec::new();
        for vector in applied(graph, reader, input)? {
            found.extend(vectors(graph, reader, *vector)?.into_iter().map(|what| Applied { by: reader, what }));
        }
        Ok(found)
    })
}

/// The inputs of `reader` that can be vectors which it applies to what it reads at `input`.
fn applied(graph: &Graph, reader: NodeId, input: usize) -> Result<&'static [usize], Error> {
    Ok(match (graph.op(reader), input) {
        (b"BiasAdd" | b"Add" | b"AddV2" | b"Mul", 0) => &[1],
        (b"Add" | b"AddV2" | b"Mul", 1) => &[0],
        // Scale and offset; in training mode they would be applied to what the batch itself is normalized to.
        (b"FusedBatchNormV3", 0) if !uses_batch_statistics(graph, reader)? => &[1, 2],
        _ => &[],
    })
}

/// What the vector at an input is, or is made of.
fn vectors(graph: &Graph, reader: NodeId, input: usize) -> Result<Vec<Vector>, Error> {
    if let Some(vector) = constant(graph, reader, input)? {
        return Ok(vec![Vector::Constant(vector)]);
    }
    let Some(source) = graph.source(reader, input) else { return Ok(Vec::new()) };
    let is_computed = match trace(graph, reader, input)? {
        Traced::Computed => true,
        Traced::Weight(vector) => vector.cut().is_some(),
        _ => false,
    };
    if !is_computed || !is_parameter(graph, source, false)? {
        return Ok(Vec::new());
    }
    let part = if graph.op(reader) == b"Mul" { scale(graph, source)? } else { offset(graph, source)? };
    Ok(match part {
        Part::Trained(vector) => vec![Vector::Constant(vector)],
        Part::Statistic => Vec::new(),
        Part::Other => vec![Vector::Computed(source)],
    })
}

/// A constant with at most one dimension that is not 1.
fn constant(graph: &Graph, reader: NodeId, input: usize) -> Result<Option<Box<Weight>>, Error> {
    let Traced::Weight(vector) = trace(graph, reader, input)? else { return Ok(None) };
    let long = vector.shape.iter().filter(|dim| **dim != 1).count();
    let is_vector = long == 1 || (long == 0 && vector.shape.len() == 1);
    Ok((is_vector && vector.elements() > 0 && vector.cut().is_none()).then_some(vector))
}

/// What an expression of constants has of a batch normalization.
enum Part {
    Trained(Box<Weight>),
    /// Statistics alone.
    Statistic,
    Other,
}

/// γ/√(σ² + ε), as `Mul(Rsqrt(…), γ)`; without γ, there is nothing to train.
fn scale(graph: &Graph, at: NodeId) -> Result<Part, Error> {
    if is_op(graph, at, b"Rsqrt") {
        return Ok(Part::Statistic);
    }
    if graph.op(at) == b"Mul" {
        for (own, other) in [(0, 1), (1, 0)] {
            if graph.source(at, other).is_some_and(|source| is_op(graph, source, b"Rsqrt"))
                && let Some(gamma) = constant(graph, at, own)?
            {
                return Ok(Part::Trained(gamma));
            }
        }
    }
    Ok(Part::Other)
}

/// β − μ·γ/√(σ² + ε), as `Sub(β, Mul(…))`, or −μ·γ/√(σ² + ε) alone.
fn offset(graph: &Graph, at: NodeId) -> Result<Part, Error> {
    let is_product = |source: Option<NodeId>| source.is_some_and(|source| is_op(graph, source, b"Mul"));
    Ok(match graph.op(at) {
        b"Sub" if is_product(graph.source(at, 1)) => constant(graph, at, 0)?.map_or(Part::Other, Part::Trained),
        b"Neg" if is_product(graph.source(at, 0)) => Part::Statistic,
        _ => Part::Other,
    })
}

/// Whether a node is an op of that type, behind changes of shape.
fn is_op(graph: &Graph, mut at: NodeId, op: &[u8]) -> bool {
    /// Changes of shape that are looked through. Frameworks write a handful.
    const MOST: usize = 64;
    for _ in 0..MOST {
        if graph.op(at) == op {
            return true;
        }
        match graph.source(at, 0).filter(|_| changes_shape(graph.op(at))) {
            Some(next) => at = next,
            None => return false,
        }
    }
    false
}
