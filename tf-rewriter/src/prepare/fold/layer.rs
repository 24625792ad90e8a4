//! What a batch normalization does to the channels of its layer.

use quant_math::DType;
use quant_math::fold::Linear;
use quant_math::plan::Reason;

use super::constants::{Value, value};
use super::find::{Step, Way, step};
use crate::codes;
use crate::error::Error;
use crate::find::norm::{channel_axis, epsilon};
use crate::find::ops;
use crate::find::sites::{ChannelAxes, Traced, Weight, channel_axes, element_type, weight_of};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;

/// A layer that can take what stands behind it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// The input that is its weight.
    pub(super) input: usize,
    pub(super) weight: Weight,
    pub(super) axes: ChannelAxes,
    pub(super) channels: usize,
}

/// Where the channels of a tensor lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) rank: usize,
    pub(super) axis: usize,
}

/// The layer at the beginning of a way, or why it cannot take anything.
///
/// # Errors
/// Damaged nodes.
pub(super) fn layer(graph: &Graph, way: &Way) -> Result<Result<Layer, Reason>, Error> {
    let op = way.layer;
    let name = graph.name(op);
    let no = |text: String| Ok(Err(Reason::new(codes::NORM_WEIGHT, text)));
    let Some(info) = ops::info(graph.op(op)) else { return no(format!("`{name}` is of an unknown type")) };
    let (input, weight) = match weight_of(graph, op, info)? {
        Some((1, Traced::Weight(weight))) if !weight.can_be_fed(graph) && !weight.enters_loop(graph) => (1, *weight),
        Some((_, Traced::Quantized(id))) => {
            return no(format!("the weight of `{name}` is quantized already (`{}`)", graph.name(id)));
        }
        Some((_, Traced::Variable(id, _))) => {
            return no(format!("the weight of `{name}` is the variable `{}`", graph.name(id)));
        }
        _ => return no(format!("the weight of `{name}` is no constant of its own")),
    };
    if weight.via.iter().any(|id| id.scope != op.scope) || weight.cut().is_some() {
        return no(format!("`{name}` reads a piece of its weight, or reads it through a function"));
    }
    let source = graph.index().node(weight.source);
    if source.is_none_or(|node| graph.index().scope(0).is_none_or(|scope| !scope.inputs(node).is_empty())) {
        return no(format!("`{}`, the weight of `{name}`, waits for something", graph.name(weight.source)));
    }
    let type_of_op = match element_type(graph, op)? {
        Some(1) => Some(DType::F32),
        Some(19) => Some(DType::F16),
        Some(14) => Some(DType::BF16),
        _ => None,
    };
    if type_of_op != Some(weight.dtype) {
        return no(format!(
            "`{name}` computes in another type than float32, float16 and bfloat16, or than its weight has"
        ));
    }
    let Some(axes) = channel_axes(graph, op, input, &weight)? else {
        let text = format!("which axis of the weight of `{name}` is channels is lost on its way to the layer");
        return Ok(Err(Reason::new(codes::NORM_AXIS, text)));
    };
    match weight.channels(axes) {
        (seen, channels) if seen == channels && channels > 0 => Ok(Ok(Layer { input, weight, axes, channels })),
        _ => Ok(Err(Reason::new(codes::NORM_AXIS, format!("`{name}` reads some of its weight's channels alone")))),
    }
}

/// What all nodes of a way together do to the channels of the layer, and where the channels lie at its end; or why that is not known.
///
/// # Errors
/// Damaged nodes and tensors.
pub(super) fn linear(graph: &Graph, way: &Way, channels: usize) -> Result<Result<(Linear, At), Reason>, Error> {
    let axis = |id: NodeId| {
        let op = String::from_utf8_lossy(graph.op(id));
        let text = format!("at `{}` ({op}) the channels are not those of `{}`", graph.name(id), graph.name(way.layer));
        Reason::new(codes::NORM_AXIS, text)
    };
    let computed = |id: NodeId, input: usize| {
        let text = format!("what `{}` reads at input {input} is not computed from constants", graph.name(id));
        Reason::new(codes::NORM_COMPUTED, text)
    };
    let Some(mut at) = made_by(graph, way.layer)? else { return Ok(Err(axis(way.layer))) };
    let mut linear = Linear::identity(channels);
    for link in &way.links {
        let id = link.node;
        // One number for all channels can be added; as a factor it is no batch normalization's.
        let parameter = |input: usize, one_for_all: bool| -> Result<Result<Vec<f64>, Reason>, Error> {
            let found = graph.source(id, input).map(|source| value(graph, source)).transpose()?.flatten();
            let Some(found) = found else { return Ok(Err(computed(id, input))) };
            let spread = if graph.op(id) == b"BiasAdd" {
                let same = channel_axis(graph, id, at.rank)? == Some(at.axis);
                vector(&found, channels).filter(|_| same)
            } else {
                spread(&found, at, channels).filter(|_| one_for_all || found.values.len() == channels)
            };
            Ok(spread.ok_or_else(|| axis(id)))
        };
        match step(graph, id)?.map_or(Step::Passes, |(step, _)| step) {
            Step::Passes => match moved(graph, id, at, channels)? {
                Some(next) => at = next,
                None => return Ok(Err(axis(id))),
            },
            Step::Adds(input) => match parameter(input, true)? {
                Ok(terms) => linear.plus(&terms),
                Err(reason) => return Ok(Err(reason)),
            },
            Step::Subtracts(input) => match parameter(input, true)? {
                Ok(terms) => linear.plus(&terms.iter().map(|x| -x).collect::<Vec<_>>()),
                Err(reason) => return Ok(Err(reason)),
            },
            Step::Multiplies(input) => match parameter(input, false)? {
                Ok(factors) => linear.times(&factors),
                Err(reason) => return Ok(Err(reason)),
            },
            Step::Normalizes => {
                if channel_axis(graph, id, at.rank)? != Some(at.axis) {
                    return Ok(Err(axis(id)));
                }
                let mut read = Vec::new();
                for input in 1..=4 {
                    let found = graph.source(id, input).map(|source| value(graph, source)).transpose()?.flatten();
                    let Some(found) = found else { return Ok(Err(computed(id, input))) };
                    let Some(found) = vector(&found, channels) else { return Ok(Err(axis(id))) };
                    read.push(found);
                }
                if let [gamma, beta, mean, variance] = read.as_slice() {
                    linear.normalize([gamma, beta, mean, variance], epsilon(graph, id)?.into());
                }
            }
        }
    }
    if !linear.is_finite() {
        let text = "a factor or a shift is infinite or no number".to_owned();
        return Ok(Err(Reason::new(codes::NORM_NOT_FINITE, text)));
    }
    Ok(Ok((linear, at)))
}

/// Where the channels of what a layer makes lie.
fn made_by(graph: &Graph, layer: NodeId) -> Result<Option<At>, Error> {
    let rank = match graph.op(layer) {
        b"MatMul" => return Ok(Some(At { rank: 2, axis: 1 })),
        b"Conv3D" => 5,
        _ => 4,
    };
    Ok(channel_axis(graph, layer, rank)?.map(|axis| At { rank, axis }))
}

/// Where channels are after a node that passes all elements on; `None` where they are mixed, or that is not known.
fn moved(graph: &Graph, id: NodeId, at: At, channels: usize) -> Result<Option<At>, Error> {
    let ints = |input| graph.constant_ints(id, input);
    let counted = |axis: i64, rank: usize| {
        let rank = i64::try_from(rank).ok()?;
        usize::try_from(if axis < 0 { axis.checked_add(rank)? } else { axis }).ok()
    };
    Ok(match graph.op(id) {
        b"Identity" => Some(at),
        // Axes 1 to M move between batch and space.
        b"BatchToSpaceND" => {
            let blocks = ints(1)?.map_or(usize::MAX, |blocks| blocks.len());
            Some(at).filter(|at| blocks < at.axis)
        }
        b"ExpandDims" => match ints(1)?.as_deref() {
            Some(&[axis]) => counted(axis, at.rank + 1)
                .filter(|axis| *axis <= at.rank)
                .map(|new| At { rank: at.rank + 1, axis: at.axis + usize::from(new <= at.axis) }),
            _ => None,
        },
        b"Squeeze" => {
            let axes = graph.index().node(id).map(|node| node.attr_ints(graph.bytes(), "squeeze_dims")).transpose()?;
            let axes = axes.unwrap_or_default();
            let mut gone: Vec<usize> = axes.iter().filter_map(|axis| counted(*axis, at.rank)).collect();
            gone.sort_unstable();
            gone.dedup();
            let known = !axes.is_empty() && gone.len() == axes.len() && !gone.contains(&at.axis);
            let fits = known && gone.iter().all(|axis| *axis < at.rank);
            fits.then(|| At {
                rank: at.rank - gone.len(),
                axis: at.axis - gone.iter().filter(|gone| **gone < at.axis).count(),
            })
        }
        // Rows of channels stay rows of channels.
        b"Reshape" => {
            let shape = ints(1)?.unwrap_or_default();
            let same = shape.last().is_some_and(|last| usize::try_from(*last) == Ok(channels));
            (same && at.axis + 1 == at.rank).then(|| At { rank: shape.len(), axis: shape.len() - 1 })
        }
        _ => None,
    })
}

/// The elements of a vector of all channels.
fn vector(found: &Value, channels: usize) -> Option<Vec<f64>> {
    (found.values.len() == channels && found.shape.len() == 1).then(|| found.values.clone())
}

/// A parameter spread over channels: one number for all, or one for each, in the axis where they lie.
fn spread(found: &Value, at: At, channels: usize) -> Option<Vec<f64>> {
    if let [one] = found.values.as_slice() {
        return (found.shape.len() <= at.rank).then(|| vec![*one; channels]);
    }
    let missing = at.rank.checked_sub(found.shape.len())?;
    let fits = found.shape.iter().enumerate().all(|(axis, dim)| *dim == 1 || axis + missing == at.axis);
    (fits && found.values.len() == channels).then(|| found.values.clone())
}
