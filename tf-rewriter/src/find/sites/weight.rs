//! A weight: where its values are, and how the op sees their shape.

use std::collections::BTreeSet;

use quant_math::DType;
use quant_math::config::PerChannel;
use quant_math::weights::ChannelLayout;

use super::pieces::{self, cuts, value_input};
use crate::error::Error;
use crate::find::ops::ChannelRule;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Span};

/// Short-form constants are spread out for per-channel work only up to this many elements.
pub(crate) const MAX_SPREAD: u64 = 1 << 20;

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
    /// Those of them that change type or shape, from the op to the constant, and the output that is read of each.
    pub(crate) changes: Vec<(NodeId, u32)>,
    /// The constant, or the variable.
    pub(crate) source: NodeId,
    /// The constant's TensorProto; empty for a variable.
    pub(crate) tensor: Span,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<u64>,
    /// Its shape on the way.
    pub(super) way: Way,
    /// Elements that the file stores, if it stores fewer than the shape says.
    pub(crate) splat: Option<usize>,
}

/// How the shape of a weight changes on the way to its op.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// From the constant on, as far as shapes are known, each with the shape before it.
    steps: Vec<Step>,
    /// The first op that cuts a piece off the weight, which is whole before it, and its shape there.
    cut: Option<(NodeId, Option<Vec<u64>>)>,
    /// The shape that the op sees, where all changes on the way are constants.
    end: Option<Vec<u64>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Reshape(Vec<u64>),
    Transpose(Vec<usize>, Vec<u64>),
    /// A part along each axis.
    Cut(Vec<u64>),
}

/// The channel axes of a weight at the places where they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChannelAxes {
    /// As its op sees it.
    pub(crate) edge: Axes,
    /// Where it is whole last.
    pub(crate) whole: Axes,
    /// In the constant or variable.
    pub(crate) source: Axes,
}

impl Way {
    /// The way from a tensor of `shape` through `changes`, which are those from the op on.
    pub(super) fn of(graph: &Graph, changes: &[(NodeId, u32)], shape: &[u64]) -> Result<Self, Error> {
        let mut way = Self { end: Some(shape.to_vec()), ..Self::default() };
        for (id, port) in changes.iter().rev() {
            let before = way.end.take();
            let Some(shape) = before else {
                // Nothing more is known than that it is cut.
                if cuts(graph.op(*id)) {
                    way.cut.get_or_insert((*id, None));
                }
                continue;
            };
            way.end = way.step(graph, (*id, *port), shape)?;
        }
        Ok(way)
    }

    /// Note how a node changes a tensor of `shape`; the shape after it.
    fn step(&mut self, graph: &Graph, (id, port): (NodeId, u32), shape: Vec<u64>) -> Result<Option<Vec<u64>>, Error> {
        let ints = |input| graph.constant_ints(id, input);
        let op = graph.op(id);
        let next = match op {
            b"Reshape" => ints(1)?.and_then(|wanted| reshaped(&shape, &wanted)),
            b"ExpandDims" => ints(1)?.and_then(|axis| expanded(&shape, &axis)),
            b"Squeeze" => {
                let node = graph.index().node(id);
                let axes = node.map(|node| node.attr_ints(graph.bytes(), "squeeze_dims")).transpose()?;
                squeezed(&shape, &axes.unwrap_or_default())
            }
            b"Transpose" => {
                let perm: Option<Vec<usize>> =
                    ints(1)?.and_then(|p| p.iter().map(|axis| usize::try_from(*axis).ok()).collect());
                let Some(perm) = perm.filter(|p| is_permutation(p, shape.len())) else { return Ok(None) };
                let next = perm.iter().filter_map(|axis| shape.get(*axis).copied()).collect();
                self.steps.push(Step::Transpose(perm, shape));
                return Ok(Some(next));
            }
            _ if cuts(op) => return self.piece(graph, (id, port), shape),
            _ => return Ok(Some(shape)),
        };
        Ok(next.inspect(|_| self.steps.push(Step::Reshape(shape))))
    }

    /// Note what a cutting node leaves of a tensor of `shape`; the shape after it.
    fn piece(&mut self, graph: &Graph, (id, port): (NodeId, u32), shape: Vec<u64>) -> Result<Option<Vec<u64>>, Error> {
        let piece = pieces::piece(graph, id, port, &shape)?;
        if !piece.as_ref().is_some_and(|piece| piece.is_all) {
            self.cut.get_or_insert_with(|| (id, Some(shape.clone())));
        }
        Ok(piece.map(|piece| {
            if !piece.is_all {
                self.steps.push(Step::Cut(shape));
            }
            if piece.shape != piece.cut {
                self.steps.push(Step::Reshape(piece.cut));
            }
            piece.shape
        }))
    }

    /// The same axes in every place, followed back from the op's edge.
    fn axes(&self, edge: Axes) -> Option<ChannelAxes> {
        let mut found = ChannelAxes { edge, whole: edge, source: edge };
        let mut after = self.end.as_ref()?;
        for step in self.steps.iter().rev() {
            after = match step {
                Step::Reshape(before) => {
                    found.source = Axes::matching(found.source.layout(after), before)?;
                    before
                }
                Step::Transpose(perm, before) => {
                    found.source = found.source.before(perm, before)?;
                    before
                }
                // The whole may have more channels than a piece of it.
                Step::Cut(before) => before,
            };
            // The last cut that is met is the first on the way.
            if matches!(step, Step::Cut(_)) {
                found.whole = found.source;
            }
        }
        Some(found)
    }

    /// Bytes that it holds in memory.
    fn held(&self) -> usize {
        let dims = |step: &Step| match step {
            Step::Reshape(before) | Step::Cut(before) => before.len(),
            Step::Transpose(perm, before) => perm.len() + before.len(),
        };
        let whole = self.cut.as_ref().and_then(|(_, shape)| shape.as_ref()).map_or(0, Vec::len);
        let dims = whole + self.end.as_ref().map_or(0, Vec::len) + self.steps.iter().map(dims).sum::<usize>();
        self.steps.len() * size_of::<Step>() + dims * size_of::<u64>()
    }
}

/// `tf.reshape`: one −1 stands for what is left.
pub(crate) fn reshaped(shape: &[u64], wanted: &[i64]) -> Option<Vec<u64>> {
    let elements = shape.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim))?;
    let known = wanted.iter().filter(|d| **d >= 0).try_fold(1u64, |n, d| n.checked_mul(d.unsigned_abs()))?;
    let rest = elements.checked_div(known).unwrap_or(0);
    let next: Vec<u64> = wanted.iter().map(|d| if *d < 0 { rest } else { d.unsigned_abs() }).collect();
    let product = next.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim))?;
    (product == elements && wanted.iter().filter(|d| **d < 0).count() <= 1).then_some(next)
}

/// `tf.expand_dims`: a dimension of 1 more, before one that is there or, −1, after the last.
pub(crate) fn expanded(shape: &[u64], axis: &[i64]) -> Option<Vec<u64>> {
    let &[axis] = axis else { return None };
    let places = i64::try_from(shape.len()).ok()? + 1;
    let at = usize::try_from(if axis < 0 { axis.checked_add(places)? } else { axis }).ok()?;
    let (before, after) = shape.split_at_checked(at)?;
    Some([before, &[1], after].concat())
}

/// `tf.squeeze`: without these dimensions of 1, or without all of them where none is named.
pub(crate) fn squeezed(shape: &[u64], axes: &[i64]) -> Option<Vec<u64>> {
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
    /// The shape that the op sees, where the reshapes, permutations and cuts on the way are constants.
    pub(crate) fn edge_shape(&self) -> Option<&[u64]> {
        self.way.end.as_deref()
    }

    /// Whether its op sees its elements in their order, and all of them.
    pub(crate) fn keeps_order(&self) -> bool {
        self.way.cut.is_none() && !self.way.steps.iter().any(|step| matches!(step, Step::Transpose(..)))
    }

    /// The op that cuts a piece off it, where its op reads a piece: it is quantized before, as a whole.
    pub(crate) fn cut(&self) -> Option<NodeId> {
        self.way.cut.as_ref().map(|(id, _)| *id)
    }

    /// The edge at which it is whole last, on the way to `input` of `op`.
    pub(crate) fn whole_edge(&self, graph: &Graph, op: NodeId, input: usize) -> (NodeId, usize) {
        self.cut().map_or((op, input), |cut| (cut, value_input(graph.op(cut))))
    }

    /// Its shape at that edge, where it is known.
    pub(crate) fn whole_shape(&self) -> Option<&[u64]> {
        self.way.cut.as_ref().map_or(self.edge_shape(), |(_, shape)| shape.as_deref())
    }

    /// The channel axes, by the rule of the op that reads it.
    pub(crate) fn channel_axes(&self, rule: ChannelRule, transposed: bool) -> Option<ChannelAxes> {
        let rank = self.edge_shape()?.len();
        let edge = match rule {
            ChannelRule::FromEnd(n) => {
                let n = if transposed { 3usize.checked_sub(n)? } else { n };
                Axes { first: rank.checked_sub(n)?, count: 1 }
            }
            ChannelRule::LastTwo => Axes { first: rank.checked_sub(2)?, count: 2 },
            ChannelRule::First => Axes { first: 0, count: 1 },
            ChannelRule::Equation => return None,
        };
        self.axes_of(edge)
    }

    /// The axes that are `edge` where the op reads it.
    pub(crate) fn axes_of(&self, edge: Axes) -> Option<ChannelAxes> {
        let rank = self.edge_shape()?.len();
        if edge.first + edge.count > rank {
            return None;
        }
        self.way.axes(edge)
    }

    /// How many channels its op sees, and how many it has.
    pub(crate) fn channels(&self, axes: ChannelAxes) -> (usize, usize) {
        let seen = self.edge_shape().map_or(1, |shape| axes.edge.layout(shape).channels);
        (seen, axes.source.layout(&self.shape).channels)
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
        // A tree's nodes are half full at the least.
        let ids = 2 * self.via.len() + 2 * self.changes.len();
        let own = size_of::<Self>() + self.way.held();
        (own + ids * size_of::<NodeId>() + self.shape.len() * size_of::<u64>()) as u64
    }

    /// Whether quantizing a short-form constant would make far more of it than the file holds: its elements where the stored ones differ,
    /// or, where `ranges` of channels are written, one for each.
    pub(crate) fn is_too_large_to_spread(&self, ranges: bool) -> bool {
        let spreads = self.splat > Some(1) || self.splat.is_some() && ranges;
        spreads && self.elements() > MAX_SPREAD
    }

    /// The number of elements.
    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Whether one stored value (or none, which means 0) stands for all elements.
    pub(crate) fn is_one_value(&self) -> bool {
        self.splat.is_some_and(|stored| stored <= 1)
    }

    /// When it has one scale per channel, by what was said of it and whether a training learns scales. A constant in short form with one value
    /// has the same scale in every channel, and needs it once.
    pub(crate) fn per_channel(&self, said: PerChannel, learns: bool) -> PerChannel {
        match said {
            PerChannel::Auto if self.is_one_value() => PerChannel::Never,
            // Of learnt scales each would be another, and the constant no longer one value.
            PerChannel::Always if self.is_one_value() && learns => PerChannel::Never,
            said => said,
        }
    }

    /// Bytes of the payload as the file stores it.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.splat.map_or(self.elements(), |n| n as u64) * self.dtype.size() as u64
    }
}
