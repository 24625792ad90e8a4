//! Applying a plan for `--emit training`.

use std::collections::BTreeMap;

use quant_math::Plan;
use quant_math::fate::Fate;
use quant_math::quantizers::table::StepSource;

use super::{Located, describe, locate, observe_all};
use crate::error::Error;
use crate::find::frames::Frames;
use crate::find::sites::{Roles, backward_readers};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::rewrite::emit::training::{self, Context, LiveWeight, State};
use crate::rewrite::emit::{Editor, Pieces};
use crate::rewrite::splice::Segment;

impl Graph {
    /// The segments of the training graph. Weights are looked at only to refuse numbers without a quantized form.
    pub(super) fn patch_training(&self, plan: &Plan, fates: &mut [Fate]) -> Result<Vec<Segment>, Error> {
        let located = locate::weights(self, plan)?;
        let activations = locate::activations(self, plan)?;
        let gradients = locate::gradients(self, plan)?;
        let mut editor = Editor::new(self);
        let works: Vec<(usize, LiveWeight)> = live(&editor, &located);
        for work in &observe_all(self, located.into_iter().filter(is_whole_constant).collect(), plan.emit)? {
            if let Some(fate) = fates.get_mut(work.site) {
                describe(fate, work);
                // All-zero weights are quantized like others: they are going to change.
                fate.unchanged = None;
            }
        }
        let frames = Frames::of_main(self);
        let roles = Roles::of(self);
        let with_state = works.iter().map(|(_, work)| work.op).chain(activations.iter().map(|(_, work)| work.op));
        let with_state = with_state.chain(gradients.iter().map(|work| work.op));
        let mut state = if with_state.into_iter().any(|op| frames.reaches_state(op)) {
            Some(State::open(&mut editor)?)
        } else {
            None
        };
        let mut pieces = Pieces::default();
        for (site, work) in &works {
            editor.within_budget()?;
            let state = state.as_mut().filter(|_| frames.reaches_state(work.op));
            let mut context = Context { gradient: plan.gradient, state };
            let added = training::weight(&mut editor, &mut context, work, &mut pieces)
                .map_err(|source| Error::Math { tensor: self.full_name(work.weight.source), source })?;
            if let Some(fate) = fates.get_mut(*site) {
                fate.bytes_after = fate.bytes_before + added;
            }
        }
        pieces.reroute(&mut editor, |op, input| backward_readers(self, &roles, op, input))?;
        for (_, work) in &works {
            let quantized = editor.reads(work.op, work.input);
            for (reader, input) in backward_readers(self, &roles, work.op, work.input) {
                editor.reroute(reader, input, quantized.clone());
            }
        }
        for (site, work) in &activations {
            editor.within_budget()?;
            let mut context = Context { gradient: plan.gradient, state: state.as_mut() };
            training::activation(&mut editor, &mut context, work)
                .map_err(|source| Error::Math { tensor: self.full_name(work.op), source })?;
            if let Some(fate) = fates.get_mut(*site) {
                fate.bytes_after = match work.settings.quantizer.row().steps {
                    // Two ends of a range, one step.
                    StepSource::Range => 8,
                    StepSource::Learnt => 4,
                    StepSource::Levels => 0,
                };
            }
        }
        for work in &gradients {
            editor.within_budget()?;
            let mut context = Context { gradient: plan.gradient, state: state.as_mut() };
            training::gradient(&mut editor, &mut context, work);
        }
        if let Some(state) = state {
            state.finish(&mut editor);
        }
        editor.finish()?.assemble_whole(self)
    }
}

/// Whether the file holds every element of a weight.
fn is_whole_constant(site: &Located) -> bool {
    site.weight.tensor.len() > 0 && site.weight.splat.is_none()
}

/// The weights, each with the biases of all ops that read it on the same edge and in the same way.
fn live(editor: &Editor<'_>, located: &[Located]) -> Vec<(usize, LiveWeight)> {
    let edge = |site: &Located| {
        let (reader, at) = site.weight.whole_edge(editor.graph, site.op, site.input);
        (site.op.scope, editor.reads(reader, at), site.key())
    };
    let mut biases: BTreeMap<_, Vec<(NodeId, usize)>> = BTreeMap::new();
    for site in located {
        biases.entry(edge(site)).or_default().extend(site.biases.iter().map(|bias| (bias.by, bias.input)));
    }
    let live = |site: &Located| LiveWeight {
        op: site.op,
        input: site.input,
        weight: site.weight.clone(),
        settings: site.settings,
        axes: site.axes.map(|axes| axes.whole),
        biases: biases.get(&edge(site)).cloned().unwrap_or_default(),
    };
    located.iter().map(|site| (site.site, live(site))).collect()
}
