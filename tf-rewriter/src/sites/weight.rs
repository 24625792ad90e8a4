//! From an op's weight input back to the constant or variable that holds it.

use protobuf::{Enum, Message};
use quant_math::DType;
use quant_math::weights::ChannelLayout;

use crate::Error;
use crate::graph::Graph;
use crate::index::{NodeId, Span, Target};
use crate::mark;
use crate::ops::{ChannelRule, is_variable};
use crate::pb::{DataType, TensorShapeProto};
use crate::tensor::TensorView;

/// The most nodes between a constant and its op. Frameworks write a handful; without a limit, a long chain with many readers would
/// take time and memory that grow with the square of the file.
const MAX_PATH: usize = 64;

/// Axes `first..first + count` of a tensor, taken together as its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axes {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl Axes {
    /// `[outer, channels, inner]` of a row-major tensor.
    pub(crate) fn layout(self, shape: &[u64]) -> ChannelLayout {
        let product = |dims: &[u64]| usize::try_from(dims.iter().product::<u64>()).unwrap_or(usize::MAX);
        let (before, rest) = shape.split_at_checked(self.first).unwrap_or((shape, &[]));
        let (own, after) = rest.split_at_checked(self.count).unwrap_or((rest, &[]));
        ChannelLayout { outer: product(before), channels: product(own), inner: product(after) }
    }

    /// The axes of `shape` that cut it into the same `[outer, channels, inner]`.
    fn matching(layout: ChannelLayout, shape: &[u64]) -> Option<Self> {
        (0..=shape.len())
            .flat_map(|first| (1..=shape.len() - first).map(move |count| Self { first, count }))
            .find(|axes| axes.layout(shape) == layout)
    }
}

/// A weight, as found behind an op's input.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    /// The nodes between, from the op to the constant.
    pub(crate) path: Vec<NodeId>,
    /// The constant, or the variable.
    pub(crate) source: NodeId,
    /// The constant's TensorProto; empty for a variable.
    pub(crate) tensor: Span,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<u64>,
    /// The shape that the op sees, where the path's reshapes and permutations are constants.
    pub(crate) edge_shape: Option<Vec<u64>>,
    /// Shapes along the path, from the constant to the op.
    steps: Vec<Step>,
    /// Whether the path enters a loop.
    pub(crate) enters_loop: bool,
    /// Elements that the file stores, if it stores fewer than the shape says.
    pub(crate) splat: Option<usize>,
}

#[derive(Debug, Clone)]
enum Step {
    Reshape(Vec<u64>),
    Transpose(Vec<usize>, Vec<u64>),
}

/// What is behind an input.
#[derive(Debug, Clone)]
pub(crate) enum Traced {
    /// A constant of a float type.
    Weight(Box<Weight>),
    /// A variable: its values are not in the graph. Type and shape are, where the graph says them.
    Variable(NodeId, Option<Box<Weight>>),
    /// Something that is quantized already.
    Quantized(NodeId),
    /// A function's argument.
    Argument,
    /// A computed tensor.
    Computed,
    /// A constant without a float type.
    OtherConstant,
}

/// Follow `input` of `op` back through Identity, ReadVariableOp, Cast, Reshape, ExpandDims, Transpose and Enter.
pub(crate) fn trace(graph: &Graph, op: NodeId, input: usize) -> Result<Traced, Error> {
    let bytes = graph.bytes();
    let Some(scope) = graph.index().scope(op.scope) else { return Ok(Traced::Computed) };
    let mut path = Vec::new();
    let mut at = op;
    let mut position = input;
    loop {
        let Some(node) = graph.index().node(at) else { return Ok(Traced::Computed) };
        let Some(edge) = scope.inputs(node).get(position) else { return Ok(Traced::Computed) };
        let next = match edge.target {
            Target::Data { node, port: 0 } => NodeId { scope: op.scope, node },
            Target::Argument => return Ok(Traced::Argument),
            Target::Data { .. } | Target::Control { .. } => return Ok(Traced::Computed),
        };
        let Some(source) = graph.index().node(next) else { return Ok(Traced::Computed) };
        let kind = source.op.of(bytes);
        if is_quantizer(kind) || source.attr(bytes, mark::ATTR)?.is_some() {
            return Ok(Traced::Quantized(next));
        }
        match kind {
            b"Cast" if !is_float(source.attr_type(bytes, "DstT")?) => return Ok(Traced::Computed),
            b"Identity" | b"ReadVariableOp" | b"Cast" | b"Reshape" | b"ExpandDims" | b"Transpose" | b"Enter" => {
                if path.len() == MAX_PATH {
                    return Ok(Traced::Computed);
                }
                path.push(next);
                (at, position) = (next, 0);
            }
            b"Const" => return constant(graph, path, next),
            _ if is_variable(kind) => return variable(graph, path, next),
            _ => return Ok(Traced::Computed),
        }
    }
}

/// Whether a DataType number is one of float32, float64, float16 and bfloat16: a Cast to anything else makes another tensor.
fn is_float(dtype: Option<u64>) -> bool {
    let known = [DataType::DT_FLOAT, DataType::DT_DOUBLE, DataType::DT_HALF, DataType::DT_BFLOAT16];
    dtype.is_some_and(|number| known.iter().any(|known| u64::try_from(known.value()) == Ok(number)))
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

/// Ops whose output is on a grid.
pub(crate) fn is_quantizer(op: &[u8]) -> bool {
    op.starts_with(b"FakeQuantWithMinMax") || op.starts_with(b"QuantizeAndDequantize") || op == b"Dequantize"
}

fn constant(graph: &Graph, path: Vec<NodeId>, source: NodeId) -> Result<Traced, Error> {
    let Some(view) = graph.constant(source)? else { return Ok(Traced::OtherConstant) };
    let Some(dtype) = view.float_dtype() else { return Ok(Traced::OtherConstant) };
    let data = view.float_data()?;
    let splat = data.is_splat().then(|| data.stored().len());
    let shape = view.shape().to_vec();
    let (steps, edge_shape) = steps(graph, &path, &shape)?;
    let enters_loop = path.iter().any(|id| graph.op(*id) == b"Enter");
    let tensor = graph.constant_span(source)?.unwrap_or_default();
    Ok(Traced::Weight(Box::new(Weight { path, source, tensor, dtype, shape, edge_shape, steps, enters_loop, splat })))
}

fn variable(graph: &Graph, path: Vec<NodeId>, source: NodeId) -> Result<Traced, Error> {
    let Some((dtype, shape)) = graph.variable(source)? else { return Ok(Traced::Variable(source, None)) };
    let (steps, edge_shape) = steps(graph, &path, &shape)?;
    let enters_loop = path.iter().any(|id| graph.op(*id) == b"Enter");
    let tensor = Span::default();
    let weight = Weight { path, source, tensor, dtype, shape, edge_shape, steps, enters_loop, splat: None };
    Ok(Traced::Variable(source, Some(Box::new(weight))))
}

/// The shape changes along the path, from the constant on, and the shape at its end if all of them are known.
fn steps(graph: &Graph, path: &[NodeId], shape: &[u64]) -> Result<(Vec<Step>, Option<Vec<u64>>), Error> {
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
            ChannelRule::Unknown => return None,
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
                    let own = perm.get(axes.first..axes.first + axes.count)?;
                    let first = *own.first()?;
                    let together = own.iter().enumerate().all(|(i, axis)| *axis == first + i);
                    axes = together.then_some(Axes { first, count: axes.count })?;
                    before.clone()
                }
            };
        }
        Some(axes)
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

    /// The integers that `input` of `op` holds, if a constant stands there.
    pub(crate) fn constant_ints(&self, op: NodeId, input: usize) -> Result<Option<Vec<i64>>, Error> {
        let Some(Target::Data { node, port: 0 }) = self.input(op, input).map(|i| i.target) else { return Ok(None) };
        match self.constant(NodeId { scope: op.scope, node })? {
            Some(view) => view.int_values().map(Some),
            None => Ok(None),
        }
    }
}
