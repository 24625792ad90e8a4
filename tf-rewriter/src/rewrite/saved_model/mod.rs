//! A quantized model as a SavedModel again.
//!
//! ```text
//! baked                 ─▶ the folder as it is, with new values in its checkpoint        `baked`
//! packed, inference …   ─▶ one graph of constants with the model's signatures            `graph`
//! training, over 2 GiB  ─▶ the same, whose weights are variables in a checkpoint         `variables`
//! ```
//!
//! The folder is complete or absent as a whole, and may be the one that was read.

mod baked;
mod gaps;
mod graph;
mod nodes;
mod variables;

use std::fs;
use std::path::{Path, PathBuf};

use model_file::atomic::AtomicFolder;
use quant_math::Emit;
use quant_math::plan::Reason;
use quant_math::report::Report;

use crate::codes;
use crate::error::{ContainerError, Error};
use crate::graphdef::graph::Graph;
use crate::graphdef::saved_model::Origin;
use crate::rewrite::apply::Compressed;

pub use variables::WeightPlace;

/// How a SavedModel is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelOutput {
    /// Replace the SavedModel in a folder that is there and is not the input; its other files stay.
    pub force: bool,
    /// Where the weights are, for all forms but `baked` of a model as it was.
    pub weights: WeightPlace,
}

/// The parts of a SavedModel, by their names in its folder.
const PARTS: [&str; 8] = [
    "assets",
    "assets.extra",
    "debug",
    "fingerprint.pb",
    "keras_metadata.pb",
    "saved_model.pb",
    "saved_model.pbtxt",
    "variables",
];

impl Compressed {
    /// Write a SavedModel: a folder that is complete or not there. `baked` is the model as it was, its weights patched where they lie: all signatures
    /// and Python's objects stay. The other forms, and what was trained, are one graph with the model's signatures, assets and lookup tables, which
    /// every loader of TensorFlow reads; Python's objects are gone. Weights are constants of the graph where they fit there
    /// ([`WeightPlace`]). The folder may be the one that was read; any other that is there is replaced with `force` alone. Files in it that are no
    /// part of a SavedModel stay.
    ///
    /// # Errors
    /// A graph that was not opened with [`ModelOptions::whole`](crate::ModelOptions::whole); weights of `baked` that cannot change alone where
    /// they lie; a folder that is in the way; what the file system says.
    pub fn write_model(
        &self,
        folder: &Path,
        output: ModelOutput,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Report, Error> {
        self.write_folder(folder, output, progress).map_err(|error| error.in_file(folder))
    }

    /// Bytes of the SavedModel that it was made of, and of the one that [`write_model`](Self::write_model) writes; `None` for `baked`, and where
    /// weights are in a checkpoint.
    ///
    /// # Errors
    /// A graph that was not opened with [`ModelOptions::whole`](crate::ModelOptions::whole); a damaged model.
    pub fn model_lengths(&self, output: ModelOutput) -> Result<Option<(u64, u64)>, Error> {
        let Some(origin) = self.graph().origin().filter(|_| self.is_model() && self.plan().emit != Emit::Baked) else {
            return Ok(None);
        };
        let before = model_files(origin)?.iter().map(|path| length(path)).sum();
        Ok(graph::length(self, origin, output.weights)?.map(|after| (before, after)))
    }

    /// Bytes of the file that the graph was read from.
    pub fn length_before(&self) -> u64 {
        self.graph().file_len()
    }

    /// Whether it can be written as a SavedModel.
    pub fn is_model(&self) -> bool {
        self.graph().origin().is_some_and(|origin| origin.model.is_folder())
    }

    fn write_folder(
        &self,
        folder: &Path,
        output: ModelOutput,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Report, Error> {
        let origin = writable(self.graph(), folder, output)?;
        let place = AtomicFolder::create(folder)?;
        let homes = self.graph().homes().filter(|_| self.plan().emit == Emit::Baked);
        let mut report = if let Some(homes) = homes {
            baked::write(self, (origin, homes), place.path(), progress)?
        } else {
            let mut report = graph::write(self, origin, (place.path(), output.weights), progress)?;
            let text = "the model is one graph with its signatures: what Python made of it (`loaded(x)`, layers, training) is gone";
            report.prepared.push(Reason::new(codes::OBJECTS_LEFT_OUT, text));
            report
        };
        report.bytes_after = files_of(place.path())?.iter().map(|path| length(path)).sum();
        report.bytes_before = model_files(origin)?.iter().map(|path| length(path)).sum();
        self.graph().settled(Ok(()))?;
        place.persist(&is_part)?;
        Ok(report)
    }
}

impl Graph {
    /// Whether a SavedModel can be made of this graph in `folder`: what [`Compressed::write_model`] would say first, for who has long work to do
    /// before.
    ///
    /// # Errors
    /// A graph that was not opened with [`ModelOptions::whole`](crate::ModelOptions::whole); a folder that is in the way.
    pub fn check_model_output(&self, folder: &Path, output: ModelOutput) -> Result<(), Error> {
        writable(self, folder, output).map(drop).map_err(|error| error.in_file(folder))
    }
}

/// The model that the graph was made of, if one can be made of it in `folder`.
fn writable<'a>(graph: &'a Graph, folder: &Path, output: ModelOutput) -> Result<&'a Origin, Error> {
    let Some(origin) = graph.origin().filter(|origin| origin.model.is_folder()) else {
        return Err(Error::from(ContainerError::NoModel {
            found: "a graph that was not made of a whole SavedModel".into(),
            help: "open the SavedModel with all of its signatures, or write a GraphDef (.pb)".into(),
        }));
    };
    refuse_other(folder, origin, output.force).map(|()| origin)
}

/// Whether a path in a SavedModel's folder is a part of the model.
fn is_part(path: &Path) -> bool {
    let first = path.components().next().map(std::path::Component::as_os_str);
    first.is_some_and(|first| PARTS.iter().any(|part| first == *part))
}

/// A folder that is there and is not the model itself is somebody's.
fn refuse_other(target: &Path, origin: &Origin, force: bool) -> Result<(), Error> {
    let same = || matches!((target.canonicalize(), origin.model.path().canonicalize()), (Ok(a), Ok(b)) if a == b);
    let is_empty = || fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if !target.exists() || force || same() || is_empty() {
        return Ok(());
    }
    Err(Error::from(ContainerError::NoModel {
        found: "a folder that is there, and not the model that was read".into(),
        help: "name a folder that is not there, or replace the model in this one with `--force`; its other files stay"
            .into(),
    }))
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// All files below a folder.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    collect(folder, &mut Vec::new(), &mut found)?;
    found.sort();
    Ok(found)
}

/// The files below a folder, of which `above` are the ones that it is in, without links.
fn collect(folder: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let io = |source| Error::Io { action: "read a folder", source }.in_file(folder);
    let place = folder.canonicalize().map_err(io)?;
    if above.contains(&place) {
        let error = ContainerError::NoModel {
            found: "a link that leads back to a folder above it".into(),
            help: "take the link out of the model's folder".into(),
        };
        return Err(Error::from(error).in_file(folder));
    }
    above.push(place);
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        // Links are followed: the files of a hub's cache are some.
        if path.is_dir() { collect(&path, above, found)? } else { found.push(path) }
    }
    above.pop();
    Ok(())
}

/// The files of the model that was read.
fn model_files(origin: &Origin) -> Result<Vec<PathBuf>, Error> {
    let folder = origin.model.path();
    let files = files_of(folder)?;
    Ok(files.into_iter().filter(|path| path.strip_prefix(folder).is_ok_and(is_part)).collect())
}

/// Copy a file of the model to the same place in the new folder.
fn copy(path: &Path, from: &Path, to: &Path) -> Result<(), Error> {
    let Ok(inner) = path.strip_prefix(from) else { return Ok(()) };
    let place = to.join(inner);
    let io = |source| Error::Io { action: "copy a part of the model", source }.in_file(path);
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    fs::copy(path, &place).map_err(io).map(drop)
}
