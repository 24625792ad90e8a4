//! From a model to the graph that is planned: steps that keep what the model computes. Each is told in the plan and in the report.
//!
//! ```text
//! SavedModel, MetaGraph ──variables──▶ which tensor of the checkpoint each is ──inline──▶ one flat graph of constants
//! ```
//!
//! The elements of constants stay in their files (`values`) until the graph is written.

mod copied;
mod depth;
mod fold;
mod given;
mod inline;
mod values;
mod variables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quant_math::plan::Reason;

use crate::codes;
use crate::error::{ContainerError, Error};
use crate::find::trained;
use crate::graphdef::bundle::Bundle;
use crate::graphdef::graph::{Elsewhere, Endpoint, Graph, Interface};
use crate::graphdef::index::{fields, node_of};
use crate::graphdef::pb::AssetFileDef;
use crate::graphdef::saved_model::{Choice, MetaGraph, Origin, SavedModel};

use inline::Inliner;
use values::Constants;
use variables::Variables;

pub(crate) use copied::Copied;
pub(crate) use fold::Looked;
pub(crate) use given::{ReadVariable, given};
pub use inline::Names;

/// What a caller says of the model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) tags: Option<&'a [String]>,
    pub(crate) signature: Option<&'a str>,
    /// Nodes that are fetched too: of the flat graph where there is a signature, else of the main graph.
    pub(crate) outputs: &'a [String],
    /// The prefix of the checkpoint, where it is not the model's own.
    pub(crate) checkpoint: Option<&'a Path>,
    /// Moving averages in place of variables, where the checkpoint has them.
    pub(crate) averages: bool,
    pub(crate) names: Names,
    /// All signatures of the meta graph, under the names of the main graph, so that such a model can be made again.
    pub(crate) whole: bool,
}

/// The meta graph that is meant, with its variables: what the flat graph is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) model: Arc<SavedModel>,
    pub(crate) meta: MetaGraph,
    /// The meta graph's own graph.
    pub(crate) graph: Graph,
    /// The prefix of the checkpoint, which need not be there; `None` where nobody says where it would be.
    prefix: Option<PathBuf>,
    pub(crate) bundle: Option<Bundle>,
    pub(crate) variables: Variables,
}

/// The flat graph of a signature, or of some outputs, of a model. `values` gives variables; those that it does not have are in the checkpoint.
///
/// # Errors
/// Those of [`Parts::of`] and [`Parts::flat`].
pub(crate) fn prepare(model: SavedModel, asked: &Asked<'_>, values: &ReadVariable<'_>) -> Result<Graph, Error> {
    Parts::of(&Arc::new(model), asked)?.flat(asked, values)
}

impl Parts {
    /// The parts of a model that are meant; no values are read.
    ///
    /// # Errors
    /// Tags that are not there; a damaged graph or index of the checkpoint.
    pub(crate) fn of(model: &Arc<SavedModel>, asked: &Asked<'_>) -> Result<Self, Error> {
        model.settled(Self::found(model, asked))
    }

    fn found(model: &Arc<SavedModel>, asked: &Asked<'_>) -> Result<Self, Error> {
        let meta = model.meta_graph(asked.choice())?.clone();
        let graph = Graph::of_meta(model.file(), model.binary(), meta.graph)?;
        let prefix = asked.checkpoint.map(Path::to_owned).or_else(|| model.checkpoint());
        let bundle = match &prefix {
            Some(prefix) => open_bundle(prefix, asked.checkpoint.is_some())?,
            None => None,
        };
        // In a SavedModel the loader knows where assets are.
        let assets = if asked.whole { PathBuf::new() } else { model.assets() };
        let variables = Variables::of(&graph, &meta, bundle.as_ref(), asked.averages)?.with_assets_in(&assets);
        Ok(Self { model: Arc::clone(model), meta, graph, prefix, bundle, variables })
    }

    /// The flat graph of the signature, or of the outputs, that are meant.
    ///
    /// # Errors
    /// A signature or outputs that are not there; variables without a value; what cannot be frozen ([`ContainerError::Freeze`]).
    pub(crate) fn flat(&self, asked: &Asked<'_>, values: &ReadVariable<'_>) -> Result<Graph, Error> {
        self.model.settled(self.made(asked, values))
    }

    fn made(&self, asked: &Asked<'_>, values: &ReadVariable<'_>) -> Result<Graph, Error> {
        let Self { model, meta, graph, bundle, .. } = self;
        let bundle = bundle.as_ref();
        if !trained::find(graph)?.is_empty() {
            return self.trained(asked);
        }
        let signature = model.signature(meta, asked.choice())?;
        let file = model.binary().is_none().then(|| model.file().clone());
        let mut inliner = Inliner::new(graph, &self.variables, bundle, Constants::of(file, values))?;
        let mut tensors = Vec::new();
        if asked.whole {
            for (_, signature) in meta.signatures() {
                tensors.extend(inliner.signature(signature, Names::Main)?.outputs);
            }
        }
        let names = if asked.whole { Names::Main } else { asked.names };
        let mut interface = match (signature, asked.outputs) {
            (Some((_, signature)), _) => inliner.signature(signature, names)?,
            (None, []) => return Err(no_outputs(model)),
            (None, outputs) => inliner.outputs(outputs)?,
        };
        interface.initializer = inliner.initializer(meta.initializer())?;
        let lost = inliner.lost_effects()?;
        let mut steps = Vec::new();
        if inliner.calls() > 0 {
            let text = format!("{} calls of functions were inlined", inliner.calls());
            steps.push(Reason::new(codes::FUNCTIONS_INLINED, text));
        }
        let (count, given) = (inliner.constants.variables, inliner.constants.given());
        if let Some(prefix) = self.prefix.as_ref().filter(|_| count > 0) {
            let text = format!("{count} variables are constants with the values of `{}`", prefix.display());
            steps.push(Reason::new(codes::VARIABLES_FROZEN, text));
        }
        if given.variables > 0 {
            let text = format!("{} variables are constants with the values that were given", given.variables);
            steps.push(Reason::new(codes::VARIABLES_FROZEN, text));
        }
        if let Some(initializer) = &interface.initializer {
            let text = format!("lookup tables are empty until the node `{initializer}` has run");
            steps.push(Reason::new(codes::TABLES, text));
        }
        if !lost.is_empty() {
            let ops: Vec<String> = lost.iter().map(|(op, count)| format!("{count} {op}")).collect();
            let text = format!("what no output needs is not in the graph: {}", ops.join(", "));
            steps.push(Reason::new(codes::EFFECTS_LEFT_OUT, text));
        }
        let bytes = inliner.finish(&versions(graph, meta)?);
        let length = model.file().len() as u64 + bundle.map_or(0, Bundle::file_bytes) + given.bytes;
        let print = fingerprint(model, bundle, given.crc, length);
        tensors.extend(interface.outputs.iter().cloned());
        let names: BTreeSet<&str> = tensors.iter().map(Endpoint::node).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let whole = asked.whole && !model.is_in_memory();
        let of_model = whole.then(|| inliner.homes().map(|homes| (homes, inliner.assets()))).transpose()?;
        let path = (!model.is_in_memory()).then(|| model.path());
        let made = Graph::prepared(bytes, inliner.into_elsewhere(), path, (length, print))?;
        let more = if signature.is_some() { asked.outputs } else { &[] };
        let made = made.with_outputs(&names)?.with_outputs(more)?.made_by(steps, interface);
        let origin = of_model.and_then(|(homes, assets)| Some((self.origin(assets)?, homes)));
        match origin {
            Some((origin, homes)) => Ok(made.of_model(origin, Some(homes))),
            None => Ok(made),
        }
    }

    /// A training graph as it lies: its variables are what was trained. It was flat when it was made.
    fn trained(&self, asked: &Asked<'_>) -> Result<Graph, Error> {
        let Self { model, meta, .. } = self;
        let signature = model.signature(meta, asked.choice())?;
        let mut interface = signature.map(|(_, signature)| Interface::of(signature)).unwrap_or_default();
        interface.initializer = meta.initializer().map(str::to_owned);
        let outputs: Vec<Endpoint> = if asked.whole {
            meta.signatures().flat_map(|(_, signature)| Interface::of(signature).outputs).collect()
        } else {
            interface.outputs.clone()
        };
        let nodes: BTreeSet<&str> = outputs.iter().map(Endpoint::node).collect();
        let nodes: Vec<&str> = nodes.into_iter().collect();
        let assets = meta.assets()?;
        let named = |asset: &AssetFileDef| (node_of(asset.tensor_info.name()).to_owned(), asset.filename.clone());
        let assets = assets.iter().map(named).collect();
        // The graph by itself: its weights are elsewhere.
        let bytes = meta.graph.of(self.graph.bytes()).to_vec();
        let length = model.file().len() as u64;
        let known = (length, fingerprint(model, None, None, length));
        let path = (!model.is_in_memory()).then(|| model.path());
        let graph = Graph::prepared(bytes, Elsewhere::default(), path, known)?;
        let graph = graph.with_outputs(&nodes)?.with_outputs(asked.outputs)?.made_by(Vec::new(), interface);
        match self.origin(assets).filter(|_| !model.is_in_memory()) {
            Some(origin) => Ok(graph.of_model(origin, None)),
            None => Ok(graph),
        }
    }

    fn origin(&self, assets: Vec<(String, String)>) -> Option<Origin> {
        let (model, meta) = (Arc::clone(&self.model), self.meta.clone());
        Some(Origin { model, meta, checkpoint: self.prefix.clone()?, assets })
    }
}

impl<'a> Asked<'a> {
    pub(crate) fn choice(&self) -> Choice<'a> {
        Choice { tags: self.tags, signature: self.signature }
    }
}

/// The checkpoint with the variables; one that nobody named need not be there.
fn open_bundle(prefix: &Path, is_named: bool) -> Result<Option<Bundle>, Error> {
    if !is_named && Bundle::files(prefix).is_empty() {
        return Ok(None);
    }
    Bundle::open(prefix).map(Some)
}

fn no_outputs(model: &SavedModel) -> Error {
    let message = "the model has no signature that says what it computes".to_owned();
    let help =
        "name the nodes that it is run for with `--outputs`; `inspect` lists those that nothing reads".to_owned();
    model.in_own_file(ContainerError::Signature { message, help }.into())
}

/// GraphDef.versions = 4, as it stands there.
fn versions(graph: &Graph, meta: &MetaGraph) -> Result<Vec<u8>, Error> {
    let mut found = Vec::new();
    let mut walk = fields(graph.bytes(), meta.graph, "GraphDef");
    while let Some(field) = walk.next()? {
        if field.number == 4 {
            found.extend_from_slice(graph.bytes().get(field.span.clone()).unwrap_or_default());
        }
    }
    Ok(found)
}

/// Of the file with the graph, of the checkpoint's index, which has the checksums of all values, and of values that were given.
fn fingerprint(model: &SavedModel, bundle: Option<&Bundle>, given: Option<u32>, length: u64) -> String {
    let crc = crc32c::crc32c(model.file());
    let crc = bundle.map_or(crc, |bundle| crc32c::crc32c_append(crc, bundle.index_bytes()));
    let crc = given.map_or(crc, |given| crc32c::crc32c_append(crc, &given.to_le_bytes()));
    quant_math::ranges::fingerprint(crc, length)
}
