//! Sites: the tensors of each op that could be quantized, before any config is looked at.

mod activation;
mod bias;
mod channels;
mod constant;
mod flow;
mod gradient;
mod parameter;
mod pieces;
mod roles;
mod sign;
mod trace;
mod way;
mod weight;

pub(crate) use activation::{activation_inputs, element_type, leaves_graph, output_edges, tensor_name};
pub(crate) use bias::{Bias, applied_behind, biases, changes_shape};
pub(crate) use channels::{channel_axes, channel_label};
pub(crate) use flow::{read, read_by, readers, sources};
pub(crate) use gradient::{Backward, BackwardOps};
pub(crate) use parameter::{is_parameter, reads_parameter};
pub(crate) use roles::{Role, Roles, backward_readers};
pub(crate) use sign::is_never_negative;
pub(crate) use trace::{Traced, trace};
pub(crate) use way::{between, can_be_whole, passed_on};
pub(crate) use weight::{Axes, ChannelAxes, MAX_SPREAD, Weight, expanded, reshaped, squeezed};

use crate::error::Error;
use crate::find::ops::OpInfo;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;

/// The input of `op` that is its weight, and what stands behind it. `None`: it has no weight.
///
/// Where one input alone can be the weight (a convolution's filter), there always is one. Of a product's two sides, one is where it leads
/// to a constant or variable, or is computed from nothing else.
pub(crate) fn weight_of(graph: &Graph, op: NodeId, info: &OpInfo) -> Result<Option<(usize, Traced)>, Error> {
    let (mut quantized, mut fed, mut computed, mut other) = (None, None, None, None);
    for &input in info.weights {
        match trace(graph, op, input)? {
            // A default value, where the other side has a weight that is none.
            found @ (Traced::Weight(_) | Traced::Several(_)) if fed.is_none() && can_be_fed(graph, &found) => {
                fed = Some((input, found));
            }
            found @ (Traced::Weight(_) | Traced::Variable(..) | Traced::Several(_)) => return Ok(Some((input, found))),
            // The weight, quantized before; a product of two constants has another one on its other side.
            Traced::Quantized(id) if is_parameter(graph, id, false)? => {
                return Ok(Some((input, Traced::Quantized(id))));
            }
            // A matrix product may read one quantized activation and one quantized weight: the preferred side is reported. An
            // argument of a function is taken for a weight on that side alone.
            found @ Traced::Quantized(_) if quantized.is_none() => quantized = Some((input, found)),
            found @ Traced::Argument if info.weights.first() == Some(&input) => quantized = Some((input, found)),
            found @ Traced::Computed if computed.is_none() && reads_parameter(graph, op, input)? => {
                computed = Some((input, found));
            }
            found => other = Some((input, found)),
        }
    }
    // A quantized activation is no sign of a weight. What is made from a function's arguments can be either: it is taken for a
    // weight where an op has no other input for one.
    let found = match quantized {
        Some((input, Traced::Quantized(id))) => {
            let alone = info.always_weighs() || info.weights.len() == 1 && is_parameter(graph, id, true)?;
            alone.then_some((input, Traced::Quantized(id)))
        }
        None => fed.or(computed),
        argument => argument,
    };
    Ok(found.or_else(|| other.filter(|_| info.always_weighs())))
}

fn can_be_fed(graph: &Graph, found: &Traced) -> bool {
    found.weights().iter().any(|weight| weight.can_be_fed(graph))
}
