//! One graph of constants with a model's signatures: the form of a SavedModel that every loader reads, TensorFlow 1's too.
//!
//! MetaGraphDef: meta_info_def = 1, graph_def = 2, collection_def = 4, signature_def = 5, asset_file_def = 6. There are no variables, so there is
//! no saver, and no objects, so there is no object graph: Python's loader then takes the signatures alone.

use std::io::Write;
use std::path::{Path, PathBuf};

use model_file::atomic::AtomicFile;
use protobuf::Message;
use quant_math::Emit;
use quant_math::report::Report;

use super::variables::{Variables, WeightPlace};
use super::{copy, files_of};
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{fields, node_of, payload};
use crate::graphdef::pb::{AssetFileDef, CollectionDef, TensorInfo, collection_def, meta_graph_def};
use crate::graphdef::saved_model::{Origin, SavedModel};
use crate::graphdef::wire::{put_bytes, put_tag, put_varint};
use crate::rewrite::apply::{Compressed, types_fit};

/// The collection that names what a loader runs first.
const MAIN_OP: &str = "saved_model_main_op";

/// Bytes of the files that [`write`] makes; `None` where weights are in a checkpoint.
pub(super) fn length(compressed: &Compressed, origin: &Origin, weights: WeightPlace) -> Result<Option<u64>, Error> {
    let after = after(origin, compressed.graph())?;
    let fits = compressed.len() + (after.len() as u64) < crate::graphdef::io::MAX_GRAPH_BYTES;
    if compressed.plan().emit == Emit::Training || weights == WeightPlace::Checkpoint || !fits {
        return Ok(None);
    }
    let (head, _) = head(origin, compressed.len(), after.len())?;
    let graph = head.len() as u64 + compressed.len() + after.len() as u64;
    let assets = assets(origin)?.iter().map(|asset| super::length(asset)).sum::<u64>();
    Ok(Some(graph + assets))
}

/// What stands before a graph of so many bytes, with so many behind it; and the length of the whole meta graph.
fn head(origin: &Origin, length: u64, after: usize) -> Result<(Vec<u8>, u64), Error> {
    let mut head = before(origin)?;
    put_tag(&mut head, 2, 2);
    put_varint(&mut head, length);
    let whole = head.len() as u64 + length + after as u64;
    // SavedModel: saved_model_schema_version = 1, meta_graphs = 2.
    let mut first = Vec::new();
    put_tag(&mut first, 1, 0);
    put_varint(&mut first, 1);
    put_tag(&mut first, 2, 2);
    put_varint(&mut first, whole);
    Ok(([first, head].concat(), whole))
}

/// The model's assets, which stay.
fn assets(origin: &Origin) -> Result<Vec<PathBuf>, Error> {
    let from = origin.model.path();
    let parts = ["assets", "assets.extra"].map(|name| from.join(name));
    let files = parts.iter().filter(|part| part.is_dir()).map(|part| files_of(part));
    Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Write the model's `saved_model.pb` and its assets into `folder`.
pub(super) fn write(
    compressed: &Compressed,
    origin: &Origin,
    (folder, weights): (&Path, WeightPlace),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Error> {
    let graph = compressed.graph();
    let after = after(origin, graph)?;
    let is_training = compressed.plan().emit == Emit::Training;
    let fits = compressed.len() + (after.len() as u64) < crate::graphdef::io::MAX_GRAPH_BYTES;
    let variables = if is_training || weights == WeightPlace::Checkpoint || !fits {
        Some(Variables::of(compressed, weights)?)
    } else {
        None
    };
    let saver = variables.as_ref().map(saver).unwrap_or_default();
    let after = [saver, after].concat();
    let length = variables.as_ref().map_or(compressed.len(), |variables| variables.graph.len() as u64);
    let (head, whole) = head(origin, length, after.len())?;
    crate::graphdef::io::check_length(whole)?;
    let path = folder.join("saved_model.pb");
    let mut file = AtomicFile::create(&path)?;
    file.write_all(&head).map_err(Error::writing)?;
    let report = match variables {
        None => compressed.write_with(&mut file, progress)?,
        Some(variables) => {
            file.write_all(&variables.graph).map_err(Error::writing)?;
            compressed.report(&variables.write(compressed, folder, progress)?)
        }
    };
    file.write_all(&after).map_err(Error::writing)?;
    read_back(file.path(), graph, length)?;
    file.persist()?;
    for asset in assets(origin)? {
        copy(&asset, origin.model.path(), folder)?;
    }
    Ok(report)
}

/// What saves and restores variables, and the lists of them: saver_def = 3, collection_def = 4.
fn saver(variables: &Variables) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(saver) = &variables.saver else { return out };
    // A message in memory without required fields always encodes.
    put_bytes(&mut out, 3, &saver.write_to_bytes().unwrap_or_default());
    for (key, value) in &variables.collections {
        out.extend(collection(key, value.clone()));
    }
    out
}

/// MetaGraphDef.collection_def = 4.
fn collection(key: &str, value: CollectionDef) -> Vec<u8> {
    let entry =
        meta_graph_def::CollectionDefEntry { key: key.to_owned(), value: Some(value).into(), ..Default::default() };
    let mut out = Vec::new();
    put_bytes(&mut out, 4, &entry.write_to_bytes().unwrap_or_default());
    out
}

/// What stands in front of the graph.
fn before(origin: &Origin) -> Result<Vec<u8>, Error> {
    let bytes = origin.model.bytes();
    let mut out = Vec::new();
    let mut walk = fields(bytes, origin.meta.body, "MetaGraphDef");
    while let Some(field) = walk.next()? {
        if field.number == 1 {
            out.extend_from_slice(bytes.get(field.span.clone()).unwrap_or_default());
        }
    }
    Ok(out)
}

/// What stands behind it: signatures as they were, assets that the graph still reads, and what fills its tables.
fn after(origin: &Origin, graph: &Graph) -> Result<Vec<u8>, Error> {
    let bytes = origin.model.bytes();
    let mut out = Vec::new();
    if let Some(initializer) = &graph.interface().initializer {
        let list = collection_def::NodeList { value: vec![initializer.clone()], ..Default::default() };
        let value = CollectionDef { kind: Some(collection_def::Kind::NodeList(list)), ..Default::default() };
        out.extend(collection(MAIN_OP, value));
    }
    let mut walk = fields(bytes, origin.meta.body, "MetaGraphDef");
    while let Some(field) = walk.next()? {
        if field.number != 5 {
            continue;
        }
        let entry = payload(&field, "MetaGraphDef.signature_def")?;
        let mut key = None;
        let mut inner = fields(bytes, entry, "SignatureDef");
        while let Some(part) = inner.next()? {
            if part.number == 1 {
                key = Some(payload(&part, "the key of a signature")?);
            }
        }
        // Those that loaders run by themselves name nodes that are not there any more.
        if !key.is_some_and(|key| key.text(bytes).starts_with("__saved_model_")) {
            out.extend_from_slice(bytes.get(field.span.clone()).unwrap_or_default());
        }
    }
    for (node, file) in &origin.assets {
        let mut tensor = TensorInfo::new();
        tensor.set_name(format!("{node}:0"));
        let asset = AssetFileDef { tensor_info: Some(tensor).into(), filename: file.clone(), ..Default::default() };
        put_bytes(&mut out, 6, &asset.write_to_bytes().unwrap_or_default());
    }
    Ok(out)
}

/// What was written is a model again, whose edges fit, and every tensor of a signature is there.
fn read_back(path: &Path, graph: &Graph, length: u64) -> Result<(), Error> {
    let wrong = |message: String| Error::Verify { message };
    let written = SavedModel::open(path)?.ok_or_else(|| wrong("what was written is no SavedModel".to_owned()))?;
    let [meta] = written.meta_graphs() else { return Err(wrong("what was written has no meta graph".to_owned())) };
    if meta.graph.len() as u64 != length {
        return Err(wrong(format!("a graph of {} bytes was written, and not {length}", meta.graph.len())));
    }
    let made = Graph::of_meta(written.file(), written.binary(), meta.graph)?;
    types_fit(&made, graph)?;
    for (key, signature) in meta.signatures() {
        for entry in signature.inputs.iter().chain(&signature.outputs) {
            let name = entry.value.name();
            let node = node_of(name);
            if !name.is_empty() && made.named(node).is_none() {
                return Err(wrong(format!(
                    "signature `{key}` names `{name}`, which is not in the graph that was written"
                )));
            }
        }
    }
    Ok(())
}
