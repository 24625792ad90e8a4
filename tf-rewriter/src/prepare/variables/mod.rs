//! Which tensor of the checkpoint a variable of the graph is.
//!
//! ```text
//! saver_def ─▶ restore op ─▶ RestoreV2 ─▶ Assign ─▶ variable        `restore`: what a session of TensorFlow does
//! object graph ─▶ bound_inputs ─▶ call ─▶ variable                  `objects`: what `tf.saved_model.load` does
//! ```
//!
//! Both name the same values, under one key or, in what Keras 3 exports, under two. Names of variables are no keys: two may have one name.

mod objects;
mod restore;
mod strings;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::Error;
use crate::find::ops::is_variable;
use crate::graphdef::bundle::Bundle;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, node_of};
use crate::graphdef::saved_model::{Key, MetaGraph};

pub(super) use world::{Env, World};

/// Behind the name of a variable, the key of its moving average: what `tf.train.ExponentialMovingAverage` calls it.
const AVERAGE: &str = "/ExponentialMovingAverage";

/// The variables of a graph: where each has its value.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    /// By the number of the variable's node in the main graph.
    keys: BTreeMap<u32, Key>,
    /// Other keys under which the same values stand, which another loader reads.
    second: BTreeMap<u32, Key>,
    /// Variables that training does not change: statistics of batch norms, counters.
    not_trained: BTreeSet<u32>,
    /// Variables that hold the path of an asset: the placeholder that the loader feeds.
    pub(crate) assets: BTreeMap<u32, NodeId>,
    /// The names of the files, by the number of the placeholder's or constant's node.
    pub(crate) asset_files: BTreeMap<u32, String>,
}

impl Variables {
    /// Those of `meta`, whose graph is `graph`. `averages`: the moving average of a variable, where the checkpoint has one.
    ///
    /// # Errors
    /// Damaged parts of the model.
    pub(super) fn of(graph: &Graph, meta: &MetaGraph, bundle: Option<&Bundle>, averages: bool) -> Result<Self, Error> {
        let restored = match meta.saver.as_ref().filter(|saver| !saver.restore_op_name.is_empty()) {
            Some(saver) => restore::keys(graph, &saver.restore_op_name)?,
            None => BTreeMap::new(),
        };
        let objects = match bundle {
            Some(bundle) if meta.has_objects() => objects::keys(graph, meta, bundle)?,
            _ => BTreeMap::new(),
        };
        let mut found = Self { keys: restored, ..Self::default() };
        found.not_trained = not_trained(graph, meta);
        for (variable, object) in objects {
            if !object.is_trained {
                found.not_trained.insert(variable);
            }
            let key = Key { name: object.key, slice: String::new() };
            match found.keys.get(&variable) {
                None => drop(found.keys.insert(variable, key)),
                Some(known) if *known != key => drop(found.second.insert(variable, key)),
                Some(_) => {}
            }
        }
        let has_saver = meta.saver.as_ref().is_some_and(|saver| !saver.restore_op_name.is_empty());
        if let Some(bundle) = bundle.filter(|_| !has_saver && !meta.has_objects()) {
            found.by_name(graph, bundle)?;
        }
        if let Some(bundle) = bundle.filter(|_| averages) {
            found.take_averages(graph, bundle);
        }
        for asset in meta.assets()? {
            let name = node_of(asset.tensor_info.name()).to_owned();
            let Some(placeholder) = graph.named(&name).filter(|id| id.scope == 0) else { continue };
            for variable in restore::assigned_from(graph, placeholder) {
                if !found.keys.contains_key(&variable) {
                    found.assets.insert(variable, placeholder);
                }
            }
            found.asset_files.insert(placeholder.node, asset.filename.clone());
        }
        Ok(found)
    }

    /// The files of assets by their paths in this folder.
    #[must_use]
    pub(super) fn with_assets_in(mut self, folder: &Path) -> Self {
        for file in self.asset_files.values_mut() {
            *file = folder.join(&*file).display().to_string();
        }
        self
    }

    /// Where nothing says which tensor a variable is: the one with its name, or the name that it is shared under.
    fn by_name(&mut self, graph: &Graph, bundle: &Bundle) -> Result<(), Error> {
        let Some(main) = graph.index().scope(0) else { return Ok(()) };
        for (number, node) in (0u32..).zip(&main.nodes) {
            if !is_variable(node.op.of(graph.bytes())) {
                continue;
            }
            let own = node.name.text(graph.bytes());
            let shared = node.attr_bytes(graph.bytes(), "shared_name")?.map(|span| span.text(graph.bytes()));
            let names = [Some(own), shared.filter(|shared| !shared.is_empty())];
            if let Some(name) = names.into_iter().flatten().find(|name| has(bundle, name)) {
                self.keys.insert(number, Key { name: name.to_owned(), slice: String::new() });
            }
        }
        Ok(())
    }

    fn take_averages(&mut self, graph: &Graph, bundle: &Bundle) {
        for (variable, key) in &mut self.keys {
            let own = graph.name(NodeId { scope: 0, node: *variable });
            let averages = [format!("{}{AVERAGE}", key.name), format!("{own}{AVERAGE}")];
            if let Some(average) = averages.into_iter().find(|name| has(bundle, name)) {
                key.name = average;
            }
        }
    }

    /// The tensor that is the variable's value.
    pub(crate) fn key(&self, variable: u32) -> Option<&Key> {
        self.keys.get(&variable)
    }

    /// Whether training changes a variable, as far as the model says it.
    pub(super) fn is_trained(&self, variable: u32) -> bool {
        !self.not_trained.contains(&variable)
    }

    /// Another tensor that holds the same, for other loaders.
    pub(crate) fn second(&self, variable: u32) -> Option<&Key> {
        self.second.get(&variable)
    }
}

/// Variables of a model of TF1 that are not in the list of those that training changes, where it has one.
fn not_trained(graph: &Graph, meta: &MetaGraph) -> BTreeSet<u32> {
    let trained = meta.trainable_variables();
    let nodes = graph.index().scope(0).map(|scope| (0u32..).zip(&scope.nodes)).into_iter().flatten();
    let variables = nodes.filter(|(_, node)| !trained.is_empty() && is_variable(node.op.of(graph.bytes())));
    let others = variables.filter(|(_, node)| !trained.contains(node.name.text(graph.bytes())));
    others.map(|(number, _)| number).collect()
}

/// Whether a checkpoint has a tensor of this name; a damaged entry is told where it is read.
fn has(bundle: &Bundle, name: &str) -> bool {
    !matches!(bundle.entry(name), Ok(None))
}
