//! A weight: where its values are, and how the op sees their shape.

use std::collections::BTreeSet;

use protobuf::{Enum, Message};
use quant_math::DType;
use quant_math::weights::ChannelLayout;

use super::flow::{self, Place};
use super::trace::MAX_PATH;
use crate::Error;
use crate::graph::Graph;
use crate::index::{NodeId, Span};
use crate::ops::ChannelRule;
use crate::pb::{DataType, TensorShapeProto};
use crate::tensor::TensorView;

/// Axes `first..first + count` of a tensor, taken together as its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axes {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl Axes {
    /// One channel, which is the whole tensor.
    const NONE: Self = Self { first: 0, count: 0 };

    /// `[outer, channels, inner]` of a row-major tensor.
    pub(crate) fn layout(self, shape: &[u64]) -> ChannelLayout {
        let product = |dims: &[u64]| usize::try_from(dims.iter().product::<u64>()).unwrap_or(usize::MAX);
        let (before, rest) = shape.split_at_checked(self.first).unwrap_or((shape, &[]));
        let (own, after) = rest.split_at_checked(self.count).unwrap_or((rest, &[]));
        ChannelLayout { outer: product(before), channels: product(own), inner: product(after) }
    }

    /// The fewest axes of `shape` that cut it into the same `[outer, channels, inner]`; none where all of it is one channel.
    fn matching(layout: ChannelLayout, shape: &[u64]) -> Option<Self> {
        if layout.channels == 1 {
            return Some(Self::NONE);
        }
        (1..=shape.len())
            .flat_map(|count| (0..=shape.len() - count).map(move |first| Self { first, count }))
            .find(|axes| axes.layout(shape) == layout)
    }

    /// The axes of `before` that the permutation `perm` makes these of. Dimensions of 1 may stand anywhere: they order nothing.
    fn before(self, perm: &[usize], before: &[u64]) -> Option<Self> {
        let is_one = |axis: &usize| before.get(*axis) == Some(&1);
        let own = perm.get(self.first..self.first + self.count)?;
        let own: Vec<usize> = own.iter().copied().filter(|axis| !is_one(axis)).collect();
        let (Some(first), Some(last)) = (own.first(), own.last()) else { return Some(Self::NONE) };
        let together = (*first..=*last).filter(|axis| !is_one(axis)).eq(own.iter().copied());
        together.then(|| Self { first: *first, count: last - first + 1 })
    }
}

/// A weight, as found behind an op's input.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    /// The nodes between: those that pass the value on and those that change its type or shape. Loops and functions make it a net.
    pub(crate) via: BTreeSet<NodeId>,
    /// Those of them that change type or shape, from the op to the constant.
    pub(crate) changes: Vec<NodeId>,
    /// The constant, or the variable.
    pub(crate) source: NodeId,
    /// The constant's TensorProto; empty for a variable.
    pub(crate) tensor: Span,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<u64>,
    /// The shape that the op sees, where the reshapes and permutations on the way are constants.
    pub(crate) edge_shape: Option<Vec<u64>>,
    /// Shapes on the way, from the constant to the op.
    pub(super) steps: Vec<Step>,
    /// Elements that the file stores, if it stores fewer than the shape says.
    pub(crate) splat: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Reshape(Vec<u64>),
    Transpose(Vec<usize>, Vec<u64>),
}

fn float_type(number: u64) -> Option<DType> {
    match i32::try_from(number).ok().and_then(DataType::from_i32)? {
        DataType::DT_FLOAT => Some(DType::F32),
        DataType::DT_DOUBLE => Some(DType::F64),
        DataType::DT_HALF => Some(DType::F16),
        DataType::DT_BFLOAT16 => Some(DType::BF16),
        _ => None,
    }
}

/// The dimensions of a TensorShapeProto that knows all of them, and whose number of elements fits.
fn known_shape(shape: &[u8]) -> Option<Vec<u64>> {
    let shape = TensorShapeProto::parse_from_bytes(shape).ok().filter(|shape| !shape.unknown_rank)?;
    let dims: Vec<u64> = shape.dim.iter().map(|dim| u64::try_from(dim.size).ok()).collect::<Option<_>>()?;
    dims.iter().try_fold(8u64, |bytes, dim| bytes.checked_mul(*dim))?;
    Some(dims)
}

/// The shape changes along the path, from the constant on, and the shape at its end if all of them are known.
pub(super) fn steps(graph: &Graph, path: &[NodeId], shape: &[u64]) -> Result<(Vec<Step>, Option<Vec<u64>>), Error> {
    let mut steps = Vec::new();
    let mut shape = shape.to_vec();
    for id in path.iter().rev() {
        match graph.op(*id) {
            b"Reshape" => {
                let Some(wanted) = graph.constant_ints(*id, 1)? else { return Ok((steps, None)) };
                let Some(next) = reshaped(&shape, &wanted) else { return Ok((steps, None)) };
                steps.push(Step::Reshape(std::mem::replace(&mut shape, next)));
            }
            b"ExpandDims" => {
                let axis = graph.constant_ints(*id, 1)?;
                let Some(next) = axis.and_then(|axis| expanded(&shape, &axis)) else { return Ok((steps, None)) };
                steps.push(Step::Reshape(std::mem::replace(&mut shape, next)));
            }
            b"Squeeze" => {
                let node = graph.index().node(*id);
                let axes =
                    node.map(|node| node.attr_ints(graph.bytes(), "squeeze_dims")).transpose()?.unwrap_or_default();
                let Some(next) = squeezed(&shape, &axes) else { return Ok((steps, None)) };
                steps.push(Step::Reshape(std::mem::replace(&mut shape, next)));
            }
            b"Transpose" => {
                let perm = graph.constant_ints(*id, 1)?;
                let perm: Option<Vec<usize>> =
                    perm.and_then(|p| p.iter().map(|axis| usize::try_from(*axis).ok()).collect());
                let Some(perm) = perm.filter(|p| is_permutation(p, shape.len())) else { return Ok((steps, None)) };
                let next = perm.iter().filter_map(|axis| shape.get(*axis).copied()).collect();
                steps.push(Step::Transpose(perm, std::mem::replace(&mut shape, next)));
            }
            _ => {}
        }
    }
    Ok((steps, Some(shape)))
}

/// `tf.reshape`: one −1 stands for what is left.
fn reshaped(shape: &[u64], wanted: &[i64]) -> Option<Vec<u64>> {
    let elements = shape.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim))?;
    let known = wanted.iter().filter(|d| **d >= 0).try_fold(1u64, |n, d| n.checked_mul(d.unsigned_abs()))?;
    let rest = elements.checked_div(known).unwrap_or(0);
    let next: Vec<u64> = wanted.iter().map(|d| if *d < 0 { rest } else { d.unsigned_abs() }).collect();
    let product = next.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim))?;
    (product == elements && wanted.iter().filter(|d| **d < 0).count() <= 1).then_some(next)
}

/// `tf.expand_dims`: a dimension of 1 more, before one that is there or, −1, after the last.
fn expanded(shape: &[u64], axis: &[i64]) -> Option<Vec<u64>> {
    let &[axis] = axis else { return None };
    let places = i64::try_from(shape.len()).ok()? + 1;
    let at = usize::try_from(if axis < 0 { axis.checked_add(places)? } else { axis }).ok()?;
    let (before, after) = shape.split_at_checked(at)?;
    Some([before, &[1], after].concat())
}

/// `tf.squeeze`: without these dimensions of 1, or without all of them where none is named.
fn squeezed(shape: &[u64], axes: &[i64]) -> Option<Vec<u64>> {
    let rank = i64::try_from(shape.len()).ok()?;
    let named = |at: usize| axes.iter().any(|axis| axis.rem_euclid(rank.max(1)) == i64::try_from(at).unwrap_or(rank));
    let goes = |at: usize, dim: u64| if axes.is_empty() { dim == 1 } else { named(at) };
    let ones = shape.iter().enumerate().all(|(at, dim)| !goes(at, *dim) || *dim == 1);
    ones.then(|| shape.iter().enumerate().filter(|(at, dim)| !goes(*at, **dim)).map(|(_, dim)| *dim).collect())
}

fn is_permutation(perm: &[usize], rank: usize) -> bool {
    let mut seen = vec![false; rank];
    perm.len() == rank && perm.iter().all(|axis| seen.get_mut(*axis).is_some_and(|seen| !std::mem::replace(seen, true)))
}

impl Weight {
    /// The channel axes as the op sees its weight.
    pub(crate) fn edge_axes(&self, rule: ChannelRule, transposed: bool) -> Option<Axes> {
        let rank = self.edge_shape.as_ref()?.len();
        let axes = match rule {
            ChannelRule::FromEnd(n) => {
                let n = if transposed { 3usize.checked_sub(n)? } else { n };
                Axes { first: rank.checked_sub(n)?, count: 1 }
            }
            ChannelRule::LastTwo => Axes { first: rank.checked_sub(2)?, count: 2 },
            ChannelRule::First => Axes { first: 0, count: 1 },
            ChannelRule::Equation => return None,
        };
        (axes.first + axes.count <= rank).then_some(axes)
    }

    /// The same axes in the constant, followed back through the path.
    pub(crate) fn source_axes(&self, edge: Axes) -> Option<Axes> {
        let mut axes = edge;
        let mut after = self.edge_shape.clone()?;
        for step in self.steps.iter().rev() {
            after = match step {
                Step::Reshape(before) => {
                    axes = Axes::matching(axes.layout(&after), before)?;
                    before.clone()
                }
                Step::Transpose(perm, before) => {
                    axes = axes.before(perm, before)?;
                    before.clone()
                }
            };
        }
        Some(axes)
    }

    /// Whether its value enters a `while` frame on the way.
    pub(crate) fn enters_loop(&self, graph: &Graph) -> bool {
        self.via.iter().any(|id| matches!(graph.op(*id), b"Enter" | b"RefEnter"))
    }

    /// Whether something else may be fed in its place when the graph is run.
    pub(crate) fn can_be_fed(&self, graph: &Graph) -> bool {
        self.via.iter().any(|id| graph.op(*id) == b"PlaceholderWithDefault")
    }

    /// Bytes that it holds in memory: many ops can read one constant of many dimensions, each by a long way.
    pub(crate) fn held(&self) -> u64 {
        let dims = |step: &Step| match step {
            Step::Reshape(before) => before.len(),
            Step::Transpose(perm, before) => perm.len() + before.len(),
        };
        let shapes = self.shape.len() + self.edge_shape.as_ref().map_or(0, Vec::len);
        let dims = shapes + self.steps.iter().map(dims).sum::<usize>();
        // A tree's nodes are half full at the least.
        let ids = 2 * self.via.len() + self.changes.len();
        let own = size_of::<Self>() + self.steps.len() * size_of::<Step>();
        (own + ids * size_of::<NodeId>() + dims * size_of::<u64>()) as u64
    }

    /// The number of elements.
    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Whether one stored value (or none, which means 0) stands for all elements.
    pub(crate) fn is_one_value(&self) -> bool {
        self.splat.is_some_and(|stored| stored <= 1)
    }

    /// Bytes of the payload as the file stores it.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.splat.map_or(self.elements(), |n| n as u64) * self.dtype.size() as u64
    }
}

impl Graph {
    /// The view of a Const node's tensor; `None` where the node has none.
    pub(crate) fn constant(&self, id: NodeId) -> Result<Option<TensorView<'_>>, Error> {
        let Some(span) = self.constant_span(id)? else { return Ok(None) };
        TensorView::parse(span.of(self.bytes()), span.start(), self.name(id)).map(Some)
    }

    /// Type and shape of a variable, where its node says both and the type is one that weights have.
    pub(crate) fn variable(&self, id: NodeId) -> Result<Option<(DType, Vec<u64>)>, Error> {
        let bytes = self.bytes();
        let Some(node) = self.index().node(id) else { return Ok(None) };
        let dtype = node.attr_type(bytes, "dtype")?.and_then(float_type);
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
        let mut place = flow::read(self, op, input);
        for _ in 0..MAX_PATH {
            let Some(at) = place else { return Ok(None) };
            if let Place::Output(id, port) = at {
                if let Some(view) = self.constant(id)?.filter(|_| port == 0) {
                    return view.int_values().map(Some);
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
