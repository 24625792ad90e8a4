//! The model that a flat graph was made of, for whoever writes such a model again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{MetaGraph, SavedModel};
use crate::graphdef::index::Span;

/// A tensor of a checkpoint, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// As `RestoreV2` takes it: the whole tensor's shape and the part of it; empty for the whole tensor.
    pub(crate) slice: String,
}

/// Where the elements of a constant of the flat graph stand in the model.
#[derive(Debug, Clone)]
pub(crate) enum Home {
    /// In the checkpoint: a variable.
    Checkpoint {
        key: Key,
        /// The other key under which loaders read them too.
        second: Option<Key>,
        /// Whether it is a variable that training changes.
        is_trained: bool,
    },
    /// In the file of the graph.
    File(Span),
}

/// Where the elements of constants stand, by their names.
pub(crate) type Homes = BTreeMap<String, Home>;

/// The model that a flat graph was made of.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) model: Arc<SavedModel>,
    /// The meta graph, which all signatures of the flat graph are from.
    pub(crate) meta: MetaGraph,
    /// The prefix of the checkpoint that was read.
    pub(crate) checkpoint: PathBuf,
    /// Constants that are paths of assets, and the assets' names.
    pub(crate) assets: Vec<(String, String)>,
}
