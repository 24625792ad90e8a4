//! What is in the files of a model besides its graph: meta graphs, signatures, assets, lookup tables, variables. No values are read.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use quant_math::inspection::{Inspection, Port};
use serde::Serialize;

use crate::error::Error;
use crate::find::ops::{is_input, is_table, is_variable};
use crate::graphdef::bundle::Bundle;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, node_of};
use crate::graphdef::pb::signature_def::TensorInfoEntry;
use crate::graphdef::pb::{DataType, SignatureDef, TensorShapeProto};
use crate::graphdef::saved_model::{Choice, MetaGraph, SavedModel, tensors};
use crate::graphdef::tensor::dtype_name;
use crate::prepare::Parts;

/// What is in a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The files around the graph; nothing for a GraphDef by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The flat graph, whose weights are the sites.
    #[serde(flatten)]
    pub graph: Option<Inspection>,
    /// Why there is no flat graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_flat: Option<NotFlat>,
}

/// Why a model has no flat graph, as [`Graph::open_model`] tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NotFlat {
    /// The error's code.
    pub code: String,
    /// What was found.
    pub message: String,
    /// The way out, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl From<&Error> for NotFlat {
    fn from(error: &Error) -> Self {
        let help = error.help().map(std::borrow::Cow::into_owned);
        Self { code: error.code().to_owned(), message: error.to_string(), help }
    }
}

/// A SavedModel, a MetaGraph, or a GraphDef with its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Container {
    /// What it is, for example `SavedModel (binary)`.
    pub format: String,
    /// All meta graphs, in the order of the file.
    pub meta_graphs: Vec<MetaGraphInfo>,
    /// The checkpoint, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointInfo>,
    /// Where the meta graph that is meant has no signature: the placeholders of its main graph.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Port>,
    /// Where the meta graph that is meant has no signature: the nodes of its main graph that a user would fetch of those that nothing reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Port>,
    /// The variables of the meta graph that is meant, in its order.
    pub variables: Vec<VariableInfo>,
    /// The lookup tables of the meta graph that is meant, in its order.
    pub tables: Vec<TableInfo>,
}

/// A meta graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MetaGraphInfo {
    /// Its tag set.
    pub tags: Vec<String>,
    /// Whether it is the one that is meant.
    pub chosen: bool,
    /// The version of TensorFlow that wrote it, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensorflow_version: Option<String>,
    /// Its signatures, sorted by key.
    pub signatures: Vec<SignatureInfo>,
    /// The files that it needs.
    pub assets: Vec<AssetInfo>,
    /// The op that a loader runs first, which fills lookup tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_op: Option<String>,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SignatureInfo {
    /// Its key.
    pub key: String,
    /// Whether it is the one that is run.
    pub chosen: bool,
    /// What it is for, as TensorFlow Serving knows it; may be empty.
    pub method_name: String,
    /// What is fed, sorted by key.
    pub inputs: Vec<SignatureTensor>,
    /// What is fetched, sorted by key.
    pub outputs: Vec<SignatureTensor>,
}

/// An input or an output of a signature. A sparse or composite one is several, `KEY/PART`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SignatureTensor {
    /// Its key.
    pub key: String,
    /// What the main graph calls it: `node:port`.
    pub tensor: String,
    /// Its element type.
    pub dtype: String,
    /// Its shape; −1 is open. Nothing where even the rank is.
    pub shape: Option<Vec<i64>>,
}

/// A file that a meta graph needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AssetInfo {
    /// Its name in the folder `assets`.
    pub file: String,
    /// The tensor that is its path.
    pub tensor: String,
    /// Its length; nothing where it is missing.
    pub bytes: Option<u64>,
}

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckpointInfo {
    /// What the names of its files begin with.
    pub prefix: String,
    /// Its data files, by their names.
    pub files: Vec<DataFile>,
    /// The tensors that no variable of the meta graph reads, by their keys.
    pub unread: Vec<String>,
}

/// A data file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DataFile {
    /// Its name.
    pub file: String,
    /// Its length.
    pub bytes: u64,
}

/// A variable of the main graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VariableInfo {
    /// The name of its node.
    pub name: String,
    /// Its element type, of its value or as the node says it.
    pub dtype: Option<String>,
    /// Its shape, of its value or as the node says it; −1 is open.
    pub shape: Option<Vec<i64>>,
    /// The tensor of the checkpoint that is its value, as the model's restore op or objects say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The part of that tensor, as `RestoreV2` names it, where it is not the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// Another tensor with the same value, which Python's loader reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_key: Option<String>,
    /// Whether an output of a signature needs it; where there is none, an output of the graph.
    pub needed: bool,
    /// The asset whose path it holds, where it is one that is in no checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    /// Bytes of its value; nothing where the checkpoint has none.
    pub bytes: Option<u64>,
    /// The data files that hold them.
    pub files: Vec<String>,
}

impl VariableInfo {
    /// Whether it has a value: in the checkpoint, or as the path of an asset.
    pub fn has_value(&self) -> bool {
        self.bytes.is_some() || self.asset.is_some()
    }
}

/// A lookup table of the main graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableInfo {
    /// The name of its node.
    pub name: String,
    /// Its op.
    pub op: String,
    /// The element type of its keys.
    pub key_dtype: Option<String>,
    /// The element type of its values.
    pub value_dtype: Option<String>,
}

impl Container {
    /// What is around the graph of a model; of `parts`, the meta graph that is meant, where there is one.
    ///
    /// # Errors
    /// Damaged parts.
    pub(crate) fn of(model: &SavedModel, choice: Choice<'_>, parts: Option<&Parts>) -> Result<Self, Error> {
        model.settled(Self::found(model, choice, parts))
    }

    fn found(model: &SavedModel, choice: Choice<'_>, parts: Option<&Parts>) -> Result<Self, Error> {
        let chosen = parts.map(|parts| parts.meta.body);
        let of_meta = |meta: &MetaGraph| meta_graph(model, meta, (choice, chosen == Some(meta.body)));
        let mut found = Self {
            format: model.format(),
            meta_graphs: model.meta_graphs().iter().map(of_meta).collect::<Result<_, _>>()?,
            checkpoint: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            variables: Vec::new(),
            tables: Vec::new(),
        };
        let Some(parts) = parts else { return Ok(found) };
        let graph = &parts.graph;
        let main = || graph.all_nodes().take_while(|id| id.scope == 0);
        let signed: Vec<NodeId> =
            parts.meta.signatures().flat_map(|(_, signature)| outputs(graph, signature)).collect();
        let is_signed = parts.meta.signatures().next().is_some();
        let ends = if is_signed { signed } else { main().filter(|id| graph.is_sink(*id)).collect() };
        let needed = graph.needed(ends.iter().copied());
        if !is_signed {
            found.outputs = ends.iter().map(|id| graph.port(*id)).collect::<Result<_, _>>()?;
        }
        for id in main() {
            let op = graph.op(id);
            if !is_signed && is_input(op) {
                found.inputs.push(graph.port(id)?);
            }
            if is_variable(op) {
                found.variables.push(variable(parts, id, needed.contains(&id.node))?);
            } else if is_table(op) {
                found.tables.push(table(graph, id)?);
            }
        }
        found.checkpoint = parts.bundle.as_ref().map(|bundle| checkpoint(bundle, &found.variables));
        Ok(found)
    }
}

fn meta_graph(
    model: &SavedModel,
    meta: &MetaGraph,
    (choice, chosen): (Choice<'_>, bool),
) -> Result<MetaGraphInfo, Error> {
    // Where none is meant, all are shown.
    let run = if chosen { model.signature(meta, choice).ok().flatten().map(|(key, _)| key) } else { None };
    let version = &meta.info.tensorflow_version;
    let folder = model.assets();
    let asset = |file: String, tensor: &str| {
        let bytes = length_in(&folder, &file);
        AssetInfo { tensor: tensor.to_owned(), bytes, file }
    };
    Ok(MetaGraphInfo {
        tags: meta.tags().to_vec(),
        chosen,
        tensorflow_version: (!version.is_empty()).then(|| version.clone()),
        signatures: meta.signatures().map(|(key, found)| signature(key, found, run == Some(key))).collect(),
        assets: meta.assets()?.into_iter().map(|found| asset(found.filename, found.tensor_info.name())).collect(),
        init_op: meta.initializer().map(str::to_owned),
    })
}

/// The length of a file in `folder`; a name that leads out of it is not looked for.
fn length_in(folder: &Path, name: &str) -> Option<u64> {
    let name = Path::new(name);
    if !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    std::fs::metadata(folder.join(name)).ok().filter(std::fs::Metadata::is_file).map(|found| found.len())
}

fn signature(key: &str, found: &SignatureDef, chosen: bool) -> SignatureInfo {
    let side = |entries: &[TensorInfoEntry]| {
        let tensors = tensors(entries).into_iter().map(|(key, info)| SignatureTensor {
            key,
            tensor: info.name().to_owned(),
            dtype: dtype_name(info.dtype.value()).into_owned(),
            shape: info.tensor_shape.as_ref().and_then(dims),
        });
        tensors.collect()
    };
    SignatureInfo {
        key: key.to_owned(),
        chosen,
        method_name: found.method_name.clone(),
        inputs: side(&found.inputs),
        outputs: side(&found.outputs),
    }
}

fn dims(shape: &TensorShapeProto) -> Option<Vec<i64>> {
    (!shape.unknown_rank).then(|| shape.dim.iter().map(|dim| dim.size).collect())
}

/// The nodes of the main graph that a signature's outputs are results of.
fn outputs(graph: &Graph, signature: &SignatureDef) -> Vec<NodeId> {
    let tensors = tensors(&signature.outputs).into_iter();
    let nodes = tensors.filter_map(|(_, info)| graph.named(node_of(info.name())));
    nodes.filter(|id| id.scope == 0).collect()
}

fn variable(parts: &Parts, id: NodeId, needed: bool) -> Result<VariableInfo, Error> {
    let Parts { graph, variables, bundle, .. } = parts;
    let key = variables.key(id.node);
    let located = match key.zip(bundle.as_ref()) {
        Some((key, bundle)) => bundle.locate(&key.name, &key.slice)?,
        None => None,
    };
    let asset = variables.assets.get(&id.node).and_then(|placeholder| variables.asset_files.get(&placeholder.node));
    let asset = asset.map(|path| {
        let path = Path::new(path);
        path.strip_prefix(parts.model.assets()).unwrap_or(path).display().to_string()
    });
    let mut found = VariableInfo {
        name: graph.name(id).to_owned(),
        dtype: dtype_of(graph, id, "dtype")?,
        shape: graph.shape_attr(id)?,
        key: key.map(|key| key.name.clone()),
        slice: key.map(|key| key.slice.clone()).filter(|slice| !slice.is_empty()),
        second_key: variables.second(id.node).map(|key| key.name.clone()),
        needed,
        asset,
        bytes: None,
        files: Vec::new(),
    };
    if let Some(located) = located {
        found.dtype = Some(named(located.dtype));
        found.shape = Some(located.shape.iter().map(|dim| dim.cast_signed()).collect());
        found.bytes = Some(located.bytes);
        found.files = located.files.iter().map(|path| file_name(path)).collect();
    }
    Ok(found)
}

fn table(graph: &Graph, id: NodeId) -> Result<TableInfo, Error> {
    Ok(TableInfo {
        name: graph.name(id).to_owned(),
        op: String::from_utf8_lossy(graph.op(id)).into_owned(),
        key_dtype: dtype_of(graph, id, "key_dtype")?,
        value_dtype: dtype_of(graph, id, "value_dtype")?,
    })
}

fn checkpoint(bundle: &Bundle, variables: &[VariableInfo]) -> CheckpointInfo {
    let keys = variables.iter().flat_map(|found| [&found.key, &found.second_key]).flatten();
    let read: BTreeSet<&str> = keys.map(String::as_str).collect();
    let unread = bundle.names().filter(|name| !read.contains(name)).map(str::to_owned).collect();
    let files = bundle.data_files().map(|(path, bytes)| DataFile { file: file_name(path), bytes }).collect();
    CheckpointInfo { prefix: bundle.prefix().display().to_string(), files, unread }
}

fn dtype_of(graph: &Graph, id: NodeId, key: &str) -> Result<Option<String>, Error> {
    let number = graph.index().node(id).map(|node| node.attr_type(graph.bytes(), key)).transpose()?.flatten();
    Ok(number.and_then(|number| i32::try_from(number).ok()).map(|number| dtype_name(number).into_owned()))
}

fn named(dtype: DataType) -> String {
    dtype_name(dtype as i32).into_owned()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
