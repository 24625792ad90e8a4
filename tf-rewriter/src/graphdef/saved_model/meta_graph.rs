//! A MetaGraphDef: a graph, and what belongs to it. The graph itself stays where it lies; what stands beside it is small and is decoded.

use std::collections::BTreeSet;

use protobuf::Message;

use crate::error::{At, Error};
use crate::graphdef::index::{Span, fields, node_of, payload};
use crate::graphdef::pb::meta_graph_def::{CollectionDefEntry, MetaInfoDef, SignatureDefEntry};
use crate::graphdef::pb::{AssetFileDef, CollectionDef, SavedObjectGraph, SaverDef, SignatureDef, collection_def};

/// The initializer of a TF2 model: a signature with one output of this name.
const INIT_SIGNATURE: &str = "__saved_model_init_op";
/// The collections that name the initializer of a TF1 model.
const INIT_COLLECTIONS: [&str; 2] = ["saved_model_main_op", "legacy_init_op"];
/// Where models of TF1 list what training changes.
const TRAINABLE: &str = "trainable_variables";
/// Where models of TF1 list their assets, besides `asset_file_def`.
const ASSETS: &str = "saved_model_assets";

/// A meta graph of a SavedModel, or that of a `.meta` file.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetaGraph {
    /// The MetaGraphDef in its file.
    pub(crate) body: Span,
    /// The GraphDef in its file.
    pub(crate) graph: Span,
    /// What it is for, and what wrote it.
    pub(crate) info: MetaInfoDef,
    /// How its variables are saved and restored.
    pub(crate) saver: Option<SaverDef>,
    /// In the order of the file.
    signatures: Vec<(String, SignatureDef)>,
    collections: Vec<(String, CollectionDef)>,
    assets: Vec<AssetFileDef>,
    objects: Span,
}

impl MetaGraph {
    /// A GraphDef by itself.
    pub(super) fn of_graph(graph: Span) -> Self {
        Self { body: graph, graph, ..Self::default() }
    }

    /// The MetaGraphDef at `body`.
    ///
    /// # Errors
    /// A damaged message.
    pub(super) fn read(bytes: &[u8], body: Span) -> Result<Self, Error> {
        let mut found = Self { body, ..Self::default() };
        let mut walk = fields(bytes, body, "MetaGraphDef");
        while let Some(field) = walk.next()? {
            let span = match field.number {
                1..=7 => payload(&field, "a field of MetaGraphDef")?,
                _ => continue,
            };
            match field.number {
                1 => found.info = message(bytes, span, "MetaInfoDef")?,
                2 => found.graph = span,
                3 => found.saver = Some(message(bytes, span, "SaverDef")?),
                4 => {
                    let entry: CollectionDefEntry = message(bytes, span, "CollectionDef")?;
                    found.collections.push((entry.key, entry.value.unwrap_or_default()));
                }
                5 => {
                    let entry: SignatureDefEntry = message(bytes, span, "SignatureDef")?;
                    found.signatures.push((entry.key, entry.value.unwrap_or_default()));
                }
                6 => found.assets.push(message(bytes, span, "AssetFileDef")?),
                _ => found.objects = span,
            }
        }
        // A map has one value for a key, the last one, whatever its order in the file.
        found.signatures.sort_by(|(a, _), (b, _)| a.cmp(b));
        found.signatures.reverse();
        found.signatures.dedup_by(|(a, _), (b, _)| a == b);
        found.signatures.reverse();
        Ok(found)
    }

    /// What it is for: `serve`, `train`, `gpu`.
    pub(crate) fn tags(&self) -> &[String] {
        &self.info.tags
    }

    /// The signatures that a caller can ask for, sorted by their keys.
    pub(crate) fn signatures(&self) -> impl Iterator<Item = (&str, &SignatureDef)> {
        let own = self.signatures.iter().filter(|(key, _)| !key.starts_with("__saved_model_"));
        own.map(|(key, signature)| (key.as_str(), signature))
    }

    /// The variables that training changes, by their nodes' names, as a model of TF1 lists them.
    pub(crate) fn trainable_variables(&self) -> BTreeSet<String> {
        let list = self.collections.iter().find(|(key, _)| key == TRAINABLE).and_then(|(_, found)| found.kind.as_ref());
        let Some(collection_def::Kind::BytesList(list)) = list else { return BTreeSet::new() };
        // VariableDef: variable_name = 1, `node:0`
        let name = |bytes: &Vec<u8>| {
            let mut walk = fields(bytes, Span::new(0, bytes.len()), "VariableDef");
            let field = walk.next().ok().flatten().filter(|field| field.number == 1)?;
            let name = payload(&field, "VariableDef.variable_name").ok()?;
            Some(node_of(name.text(bytes)).to_owned())
        };
        list.value.iter().filter_map(name).collect()
    }

    /// The objects that Python made of the model; empty for a model of TF1.
    ///
    /// # Errors
    /// A damaged message.
    pub(crate) fn objects(&self, bytes: &[u8]) -> Result<SavedObjectGraph, Error> {
        message(bytes, self.objects, "SavedObjectGraph")
    }

    /// Whether Python's own loader makes objects of it.
    pub(crate) fn has_objects(&self) -> bool {
        self.objects.len() > 0
    }

    /// The node that has to run before anything else, for lookup tables.
    pub(crate) fn initializer(&self) -> Option<&str> {
        let of_signature = || {
            let (_, signature) = self.signatures.iter().find(|(key, _)| key == INIT_SIGNATURE)?;
            signature.outputs.first().map(|output| output.value.name())
        };
        let named = |key: &str| {
            let (_, collection) = self.collections.iter().find(|(known, _)| known == key)?;
            let Some(collection_def::Kind::NodeList(list)) = &collection.kind else { return None };
            list.value.first().map(String::as_str)
        };
        let found = of_signature().or_else(|| INIT_COLLECTIONS.iter().find_map(|key| named(key)))?;
        Some(node_of(found)).filter(|name| !name.is_empty())
    }

    /// The files that its constants and placeholders name: the tensor, and the file in the folder `assets`.
    ///
    /// # Errors
    /// A damaged message.
    pub(crate) fn assets(&self) -> Result<Vec<AssetFileDef>, Error> {
        if !self.assets.is_empty() {
            return Ok(self.assets.clone());
        }
        let collection = self.collections.iter().find(|(key, _)| key == ASSETS);
        let Some(collection_def::Kind::AnyList(list)) = collection.and_then(|(_, found)| found.kind.as_ref()) else {
            return Ok(Vec::new());
        };
        list.value.iter().map(|any| decoded(&any.value, self.body.start(), "AssetFileDef")).collect()
    }
}

/// The message that lies at `span`.
fn message<M: Message>(bytes: &[u8], span: Span, what: &'static str) -> Result<M, Error> {
    decoded(span.of(bytes), span.start(), what)
}

fn decoded<M: Message>(bytes: &[u8], offset: usize, what: &'static str) -> Result<M, Error> {
    M::parse_from_bytes(bytes).map_err(|error| Error::Wire {
        what: what.into(),
        found: error.to_string().into(),
        expected: format!("a {what}").into(),
        at: At::offset(offset),
    })
}
