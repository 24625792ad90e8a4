//! Batch normalizations that stay where they are and do no more than to add the layer's bias: for a SavedModel whose graph is not changed.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::WeightData;
use quant_math::fold::{neutral_variance, stored};

use super::Candidate;
use super::find::{Link, Step, step};
use super::weights::Own;
use crate::error::Error;
use crate::find::norm::epsilon;
use crate::graphdef::graph::{Graph, Neutral};
use crate::graphdef::index::NodeId;

/// What the constants of folded normalizations become, where the graph was made of a model that can hold them; `gone` are the nodes that are
/// read for them alone.
///
/// # Errors
/// Damaged nodes.
pub(super) fn of(graph: &Graph, folded: &[(Candidate, Own)], gone: &BTreeSet<u32>) -> Result<Neutral, Error> {
    let mut neutral = Neutral::default();
    if graph.homes().is_none() {
        return Ok(neutral);
    }
    let mut known: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
    for (candidate, own) in folded {
        let found = parameters(graph, candidate)?.filter(|_| own.in_place);
        let fits = |(constant, bytes): (&NodeId, &Vec<u8>)| {
            gone.contains(&constant.node) && known.get(constant).is_none_or(|known| known == bytes)
        };
        match found.filter(|found| found.iter().all(fits)) {
            Some(found) => known.extend(found),
            None => neutral.impossible.extend(candidate.way.links.last().map(|last| graph.full_name(last.node))),
        }
    }
    neutral.constants = known.into_iter().map(|(id, bytes)| (graph.full_name(id), bytes)).collect();
    Ok(neutral)
}

/// The constants of one normalization with what they become; `None` where they are others than γ, β, μ and σ².
fn parameters(graph: &Graph, candidate: &Candidate) -> Result<Option<BTreeMap<NodeId, Vec<u8>>>, Error> {
    let mut found = Some(BTreeMap::new());
    let mut put = |id: Option<NodeId>, value: &dyn Fn(usize) -> f64| -> Result<(), Error> {
        let made = match id.map(|id| constant(graph, id)).transpose()?.flatten() {
            Some((id, dtype, elements)) => {
                let values: Vec<f64> = (0..elements).map(value).collect();
                Some((id, stored(dtype, &values)))
            }
            None => None,
        };
        match (made, &mut found) {
            // The same constant twice would have to be two things.
            (Some((id, bytes)), Some(all)) if !all.contains_key(&id) => drop(all.insert(id, bytes)),
            _ => found = None,
        }
        Ok(())
    };
    let shift = |channel: usize| candidate.linear.shift.get(channel).copied().unwrap_or(0.0);
    let links = &candidate.way.links;
    let Some((last, before)) = links.split_last() else { return Ok(None) };
    let mut product = None;
    for Link { node, .. } in before {
        match step(graph, *node)?.map(|(step, _)| step) {
            Some(Step::Passes) => {}
            Some(Step::Adds(input) | Step::Subtracts(input)) if product.is_none() => {
                put(graph.source(*node, input), &|_| 0.0)?;
            }
            Some(Step::Multiplies(input)) if product.is_none() => product = Some((*node, input)),
            _ => return Ok(None),
        }
    }
    let node = last.node;
    match (step(graph, node)?.map(|(step, _)| step), product) {
        (Some(Step::Normalizes), None) => {
            let variance = neutral_variance(epsilon(graph, node)?);
            put(graph.source(node, 1), &|_| 1.0)?;
            put(graph.source(node, 2), &shift)?;
            put(graph.source(node, 3), &|_| 0.0)?;
            put(graph.source(node, 4), &|_| variance.into())?;
        }
        (Some(Step::Adds(input)), Some((product, factor))) => {
            let Some(root) = Root::of(graph, graph.source(product, factor)) else { return Ok(None) };
            let Some(epsilon) = root.epsilon.map(|id| scalar(graph, id)).transpose()?.flatten() else {
                return Ok(None);
            };
            put(Some(root.variance), &|_| neutral_variance(epsilon).into())?;
            if let Some(gamma) = root.gamma {
                put(Some(gamma), &|_| 1.0)?;
            }
            let Some(offset) = graph.source(node, input).map(|id| plain(graph, id)) else { return Ok(None) };
            let mean = |id: Option<NodeId>| id.and_then(|id| mean(graph, id));
            match graph.op(offset) {
                // β − μ·s
                b"Sub" => {
                    put(graph.source(offset, 0), &shift)?;
                    put(mean(graph.source(offset, 1)), &|_| 0.0)?;
                }
                // −(μ·s), and (−μ)·s
                b"Neg" => put(mean(graph.source(offset, 0)), &|channel| -shift(channel))?,
                b"Mul" => put(negated(graph, offset), &|channel| -shift(channel))?,
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    }
    Ok(found)
}

/// γ/√(σ² + ε) in ops.
struct Root {
    gamma: Option<NodeId>,
    variance: NodeId,
    epsilon: Option<NodeId>,
}

impl Root {
    fn of(graph: &Graph, factor: Option<NodeId>) -> Option<Self> {
        let factor = plain(graph, factor?);
        let is_root = |id: &NodeId| graph.op(*id) == b"Rsqrt";
        let (gamma, root) = if is_root(&factor) {
            (None, factor)
        } else if graph.op(factor) == b"Mul" {
            let sides = [0, 1].map(|input| graph.source(factor, input).map(|id| plain(graph, id)));
            match sides {
                [Some(root), Some(gamma)] if is_root(&root) => (Some(gamma), root),
                [Some(gamma), Some(root)] if is_root(&root) => (Some(gamma), root),
                _ => return None,
            }
        } else {
            return None;
        };
        let sum = plain(graph, graph.source(root, 0)?);
        if !matches!(graph.op(sum), b"Add" | b"AddV2") {
            return None;
        }
        let (variance, epsilon) = (graph.source(sum, 0)?, graph.source(sum, 1));
        Some(Self { gamma, variance, epsilon })
    }
}

/// μ in μ·s: the side that is a constant.
fn mean(graph: &Graph, product: NodeId) -> Option<NodeId> {
    let product = plain(graph, product);
    let is_constant = |id: &NodeId| graph.op(plain(graph, *id)) == b"Const";
    let sides = [0, 1].map(|input| graph.source(product, input).filter(is_constant));
    match sides {
        _ if graph.op(product) != b"Mul" => None,
        [Some(mean), None] | [None, Some(mean)] => Some(mean),
        _ => None,
    }
}

/// μ in (−μ)·s.
fn negated(graph: &Graph, product: NodeId) -> Option<NodeId> {
    let sides = [0, 1].into_iter().filter_map(|input| graph.source(product, input).map(|id| plain(graph, id)));
    let negative = sides.filter(|id| graph.op(*id) == b"Neg").filter_map(|id| graph.source(id, 0));
    negative.filter(|id| graph.op(plain(graph, *id)) == b"Const").last()
}

/// The node behind what passes a value on in another shape.
fn plain(graph: &Graph, mut id: NodeId) -> NodeId {
    const MOST: usize = 64;
    for _ in 0..MOST {
        match graph
            .source(id, 0)
            .filter(|_| matches!(graph.op(id), b"ExpandDims" | b"Identity" | b"Reshape" | b"Squeeze"))
        {
            Some(before) => id = before,
            None => break,
        }
    }
    id
}

/// The constant behind a node, with the type and number of its elements.
fn constant(graph: &Graph, id: NodeId) -> Result<Option<(NodeId, quant_math::DType, usize)>, Error> {
    let id = plain(graph, id);
    let Some(view) = graph.constant(id)? else { return Ok(None) };
    Ok(view.float_dtype().map(|dtype| (id, dtype, view.elements())))
}

fn scalar(graph: &Graph, id: NodeId) -> Result<Option<f32>, Error> {
    let Some(view) = graph.constant(plain(graph, id))? else { return Ok(None) };
    if view.float_dtype().is_none() || view.elements() != 1 {
        return Ok(None);
    }
    Ok(view.float_data()?.chunk(0..1).first().copied())
}
