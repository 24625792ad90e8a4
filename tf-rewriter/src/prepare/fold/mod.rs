//! Batch normalizations into the layers before them: a graph in, a graph out that computes the same.
//!
//! ```text
//! norms ──find──▶ way back to a layer ──layer──▶ scale and shift of its channels ──choose──▶ folded or not, and why ──rewrite──▶ graph
//! ```
//!
//! No weight is read: it stays where it is, with a factor for each channel, until the graph is written.

mod choose;
mod constants;
mod find;
mod layer;
mod neutral;
mod rewrite;
mod weights;

use std::collections::{BTreeMap, BTreeSet};

use quant_math::Plan;
use quant_math::config::ConfigList;
use quant_math::fold::{Fold, FoldDecision, Folded, Linear, step};
use quant_math::plan::Reason;

use crate::codes;
use crate::error::Error;
use crate::find::frames::Frames;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;

use choose::Choose;
use find::Way;
use layer::{At, Layer};

/// A look at the batch normalizations of a graph.
#[derive(Debug)]
pub(crate) struct Looked {
    /// The graph in which some of them are folded; `None` where none is.
    pub(crate) graph: Option<Graph>,
    /// All of them.
    pub(crate) folds: Vec<Folded>,
}

/// A batch normalization that can go into its layer.
#[derive(Debug)]
struct Candidate {
    way: Way,
    layer: Layer,
    linear: Linear,
    /// Where the channels of what it makes lie.
    at: At,
}

impl Graph {
    /// The graph with batch normalizations in the layers before them, as `config` and `fold` say: what [`Graph::plan`] looks at and
    /// [`Graph::apply`] writes. It computes what it did, up to the rounding of float32.
    ///
    /// # Errors
    /// Damaged nodes and tensors.
    pub fn folded(self, config: &ConfigList, fold: Fold) -> Result<Self, Error> {
        let looked = self.look_at_norms(config, fold)?;
        Ok(self.into_looked(looked))
    }

    /// The graph of [`folded`](Self::folded), where it is another one than this.
    ///
    /// # Errors
    /// Damaged nodes and tensors.
    pub fn fold_for(&self, config: &ConfigList, fold: Fold) -> Result<Option<Self>, Error> {
        Ok(self.look_at_norms(config, fold)?.graph)
    }

    /// The graph with all batch normalizations in the layers before them that can be there.
    ///
    /// # Errors
    /// Damaged nodes and tensors.
    pub fn folded_everywhere(self) -> Result<Self, Error> {
        let looked = self.choose_norms(&Choose::All)?;
        Ok(self.into_looked(looked))
    }

    fn into_looked(self, looked: Looked) -> Self {
        let Looked { graph, folds } = looked;
        graph.unwrap_or_else(|| self.with_folds(folds))
    }

    /// Which batch normalizations are folded for a config, and the graph then. One that was looked at before stays as it is.
    pub(crate) fn look_at_norms(&self, config: &ConfigList, fold: Fold) -> Result<Looked, Error> {
        match fold {
            Fold::Off => Ok(Looked { graph: None, folds: self.folds().to_vec() }),
            Fold::On => self.choose_norms(&Choose::All),
            Fold::Auto => self.choose_norms(&Choose::config(config)),
        }
    }

    /// The graph in which those batch normalizations are folded that a plan says.
    ///
    /// # Errors
    /// One that is not there, or cannot be folded.
    pub(crate) fn folded_by(&self, plan: &Plan) -> Result<Option<Self>, Error> {
        if !self.folds().is_empty() || !plan.folds.iter().any(Folded::is_folded) {
            return Ok(None);
        }
        let wrong = |name: &str, why: &str| Error::Plan { message: format!("the batch normalization `{name}` {why}") };
        // By the names that this graph has, and each that a name can mean.
        let mut said = BTreeMap::new();
        for fold in &plan.folds {
            let found = self.named(&fold.norm).map_or_else(|| self.alike(&fold.norm).collect(), |id| vec![id]);
            if found.is_empty() && fold.is_folded() {
                return Err(wrong(&fold.norm, "is not in the graph"));
            }
            said.extend(found.into_iter().map(|id| (id, &fold.decision)));
        }
        let folded = said.iter().filter(|(_, decision)| matches!(decision, FoldDecision::Fold)).map(|(id, _)| *id);
        let folded: BTreeSet<NodeId> = folded.collect();
        let Looked { graph, mut folds } = self.choose_norms(&Choose::Ending(&folded))?;
        for id in folded {
            let name = self.site_name(id);
            match folds.iter().find(|fold| fold.norm == name).map(|fold| &fold.decision) {
                Some(FoldDecision::Fold) => {}
                Some(FoldDecision::Skip(reason)) => {
                    return Err(wrong(&name, &format!("cannot be folded ({}): {}", reason.code, reason.text)));
                }
                None => return Err(wrong(&name, "is no batch normalization of the graph")),
            }
        }
        for fold in &mut folds {
            if let Some(decision) = self.find_site(&fold.norm).and_then(|id| said.get(&id)) {
                fold.decision = (*decision).clone();
            }
        }
        Ok(graph.map(|graph| graph.with_folds(folds)))
    }

    fn choose_norms(&self, choose: &Choose<'_>) -> Result<Looked, Error> {
        if !self.folds().is_empty() {
            return Ok(Looked { graph: None, folds: self.folds().to_vec() });
        }
        self.settled(self.fold_chosen(choose).map_err(|error| self.in_own_file(error)))
    }

    fn fold_chosen(&self, choose: &Choose<'_>) -> Result<Looked, Error> {
        let (mut folds, mut candidates) = (Vec::new(), Vec::new());
        let (frames, named) = (Frames::of_main(self), find::named(self));
        for norm in find::norms(self)? {
            let found = self.candidate(norm, (&frames, &named))?;
            if !norm.is_sure && found.as_ref().is_err_and(is_another_thing) {
                continue;
            }
            let layer = match &found {
                Ok(candidate) => Some(candidate.way.layer),
                Err((layer, _)) => *layer,
            };
            let fold = Folded {
                norm: self.site_name(norm.last),
                layer: layer.map(|layer| self.site_name(layer)),
                decision: FoldDecision::Fold,
            };
            self.budget().take((size_of::<Folded>() + fold.norm.len()) as u64, WHAT)?;
            match found {
                Ok(candidate) => candidates.push((folds.len(), candidate)),
                Err((_, reason)) => {
                    folds.push(Folded { decision: FoldDecision::Skip(reason), ..fold });
                    continue;
                }
            }
            folds.push(fold);
        }
        let mut skip = |at: usize, reason: Reason| {
            if let Some(fold) = folds.get_mut(at) {
                fold.decision = FoldDecision::Skip(reason);
            }
        };
        let mut chosen = Vec::new();
        for (at, candidate) in candidates {
            match choose.refuses(self, &candidate)? {
                Some(reason) => skip(at, reason),
                None => chosen.push((at, candidate)),
            }
        }
        // One behind another goes into the layer with it.
        let inner: BTreeSet<NodeId> = chosen
            .iter()
            .flat_map(|(_, candidate)| candidate.way.links.split_last().map_or(&[][..], |(_, before)| before))
            .map(|link| link.node)
            .collect();
        let is_inner =
            |candidate: &Candidate| candidate.way.links.last().is_some_and(|last| inner.contains(&last.node));
        let (within, chosen): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|(_, candidate)| is_inner(candidate));
        let mut kept = Vec::new();
        for ((at, candidate), own) in weights::own(self, chosen, &named)? {
            match own {
                Ok(own) => kept.push((candidate, own)),
                Err(reason) => {
                    let layer = candidate.way.layer;
                    let with_it = within.iter().filter(|(_, inner)| inner.way.layer == layer).map(|(at, _)| *at);
                    with_it.chain([at]).for_each(|at| skip(at, reason.clone()));
                }
            }
        }
        if kept.is_empty() {
            return Ok(Looked { graph: None, folds });
        }
        let step = step(&folds);
        let made = self.folded_to(rewrite::refolded(self, &kept, &named)?, folds.clone(), step)?;
        Ok(Looked { graph: Some(made), folds })
    }

    /// What goes into which layer, or the layer and why nothing does.
    fn candidate(
        &self,
        norm: find::Norm,
        (frames, named): (&Frames, &BTreeSet<NodeId>),
    ) -> Result<Result<Candidate, (Option<NodeId>, Reason)>, Error> {
        let way = match find::way(self, norm)? {
            Ok(way) => way,
            Err(reason) => return Ok(Err((None, reason))),
        };
        let no = |reason| Ok(Err((Some(way.layer), reason)));
        if !frames.reaches_state(way.layer) || !frames.reaches_state(norm.last) {
            return no(Reason::new(codes::NORM_IN_LOOP, "it is in a function or a loop"));
        }
        if let Some(reason) = find::other_reader(self, &way, named) {
            return no(reason);
        }
        let layer = match layer::layer(self, &way)? {
            Ok(layer) => layer,
            Err(reason) => return no(reason),
        };
        self.budget().take((4 * size_of::<f64>() * layer.channels) as u64, WHAT)?;
        match layer::linear(self, &way, layer.channels)? {
            Ok((linear, at)) => Ok(Ok(Candidate { way, layer, linear, at })),
            Err(reason) => no(reason),
        }
    }
}

/// Whether a product and a sum that are not surely a batch normalization are none: no layer is before them, or they do not go along its channels.
fn is_another_thing((layer, reason): &(Option<NodeId>, Reason)) -> bool {
    layer.is_none() || reason.is(codes::NORM_AXIS) || reason.is(codes::NORM_COMPUTED)
}

const WHAT: &str = "the batch normalizations";
