//! Graphs that were made of a model or of another graph, and what they tell of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use quant_math::fold::Folded;
use quant_math::moments::Moments;
use quant_math::plan::Reason;

use super::{Elsewhere, Graph, Interface, Piece, Source};
use crate::error::Error;
use crate::graphdef::index::{NodeId, Span};
use crate::graphdef::io::{self, Mapped};
use crate::graphdef::saved_model::{Home, Homes, Origin};

/// What the constants of batch normalizations become where these stay, by name, and those normalizations that cannot stay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Neutral {
    pub(crate) constants: BTreeMap<String, Vec<u8>>,
    /// Weights of layers, by name, with the numbers of their elements.
    pub(crate) weights: BTreeMap<String, u64>,
    /// By their last node.
    pub(crate) impossible: Vec<String>,
}

/// A graph whose batch normalizations are in the layers before them.
#[derive(Debug)]
pub(crate) struct Refolded {
    pub(crate) bytes: Vec<u8>,
    /// Elements of its constants that are elsewhere.
    pub(crate) pieces: Vec<Arc<Piece>>,
    pub(crate) neutral: Neutral,
    /// New constants, each with the weight of its layer.
    pub(crate) new: Vec<(String, String)>,
}

impl Graph {
    /// A graph that was made from this one: with `outputs` of this one as its named outputs, in memory.
    pub(crate) fn made_for(&self, bytes: Vec<u8>, outputs: &[NodeId]) -> Result<Self, Error> {
        io::check_length(bytes.len() as u64)?;
        let names: Vec<&str> = outputs.iter().map(|id| self.name(*id)).collect();
        let made = Self::build(Source::Memory(bytes), None)?.with_outputs(&names)?;
        let (steps, interface, elsewhere) = (self.steps.clone(), self.interface.clone(), self.elsewhere.clone());
        let (origin, folds, moments) = (self.origin.clone(), self.folds.clone(), self.moments.clone());
        Ok(Self { nodes_left_out: self.nodes_left_out, steps, interface, elsewhere, origin, folds, moments, ..made })
    }

    /// The graph with batch normalizations in the layers before them. It is known as what this one is known as.
    pub(crate) fn folded_to(
        &self,
        refolded: Refolded,
        folds: Vec<Folded>,
        step: Option<Reason>,
    ) -> Result<Self, Error> {
        let Refolded { bytes, pieces, neutral, new } = refolded;
        let made = self.made_for(bytes, &self.outputs)?;
        made.budget.read_too(self.file_len());
        // What is added to a layer is trained where its weight is.
        let homes = self.homes.clone().map(|mut homes| {
            for (constant, beside) in new {
                if let Some(home) = homes.get(&beside).cloned() {
                    homes.insert(constant, home);
                }
            }
            homes
        });
        let steps = self.steps.iter().cloned().chain(step).collect();
        let made = Self { elsewhere: Elsewhere::new(pieces), homes, steps, folds, neutral, ..made };
        Ok(made.known_as(self, self.nodes_left_out))
    }

    /// The graph, of whose batch normalizations none is folded, for these reasons.
    pub(crate) fn with_folds(self, folds: Vec<Folded>) -> Self {
        Self { folds, ..self }
    }

    /// Its batch normalizations, and which of them are in the layers before them by now; nothing where nobody has looked for them
    /// ([`Graph::folded`]).
    pub fn folds(&self) -> &[Folded] {
        &self.folds
    }

    /// The graph, with what was measured of the inputs of its layers: what weights need that are rounded by reconstruction.
    ///
    /// # Errors
    /// Moments of another model.
    pub fn with_moments(self, moments: Moments) -> Result<Self, Error> {
        moments.check_model(&self.settled(Ok(self.fingerprint()))?)?;
        Ok(Self { moments: Some(Arc::new(moments)), ..self })
    }

    /// What was measured of the inputs of its layers.
    pub(crate) fn moments(&self) -> Option<&Moments> {
        self.moments.as_deref()
    }

    /// What its batch normalizations are where they stay: constants of the model by their names, with new elements. `Err`: a constant that
    /// cannot have any.
    pub(crate) fn neutral(&self) -> &Neutral {
        &self.neutral
    }

    /// The graph of a meta graph, which lies at `span` of a file; `binary` is the binary form of one that is text.
    pub(crate) fn of_meta(file: &Mapped, binary: Option<&[u8]>, span: Span) -> Result<Self, Error> {
        let source = match binary {
            Some(binary) => Source::Text(binary.to_vec(), file.clone()),
            None => Source::File(file.clone()),
        };
        Self::build_within(source, span, None)
    }

    /// A graph in memory, of constants whose elements are `elsewhere`; what it was made of has `length` bytes and this fingerprint.
    pub(crate) fn prepared(
        bytes: Vec<u8>,
        elsewhere: Elsewhere,
        path: Option<&Path>,
        known: (u64, String),
    ) -> Result<Self, Error> {
        io::check_length(bytes.len() as u64)?;
        let made = Self::build(Source::Memory(bytes), path.map(Path::to_owned))?;
        made.budget.read_too(known.0);
        Ok(Self { elsewhere, cut_from: Some(known), ..made })
    }

    /// The graph, with what was done to the model and what its signature calls its tensors.
    pub(crate) fn made_by(self, steps: Vec<Reason>, interface: Interface) -> Self {
        Self { steps, interface, ..self }
    }

    /// The graph, of which such a model can be made again.
    pub(crate) fn of_model(self, origin: Origin, homes: Option<Homes>) -> Self {
        Self { origin: Some(Arc::new(origin)), homes, ..self }
    }

    /// Where its constants stand in the model, where they have the values that they have there.
    pub(crate) fn homes(&self) -> Option<&Homes> {
        self.homes.as_ref()
    }

    /// Whether variables of its model are constants here, and variables again in a SavedModel that is made of it.
    pub fn keeps_variables(&self) -> bool {
        let in_checkpoint = |home: &Home| matches!(home, Home::Checkpoint { .. });
        self.homes.as_ref().is_some_and(|homes| homes.values().any(in_checkpoint))
    }

    /// The graph with the path, length and fingerprint of the one that it was cut from, without `left_out` nodes.
    pub(crate) fn known_as(mut self, whole: &Self, left_out: usize) -> Self {
        self.path.clone_from(&whole.path);
        self.cut_from = Some((whole.file_len(), whole.fingerprint()));
        self.nodes_left_out = left_out;
        self
    }

    /// The prefix of the checkpoint with the values of its variables, where it was opened with one.
    pub fn checkpoint(&self) -> Option<&Path> {
        self.origin().map(|origin| origin.checkpoint.as_path())
    }

    /// The model that it was made of, where all of its signatures are in it.
    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// What the signature that it was made of calls its inputs and outputs; nothing for a GraphDef.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// What was done to the model before it was this graph, and keeps what it computes.
    pub fn steps(&self) -> &[Reason] {
        &self.steps
    }

    /// Nodes that [`Graph::only_outputs`] left out.
    pub(crate) fn nodes_left_out(&self) -> usize {
        self.nodes_left_out
    }
}
