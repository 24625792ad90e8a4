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
    /// The folder of a SavedModel, the `.meta` file of a MetaGraph.
    path: PathBuf,
    file: Mapped,
    /// The binary form of what is written as text.
    binary: Option<Vec<u8>>,
    meta_graphs: Vec<MetaGraph>,
    is_folder: bool,
    /// Whether it is a GraphDef by itself.
    is_graph: bool,
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
        let binary = match form {
            Form::Binary => Ok(None),
            Form::Text => crate::graphdef::text::parse(&file).map(Some),
        };
        let binary = file.settled(binary).map_err(|error| error.in_file(path))?;
        let whole = Span::new(0, binary.as_deref().unwrap_or(&file).len());
        let meta_graphs = vec![MetaGraph::of_graph(whole)];
        Ok(Self { path: path.to_owned(), file, binary, meta_graphs, is_folder: false, is_graph: true })
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
        let is_folder = root == Root::SavedModel;
        let meta_graphs = if is_folder { meta_graphs(bytes, whole)? } else { vec![MetaGraph::read(bytes, whole)?] };
        let folder = || file_path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = if is_folder && path.is_file() { folder().to_owned() } else { path.to_owned() };
        let file = file.clone();
        Ok(Some(Self { path, file, binary, meta_graphs, is_folder, is_graph: false }))
    }

    /// The folder of a SavedModel, or the `.meta` file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it is, and in which form.
    pub(crate) fn format(&self) -> String {
        let kind = match (self.is_folder, self.is_graph) {
            (true, _) => "SavedModel",
            (false, true) => "GraphDef",
            (false, false) => "MetaGraph",
        };
        format!("{kind} ({})", if self.binary.is_some() { "text" } else { "binary" })
    }

    /// The folder with its assets.
    pub(crate) fn assets(&self) -> PathBuf {
        self.path.join("assets")
    }

    /// `result`, which was made from its bytes: an error where the file has changed meanwhile, whatever else was found.
    pub(crate) fn settled<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.file.settled(result).map_err(|error| error.in_file(&self.path))
    }

    /// The file with the graphs, as it lies there.
    pub(crate) fn file(&self) -> &Mapped {
        &self.file
    }

    /// The binary form, where the file is text.
    pub(crate) fn binary(&self) -> Option<&[u8]> {
        self.binary.as_deref()
    }

    /// Whether it is a SavedModel; else it is a graph, or a MetaGraph by itself.
    pub(crate) fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// The binary form of the file with the graphs.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.binary.as_deref().unwrap_or(&self.file)
    }

    /// All meta graphs, in the order of the file.
    pub(crate) fn meta_graphs(&self) -> &[MetaGraph] {
        &self.meta_graphs
    }

    /// The prefix of the checkpoint with its variables, which need not be there.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        if self.is_folder {
            return self.path.join("variables").join("variables");
        }
        // A file may be called `.meta` alone: its checkpoint's files begin with nothing.
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = self.path.parent().unwrap_or(Path::new(""));
        folder.join(name.strip_suffix(".meta").unwrap_or(&name))
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
