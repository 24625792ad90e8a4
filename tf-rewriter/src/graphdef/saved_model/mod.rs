//! SavedModels and MetaGraphs: where their files are, and which meta graph and signature is meant.
//!
//! ```text
//! FOLDER/saved_model.pb | .pbtxt       MetaGraphs by tags ─▶ GraphDef, signatures, saver, object graph
//! FOLDER/variables/variables.index …   a checkpoint (`bundle`)
//! PREFIX.meta                          one MetaGraph; its checkpoint is PREFIX
//! ```

mod choice;
mod meta_graph;
mod origin;
mod tensors;

use std::path::{Path, PathBuf};

use model_file::Format;

use crate::error::{ContainerError, Error};
use crate::graphdef::index::{Span, fields, payload};
use crate::graphdef::io::{self, Form, Mapped};
use crate::graphdef::text::{Root, parse_as};

pub(crate) use choice::Choice;
pub(crate) use meta_graph::MetaGraph;
pub(crate) use origin::{Home, Homes, Key, Origin};
pub(crate) use tensors::tensors;

/// A SavedModel, or the MetaGraph of a checkpoint.
#[derive(Debug)]
pub(crate) struct SavedModel {
    /// The folder of a SavedModel, the file of another; empty where the model is in memory.
    path: PathBuf,
    file: Mapped,
    /// The binary form of what is written as text.
    binary: Option<Vec<u8>>,
    meta_graphs: Vec<MetaGraph>,
    kind: Kind,
}

/// What a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SavedModel,
    MetaGraph,
    /// A GraphDef by itself.
    GraphDef,
}

impl SavedModel {
    /// Open the folder of a SavedModel, its `saved_model.pb` or `saved_model.pbtxt`, or a `.meta` file. `None` for a file of another kind, and for
    /// a folder that holds no model.
    ///
    /// # Errors
    /// A damaged file, or a SavedModel in a form that is not read.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let Some(file_path) = file_of(path)? else { return Ok(None) };
        // A pipe gives its bytes once, and a model of several files cannot come through one. What is not there is told by whoever opens it as a graph.
        if !file_path.is_file() {
            return Ok(None);
        }
        let file = Mapped::open(&file_path, u64::MAX)?;
        let opened = Self::read(path, &file_path, &file);
        file.settled(opened).map_err(|error| error.in_file(&file_path))
    }

    /// A GraphDef as the graph of a model whose variables are in a checkpoint.
    ///
    /// # Errors
    /// A file of another kind, or a damaged one.
    pub(crate) fn of_graph(path: &Path) -> Result<Self, Error> {
        let (file, form) = io::open(path)?;
        file.settled(Self::read_graph(path, &file, form)).map_err(|error| error.in_file(path))
    }

    /// A SavedModel, a MetaGraph or a GraphDef whose bytes are in memory.
    ///
    /// # Errors
    /// Bytes of another kind, or damaged ones.
    pub(crate) fn in_memory(bytes: Vec<u8>) -> Result<Self, Error> {
        io::check_length(bytes.len() as u64)?;
        let (nowhere, file) = (Path::new(""), Mapped::in_memory(bytes));
        match Self::read(nowhere, nowhere, &file)? {
            Some(model) => Ok(model),
            None => Self::read_graph(nowhere, &file, io::detect(&file)?),
        }
    }

    fn read_graph(path: &Path, file: &Mapped, form: Form) -> Result<Self, Error> {
        let binary = match form {
            Form::Binary => None,
            Form::Text => Some(crate::graphdef::text::parse(file)?),
        };
        let whole = Span::new(0, binary.as_deref().unwrap_or(file).len());
        let meta_graphs = vec![MetaGraph::of_graph(whole)];
        Ok(Self { path: path.to_owned(), file: file.clone(), binary, meta_graphs, kind: Kind::GraphDef })
    }

    fn read(path: &Path, file_path: &Path, file: &Mapped) -> Result<Option<Self>, Error> {
        let (root, form) = match Format::of(file) {
            Format::SavedModel(form) => (Root::SavedModel, form),
            Format::MetaGraph(form) => (Root::MetaGraph, form),
            _ => return Ok(None),
        };
        io::check_length(file.len() as u64)?;
        let binary = match form {
            Form::Binary => None,
            Form::Text => Some(parse_as(file, root)?),
        };
        let bytes = binary.as_deref().unwrap_or(file);
        let whole = Span::new(0, bytes.len());
        let (kind, meta_graphs) = match root {
            Root::SavedModel => (Kind::SavedModel, meta_graphs(bytes, whole)?),
            _ => (Kind::MetaGraph, vec![MetaGraph::read(bytes, whole)?]),
        };
        let folder = || file_path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = if kind == Kind::SavedModel && path.is_file() { folder().to_owned() } else { path.to_owned() };
        let file = file.clone();
        Ok(Some(Self { path, file, binary, meta_graphs, kind }))
    }

    /// The folder of a SavedModel, or the file of another; empty where the model is in memory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it is, and in which form.
    pub(crate) fn format(&self) -> String {
        format!("{:?} ({})", self.kind, if self.binary.is_some() { "text" } else { "binary" })
    }

    /// The folder with its assets; of a model in memory nobody knows where they are.
    pub(crate) fn assets(&self) -> PathBuf {
        if self.is_in_memory() { PathBuf::new() } else { self.path.join("assets") }
    }

    /// `result`, which was made from its bytes: an error where the file has changed meanwhile, whatever else was found.
    pub(crate) fn settled<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.file.settled(result).map_err(|error| self.in_own_file(error))
    }

    /// The error, known to be about this model.
    pub(crate) fn in_own_file(&self, error: Error) -> Error {
        if self.is_in_memory() { error } else { error.in_file(&self.path) }
    }

    /// Whether its bytes are of no file.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.path.as_os_str().is_empty()
    }

    /// Whether it is a GraphDef by itself.
    pub(crate) fn is_graph(&self) -> bool {
        self.kind == Kind::GraphDef
    }

    /// The file with the graphs, as it lies there.
    pub(crate) fn file(&self) -> &Mapped {
        &self.file
    }

    /// The binary form, where the file is text.
    pub(crate) fn binary(&self) -> Option<&[u8]> {
        self.binary.as_deref()
    }

    /// Whether it is the folder of a SavedModel.
    pub(crate) fn is_folder(&self) -> bool {
        self.kind == Kind::SavedModel && !self.is_in_memory()
    }

    /// The binary form of the file with the graphs.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.binary.as_deref().unwrap_or(&self.file)
    }

    /// All meta graphs, in the order of the file.
    pub(crate) fn meta_graphs(&self) -> &[MetaGraph] {
        &self.meta_graphs
    }

    /// The prefix of the checkpoint with its variables, which need not be there; `None` for a model in memory.
    pub(crate) fn checkpoint(&self) -> Option<PathBuf> {
        if self.is_in_memory() {
            return None;
        }
        if self.is_folder() {
            return Some(self.path.join("variables").join("variables"));
        }
        // A file may be called `.meta` alone: its checkpoint's files begin with nothing.
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = self.path.parent().unwrap_or(Path::new(""));
        Some(folder.join(name.strip_suffix(".meta").unwrap_or(&name)))
    }
}

/// The file that holds the graphs of what is at `path`.
fn file_of(path: &Path) -> Result<Option<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(Some(path.to_owned()));
    }
    // As TensorFlow has it: the binary form counts where both are there.
    let found =
        ["saved_model.pb", "saved_model.pbtxt"].map(|name| path.join(name)).into_iter().find(|file| file.is_file());
    if found.is_none() && path.join("saved_model.cpb").is_file() {
        return Err(Error::from(ContainerError::NoModel {
            found: "a SavedModel in chunks (saved_model.cpb), which no loader of TensorFlow 2.21 reads either".into(),
            help:
                "save the model again without chunks: `experimental_image_format=False` in tf.saved_model.SaveOptions"
                    .into(),
        })
        .in_file(path));
    }
    Ok(found)
}

/// SavedModel: meta_graphs = 2.
fn meta_graphs(bytes: &[u8], model: Span) -> Result<Vec<MetaGraph>, Error> {
    let mut found = Vec::new();
    let mut walk = fields(bytes, model, "SavedModel");
    while let Some(field) = walk.next()? {
        if field.number == 2 {
            found.push(MetaGraph::read(bytes, payload(&field, "SavedModel.meta_graphs")?)?);
        }
    }
    Ok(found)
}
