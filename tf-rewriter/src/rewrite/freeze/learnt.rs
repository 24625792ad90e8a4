//! What was learnt, as a plan for the float graph.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::budget::Share;
use quant_math::config::OpFacts;
use quant_math::late::{self, Before};
use quant_math::plan::{Decision, Plan, Reason, Site};
use quant_math::quantizers::lsq;
use quant_math::{Emit, QuantType, Range, frozen};

use super::values::{self, Values};
use crate::error::Error;
use crate::find::ops;
use crate::find::sites::{self, Role, Roles, Traced, weight_of};
use crate::find::trained::{Found, Sites};
use crate::graphdef::graph::{Graph, Place};
use crate::graphdef::index::NodeId;
use crate::rewrite::emit::training::least_width;

/// What the variables of a site say.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    range: Option<Range>,
    /// LSQ: its steps.
    steps: Option<Vec<f32>>,
    /// Why it does not quantize: its start step has not come, or it needs a range and has seen none.
    not_begun: Option<Reason>,
    /// The start step that has not come.
    before: Option<Before>,
}

/// Read the variables of all sites; where they are `measured` otherwise, not those of the ranges.
pub(super) fn learnt(
    graph: &Graph,
    sites: &Sites,
    values: &mut Values<'_>,
    measured: bool,
) -> Result<BTreeMap<NodeId, Learnt>, Error> {
    let mut found = BTreeMap::new();
    for (last, site) in sites {
        found.insert(*last, one(graph, site, values, measured)?);
    }
    Ok(found)
}

fn one(graph: &Graph, site: &Found, values: &mut Values<'_>, measured: bool) -> Result<Learnt, Error> {
    let start = site.settings.quant_start_step;
    let mut before = None;
    if let (Some(step), 1..) = (site.step, start) {
        let step = values.of(graph, step)?.as_ref().and_then(values::long);
        let step = step.and_then(|step| u64::try_from(step).ok()).unwrap_or(0);
        before = Before::new(step, start);
    }
    let mut not_begun = before.map(|before| late::not_begun(Some(before)));
    if let Some(step_size) = site.step_size {
        let steps = values.of(graph, step_size)?.as_ref().and_then(values::floats).unwrap_or_default();
        if !steps.iter().any(|step| lsq::is_set(*step)) {
            not_begun.get_or_insert_with(|| late::not_begun(None));
        }
        return Ok(Learnt { range: None, steps: Some(steps), not_begun, before });
    }
    let Some((lower, upper)) = site.range.filter(|_| !measured) else {
        return Ok(Learnt { range: None, steps: None, not_begun, before });
    };
    let lower = values.of(graph, lower)?.as_ref().and_then(values::float);
    let upper = values.of(graph, upper)?.as_ref().and_then(values::float);
    // Before the first batch, lower is above upper.
    let range = lower.zip(upper).filter(|(min, max)| min <= max).map(|(min, max)| Range { min, max });
    let range = range.map(|range| if site.settings.symmetric { range } else { widened(range, site) });
    if range.is_none() {
        not_begun.get_or_insert_with(|| late::not_begun(None));
    }
    Ok(Learnt { range, steps: None, not_begun, before })
}

/// A tiny range, widened as the training graph does.
fn widened(range: Range, site: &Found) -> Range {
    let width = range.max - range.min;
    let least = if width > 0.0 { least_width(&site.settings) } else { 0.0 };
    Range { min: range.min, max: range.max.max(range.min + least) }
}

/// The plan for the float graph, with the ranges that were learnt.
pub(super) fn plan(
    graph: &Graph,
    float: &Graph,
    sites: &Sites,
    learnt: &BTreeMap<NodeId, Learnt>,
    (renamed, emit): (&BTreeMap<NodeId, String>, Emit),
) -> Result<Plan, Error> {
    let mut made = Vec::new();
    // Two sites of the training graph can be one of the float graph.
    let mut known = BTreeSet::new();
    let mut counted = Share::of(graph.budget());
    // Backward ops read what their layers read, and are no sites of their own.
    let roles = Roles::of(graph);
    let name = |id: NodeId| {
        let whole = renamed.get(&id).cloned().unwrap_or_else(|| graph.full_name(id));
        float.named(&whole).map_or(whole, |id| float.site_name(id))
    };
    for (last, site) in sites {
        let default = Learnt::default();
        let learnt = learnt.get(last).unwrap_or(&default);
        let tensor = match site.producer {
            Some((producer, port)) => format!("{}:{port}", name(producer)),
            None => site.argument(graph, *last),
        };
        let ops: BTreeSet<NodeId> = match site.kind {
            QuantType::Output => site.producer.into_iter().map(|(producer, _)| producer).collect(),
            QuantType::Weight => weight_readers(graph, *last)?,
            QuantType::Input => readers(graph, *last),
            // Gradients are those of training alone.
            QuantType::Gradient => BTreeSet::new(),
        };
        for op in ops.into_iter().filter(|op| roles.role(*op) != Role::Backward) {
            let op_type = String::from_utf8_lossy(graph.op(op)).into_owned();
            let decision = match &learnt.not_begun {
                Some(reason) => Decision::Skip(reason.clone()),
                None => frozen::decision(site.kind, site.settings, emit),
            };
            let facts = OpFacts { name: &name(op), other_name: None, op_type: &op_type, is_default: false };
            let mut found = Site::new(&facts, site.kind, tensor.clone(), decision);
            found.range = learnt.range;
            found.steps.clone_from(&learnt.steps);
            if site.kind == QuantType::Weight {
                describe(float, &mut found)?;
            }
            // An op that the outputs do not need is gone.
            if float.find_site(&found.op).is_some() && known.insert(serde_json::to_string(&found).unwrap_or_default()) {
                counted.take(found.held(), "the sites of the plan")?;
                made.push(found);
            }
        }
    }
    let quantizer = sites.values().next().map(|site| site.settings.quantizer);
    Ok(frozen::plan(quantizer, emit, made, learnt.values().filter_map(|learnt| learnt.before)))
}

/// Name, type and shape of the constant behind a weight site of the float graph.
fn describe(float: &Graph, site: &mut Site) -> Result<(), Error> {
    let Some((op, info)) = float.find_site(&site.op).and_then(|op| Some((op, ops::info(float.op(op))?))) else {
        return Ok(());
    };
    if let Some((_, Traced::Weight(weight))) = weight_of(float, op, info)? {
        site.tensor = float.site_tensor(weight.source, 0);
        site.dtype = Some(weight.dtype);
        site.shape = Some(weight.shape);
    }
    Ok(())
}

/// The ops that read a quantized tensor.
fn readers(graph: &Graph, last: NodeId) -> BTreeSet<NodeId> {
    let edges = graph.index().scope(last.scope).map(|scope| scope.data_edges(last.node)).unwrap_or_default();
    edges.into_iter().map(|(node, _)| NodeId { scope: last.scope, node }).collect()
}

/// The ops that read a quantized weight, or pieces of it.
fn weight_readers(graph: &Graph, last: NodeId) -> Result<BTreeSet<NodeId>, Error> {
    let Behind { mut ops, look_ups } = behind(graph, vec![Place::Output(last, 0)])?;
    for (look_up, places) in look_ups {
        // It cuts pieces off the weight of the ops behind it, or it is an op of its own.
        if behind(graph, places)?.ops.is_empty() {
            ops.insert(look_up);
        }
    }
    Ok(ops)
}

/// What reads a weight.
#[derive(Default)]
struct Behind {
    ops: BTreeSet<NodeId>,
    /// Ops of which pieces can be read, and where those are.
    look_ups: Vec<(NodeId, Vec<Place>)>,
}

fn behind(graph: &Graph, mut open: Vec<Place>) -> Result<Behind, Error> {
    let (mut found, mut seen) = (Behind::default(), BTreeSet::new());
    while let Some(place) = open.pop() {
        if !seen.insert(place) {
            continue;
        }
        let Some((edges, outside)) = sites::readers(graph, place)? else { continue };
        open.extend(outside);
        for (reader, input) in edges {
            let weighs = ops::info(graph.op(reader)).is_some_and(|info| info.weights.contains(&input));
            match sites::passed_on(graph, reader, input)? {
                Some(places) => {
                    if weighs {
                        found.look_ups.push((reader, places.clone()));
                    }
                    open.extend(places);
                }
                None if weighs => {
                    found.ops.insert(reader);
                }
                None => {}
            }
        }
    }
    Ok(found)
}
