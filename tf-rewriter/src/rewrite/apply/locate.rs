//! Finding the plan's sites again in the graph.

use std::collections::BTreeMap;

use quant_math::plan::Site;
use quant_math::weights::has_floor;
use quant_math::{Emit, Plan, QuantType};

use super::Located;
use crate::error::Error;
use crate::find::ops;
use crate::find::sites::{Backward, BackwardOps, Traced, Weight, biases, channel_axes, tensor_name, weight_of};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::rewrite::emit::ActivationWork;
use crate::rewrite::emit::training::GradientWork;

/// The weight sites that are to be quantized.
pub(super) fn weights(graph: &Graph, plan: &Plan) -> Result<Vec<Located>, Error> {
    let mut found = Vec::new();
    for (position, site) in plan.sites.iter().enumerate().filter(|(_, s)| s.kind == QuantType::Weight) {
        let Some(settings) = site.settings() else { continue };
        let op = node(graph, site)?;
        let found_weight = match ops::info(graph.op(op)) {
            Some(info) => weight_of(graph, op, info)?,
            None => None,
        };
        let is_only = !matches!(found_weight, Some((_, Traced::Several(_))));
        let parts = found_weight.as_ref().map(|(input, traced)| (*input, traced.weights()));
        let usable = |weight: &&&Weight| {
            let is_constant = weight.tensor.len() > 0;
            (is_constant || plan.emit == Emit::Training) && graph.site_tensor(weight.source, 0) == site.tensor
        };
        let one = parts.as_ref().and_then(|(input, weights)| Some((*input, *weights.iter().find(usable)?)));
        let Some((input, weight)) = one else { return Err(mismatch(site, "has no such constant for a weight")) };
        let axes = match settings.channel_axis {
            None => None,
            Some(axis) => {
                let found = channel_axes(graph, op, input, weight)?.filter(|axes| axes.edge.first == axis);
                Some(found.ok_or_else(|| mismatch(site, "has no such channel axis"))?)
            }
        };
        if weight.is_too_large_to_spread(axes.is_some() && plan.emit == Emit::Inference) {
            return Err(mismatch(site, "has a constant in short form that is too large for this form of output"));
        }
        graph.budget().take(2 * weight.held(), "the weights that are quantized")?;
        let biases = match axes {
            Some(axes) if has_floor(settings) => match weight.channels(axes) {
                (seen, channels) if seen == channels => biases(graph, op, channels as u64)?,
                // What is added to some channels says nothing of the others.
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let weight = weight.clone();
        found.push(Located {
            site: position,
            op,
            input,
            weight,
            is_only,
            settings: *settings,
            steps: site.steps.clone(),
            axes,
            biases,
        });
    }
    Ok(found)
}

/// The activation sites that are to be quantized, outputs first: an input that reads a quantized output needs no node of its own.
pub(super) fn activations(graph: &Graph, plan: &Plan) -> Result<Vec<(usize, ActivationWork)>, Error> {
    let mut found = Vec::new();
    let mut reads = Reads::default();
    for kind in [QuantType::Output, QuantType::Input] {
        for (position, site) in plan.sites.iter().enumerate().filter(|(_, s)| s.kind == kind) {
            let Some(settings) = site.settings() else { continue };
            let op = node(graph, site)?;
            let inputs = if kind == QuantType::Input { reads.of(graph, op, &site.tensor) } else { Vec::new() };
            if kind == QuantType::Input && inputs.is_empty() {
                return Err(mismatch(site, "does not read this tensor"));
            }
            let needs = plan.emit != Emit::Training && settings.quantizer.row().measures();
            let step = site.steps.as_ref().and_then(|steps| steps.first().copied());
            if site.range.is_none() && needs {
                return Err(mismatch(site, "has no range"));
            }
            found.push((position, ActivationWork { op, kind, inputs, settings: *settings, range: site.range, step }));
        }
    }
    Ok(found)
}

/// The gradients that are to be quantized.
pub(super) fn gradients(graph: &Graph, plan: &Plan) -> Result<Vec<GradientWork>, Error> {
    let mut found = Vec::new();
    let mut backward = None;
    for site in plan.sites.iter().filter(|site| site.kind == QuantType::Gradient) {
        let Some(settings) = site.settings() else { continue };
        let op = node(graph, site)?;
        let weight = match ops::info(graph.op(op)) {
            Some(info) => weight_of(graph, op, info)?.map_or(1, |(input, _)| input),
            None => 1,
        };
        let ops = match &backward {
            Some(found) => found,
            None => backward.insert(BackwardOps::new(graph)?),
        };
        let Backward::Found(edges) = ops.of(op, weight)? else {
            return Err(mismatch(site, "has no backward ops"));
        };
        if edges.iter().any(|(reader, input)| tensor_name(graph, *reader, *input) != site.tensor) {
            return Err(mismatch(site, "has backward ops that read another tensor"));
        }
        found.push(GradientWork { op, edges, settings: *settings });
    }
    Ok(found)
}

/// Which inputs of an op read which tensor. The sites of an op follow each other in a plan.
#[derive(Default)]
struct Reads {
    op: Option<NodeId>,
    inputs: BTreeMap<String, Vec<usize>>,
}

impl Reads {
    fn of(&mut self, graph: &Graph, op: NodeId, tensor: &str) -> Vec<usize> {
        if self.op != Some(op) {
            let found = graph.index().scope(op.scope).zip(graph.index().node(op));
            let count = found.map_or(0, |(scope, node)| scope.inputs(node).len());
            self.op = Some(op);
            self.inputs.clear();
            for input in 0..count {
                self.inputs.entry(tensor_name(graph, op, input)).or_default().push(input);
            }
        }
        self.inputs.get(tensor).cloned().unwrap_or_default()
    }
}

/// The op of a site: `node`, or `function::node`.
fn node(graph: &Graph, site: &Site) -> Result<NodeId, Error> {
    let found = graph.find_site(&site.op).filter(|id| graph.op(*id) == site.op_type.as_bytes());
    found.ok_or_else(|| mismatch(site, "is not in the graph"))
}

fn mismatch(site: &Site, what: &str) -> Error {
    Error::Plan {
        message: format!("the {} site of `{}` ({}, `{}`) {what}", site.kind, site.op, site.op_type, site.tensor),
    }
}
