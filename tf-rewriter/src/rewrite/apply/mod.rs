//! Apply: a plan and a graph in, a quantized graph out, written while it is computed.
//!
//! ```text
//! Plan ──locate──▶ weights, activations ──observe──▶ maps ──emit──▶ patches ──splice──▶ segments ──write──▶ file
//! ```

mod baked;
mod live;
mod locate;
mod read_back;
mod reconstruct;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use quant_math::fate::{Cost, Fate};
use quant_math::fold::Folded;
use quant_math::plan::{Reason, Settings};
use quant_math::weights::{Biases, ChannelLayout, Look, Way, WeightMap, look_once, measure, observe_ranges};
use quant_math::{Emit, Plan, Range, WeightData};
use rayon::prelude::*;

use crate::codes;
use crate::error::Error;
use crate::find::sites::{Bias, ChannelAxes, Weight, channel_axes};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::rewrite::emit::{self, Copies, Editor, Pieces, WeightWork};
use crate::rewrite::splice::{Segment, WeightSource};

pub(crate) use baked::Baked;
pub(crate) use read_back::types_fit;
pub use write::Compressed;

/// The output, what became of each site, and the constants of `baked`.
type Patched = (Vec<Segment>, Vec<Fate>, Vec<Baked>);

impl Graph {
    /// Carry out a plan that was made for this graph. Weights are observed here; they are quantized while the result is written.
    ///
    /// # Errors
    /// A plan of another graph; NaN or infinite weights; damaged tensors.
    pub fn apply(self, plan: &Plan) -> Result<Compressed, Error> {
        let folded = self.settled(self.folded_by(plan).map_err(|error| self.in_own_file(error)))?;
        let graph = folded.unwrap_or(self);
        let (rebuilt, how) = graph.settled(graph.rebuilt(plan).map_err(|error| graph.in_own_file(error)))?;
        let graph = rebuilt.unwrap_or(graph);
        let applied = graph.patch(plan).map_err(|error| graph.in_own_file(error));
        let (segments, mut fates, baked) = graph.settled(applied)?;
        how.tell(&mut fates);
        Ok(Compressed::new(graph, plan.clone(), segments, fates, baked).warning(how.warnings))
    }

    /// The graph as it is, ready to be written: functions inlined and variables as constants where it comes of a model that had some.
    ///
    /// # Errors
    /// Damaged tensors.
    pub fn as_it_is(self) -> Result<Compressed, Error> {
        let folded = self.folds().iter().any(Folded::is_folded);
        let in_place = folded && self.homes().is_some() && self.neutral().impossible.is_empty();
        // The form of a graph whose constants are its own, or of a model whose constants have other values.
        let emit = if in_place { Emit::Baked } else { Emit::Packed };
        let plan = Plan {
            prepared: self.steps().to_vec(),
            folds: self.folds().to_vec(),
            ..Plan::of_nothing(quant_math::Quantizer::Naive, emit)
        };
        self.apply(&plan)
    }

    /// Every attribute and every constant must be whole, also one that the plan does not name: TensorFlow would refuse the graph.
    pub(crate) fn check_nodes(&self) -> Result<(), Error> {
        let nodes: Vec<NodeId> = self.all_nodes().collect();
        let attrs = |id: NodeId| self.index().node(id).map_or(Ok(()), |node| node.check_attrs(self.bytes()));
        match nodes.par_iter().find_map_first(|id| attrs(*id).and_then(|()| self.constant(*id)).err()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The weights that a plan quantizes, found again and looked at, in its order.
    pub(crate) fn weight_works(&self, plan: &Plan) -> Result<Vec<WeightWork>, Error> {
        observe_all(self, locate::weights(self, plan)?, plan.emit)
    }

    /// Bytes of what the plan makes of this graph, in which what the plan folds is folded.
    #[cfg(feature = "run")]
    pub(crate) fn length_with(&self, plan: &Plan) -> Result<u64, Error> {
        self.patch(plan).map(|(segments, ..)| crate::rewrite::splice::total(&segments) as u64)
    }

    fn patch(&self, plan: &Plan) -> Result<Patched, Error> {
        self.check_nodes()?;
        let mut fates = Fate::all_of(plan);
        if plan.emit == Emit::Training {
            let segments = self.patch_training(plan, &mut fates)?;
            return Ok((segments, fates, Vec::new()));
        }
        let works = self.weight_works(plan)?;
        let mut editor = Editor::new(self);
        let mut groups: Vec<Vec<&WeightWork>> = Vec::new();
        // By slot: ops that quantize a constant in the same way.
        let mut group_of: BTreeMap<usize, usize> = BTreeMap::new();
        for work in &works {
            if let Some(fate) = fates.get_mut(work.site) {
                describe(fate, work);
            }
            if *work.map == WeightMap::Unchanged {
                continue;
            }
            let known = group_of.get(&work.slot).filter(|_| plan.emit != Emit::Inference);
            if let Some(group) = known.and_then(|position| groups.get_mut(*position)) {
                group.push(work);
            } else {
                group_of.insert(work.slot, groups.len());
                groups.push(vec![work]);
            }
        }
        let edges =
            works.iter().filter(|work| *work.map != WeightMap::Unchanged).map(|work| (work.op, work.input)).collect();
        let (mut copies, mut pieces) = (Copies::default(), Pieces::default());
        let mut baked = Vec::new();
        for group in &mut groups {
            let owned = plan.emit != Emit::Inference && emit::owns(self, group, &edges)?;
            if !owned && plan.emit != Emit::Inference {
                leave_out_of_reach(self, group, &mut fates)?;
            }
            let Some(first) = group.first() else { continue };
            editor.within_budget()?;
            if plan.emit == Emit::Baked {
                baked.push(Baked::of(self, first, owned));
            }
            let bytes = match plan.emit {
                // Codes would be larger than the one value that stands for all.
                Emit::Packed if !first.weight.is_one_value() => emit::packed(&mut editor, group, owned, &mut copies),
                Emit::Baked | Emit::Packed => emit::baked(&mut editor, group, owned, &mut copies)?,
                Emit::Inference | Emit::Training => {
                    let added = emit::inference_weight(&mut editor, first, &mut pieces)
                        .map_err(|source| Error::Math { tensor: first.name.clone(), source })?;
                    first.weight.stored_bytes() + added
                }
            };
            for work in group.iter() {
                if let Some(fate) = fates.get_mut(work.site) {
                    fate.bytes_after = bytes;
                    if plan.emit == Emit::Inference || work.weight.is_one_value() {
                        let data = WeightSource { tensor: work.weight.tensor, node: work.name.clone() };
                        fate.cost = Cost::Measured(measured(&work.map, &data.data(self)?));
                    } else {
                        fate.cost = Cost::Written(work.slot);
                    }
                }
            }
        }
        copies.reroute(&mut editor)?;
        pieces.reroute(&mut editor, |_, _| Vec::new())?;
        for work in locate::activations(self, plan)? {
            let (site, work) = work;
            editor.within_budget()?;
            let scale = emit::inference_activation(&mut editor, &work)
                .map_err(|source| Error::Math { tensor: self.full_name(work.op), source })?;
            if let Some(fate) = fates.get_mut(site) {
                fate.scale = scale.map(|s| (s, s));
                fate.bytes_after = if scale.is_some() { 8 } else { 0 };
            }
        }
        let segments = editor.finish()?.assemble_whole(self)?;
        Ok((segments, fates, baked))
    }
}

/// Take out of a group what would need a quantized constant of its own and cannot have one.
fn leave_out_of_reach(graph: &Graph, group: &mut Vec<&WeightWork>, fates: &mut [Fate]) -> Result<(), Error> {
    let mut kept = Vec::new();
    for work in group.drain(..) {
        if emit::can_have_its_own(graph, work)? {
            kept.push(work);
        } else if let Some(fate) = fates.get_mut(work.site) {
            let text = format!(
                "others read `{}` too, which reaches this op through functions and changes its shape on the way: it cannot be quantized for \
                 one of them alone",
                work.name
            );
            fate.unchanged = Some(Reason::new(codes::SHARED_ACROSS_FUNCTIONS, text));
            fate.scale = None;
        }
    }
    *group = kept;
    Ok(())
}

fn describe(fate: &mut Fate, work: &WeightWork) {
    fate.observed(&work.map, work.spread);
    fate.bytes_before = work.weight.stored_bytes();
    fate.bytes_after = fate.bytes_before;
}

/// The error of a map on a constant; of its stored elements alone where they are fewer than the shape says.
fn measured(map: &WeightMap, data: &crate::graphdef::tensor::FloatData<'_>) -> quant_math::metrics::Metrics {
    if data.is_splat() { measure(map, data.stored()) } else { measure(map, data) }
}

/// A weight site of the plan, found again in the graph.
struct Located {
    site: usize,
    op: NodeId,
    input: usize,
    weight: Weight,
    is_only: bool,
    settings: Settings,
    /// LSQ: the steps that were learnt.
    steps: Option<Vec<f32>>,
    axes: Option<ChannelAxes>,
    /// What is added to its op's output, where its channels have a least range then.
    biases: Vec<Bias>,
}

impl Located {
    fn layout(&self) -> ChannelLayout {
        let elements = usize::try_from(self.weight.elements()).unwrap_or(usize::MAX);
        // A constant in short form with one value is the same in every channel.
        if self.weight.is_one_value() {
            return ChannelLayout::per_tensor(1);
        }
        match self.axes {
            Some(axes) => axes.source.layout(&self.weight.shape),
            None => ChannelLayout::per_tensor(elements),
        }
    }

    /// Two sites with the same key have the same map.
    fn key(&self) -> (NodeId, Way) {
        (self.weight.source, Way::new(&self.settings, self.layout(), self.steps.as_deref()))
    }
}

/// Look at every weight once per distinct way of quantizing it.
fn observe_all(graph: &Graph, located: Vec<Located>, emit: Emit) -> Result<Vec<WeightWork>, Error> {
    let keyed = located.into_iter().map(|site| (site.key(), site)).collect();
    let seen = look_once(keyed, |site, alike| {
        let biases: Vec<&Bias> = alike.iter().flat_map(|site| &site.biases).collect();
        observe_one(graph, site, &biases, emit)
    })?;
    let works = seen.into_iter().map(|(located, slot, Observed { map, ranges, spread })| {
        let name = graph.name(located.weight.source).to_owned();
        let Located { site, op, input, weight, is_only, settings, axes, .. } = located;
        WeightWork { site, op, input, weight, is_only, name, settings, axes, map, ranges, spread, slot }
    });
    Ok(works.collect())
}

/// What a look at a weight has shown.
#[derive(Clone)]
struct Observed {
    map: Arc<WeightMap>,
    /// For `inference` only.
    ranges: Arc<Vec<Range>>,
    spread: Option<f32>,
}

/// What a channel takes in a map: its parameters, in two forms.
const SCALE: usize = size_of::<quant_math::Affine>() + 20;

fn observe_one(graph: &Graph, site: &Located, biases: &[&Bias], emit: Emit) -> Result<Observed, Error> {
    let node = graph.name(site.weight.source).to_owned();
    let source = WeightSource { tensor: site.weight.tensor, node: node.clone() };
    let data = source.data(graph)?;
    let layout = site.layout();
    let math = |source| Error::Math { tensor: node.clone(), source };
    let channels = site.axes.map_or(1, |axes| axes.source.layout(&site.weight.shape).channels);
    let ranges = if emit == Emit::Inference { channels } else { 0 };
    graph.budget().take((ranges * size_of::<Range>()) as u64, "the ranges of channels")?;
    graph.budget().take((layout.channels * SCALE) as u64, "the scales of channels")?;
    let one = [data.stored().chunk(0..1).first().copied().unwrap_or(0.0)];
    let one_value = site.weight.is_one_value();
    let data: &dyn WeightData = if one_value { &SliceData(one) } else { &data };
    let biases = values(graph, biases, channels)?;
    let axes = match (one_value, site.axes) {
        (false, None) => channel_axes(graph, site.op, site.input, &site.weight)?,
        _ => None,
    };
    let along = axes.map(|axes| axes.source.layout(&site.weight.shape));
    let (settings, steps) = (&site.settings, site.steps.as_deref());
    let look = Look { settings, layout, steps, biases: &biases, channels: along };
    let (map, spread) = look.at(data).map_err(math)?;
    let mut ranges = Vec::new();
    if emit == Emit::Inference {
        ranges = observe_ranges(layout, data).map_err(math)?;
        if let (true, Some(range)) = (one_value, ranges.first()) {
            ranges = vec![*range; channels];
        }
        biases.widen(settings, &mut ranges);
    }
    Ok(Observed { map: Arc::new(map), ranges: Arc::new(ranges), spread })
}

/// The values of constants that are added to channels; those of variables are not in the graph.
fn values(graph: &Graph, biases: &[&Bias], channels: usize) -> Result<Biases, Error> {
    let mut values = Biases::none(if biases.is_empty() { 0 } else { channels });
    for Bias { vector, .. } in biases.iter().filter(|bias| bias.vector.tensor.len() > 0) {
        let source = WeightSource { tensor: vector.tensor, node: graph.name(vector.source).to_owned() };
        values.add(&source.data(graph)?);
    }
    Ok(values)
}

/// One element as data.
struct SliceData([f32; 1]);

impl WeightData for SliceData {
    fn len(&self) -> usize {
        1
    }

    fn chunk(&self, span: std::ops::Range<usize>) -> std::borrow::Cow<'_, [f32]> {
        self.0.as_slice().chunk(span)
    }
}
