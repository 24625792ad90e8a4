//! A model, from any of the files that people have.

use std::path::{Path, PathBuf};

use crate::error::{ContainerError, Error};
use crate::graphdef::graph::Graph;
use crate::graphdef::saved_model::SavedModel;
use crate::prepare::{Asked, Names, prepare};

/// What is meant of a model that holds several things, and where its variables are.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ModelOptions {
    /// The tags of the meta graph. Without: the only one, else the one for `serve` alone, else the one with `serve` among its tags.
    pub tags: Option<Vec<String>>,
    /// The signature that is run. Without: `serving_default`, else the only one.
    pub signature: Option<String>,
    /// Nodes that are fetched although others read them; where there is no signature, what the model is run for.
    pub outputs: Vec<String>,
    /// Leave out what none of `outputs` needs.
    pub only_outputs: bool,
    /// The checkpoint with the values of the variables, where it is not the model's own.
    pub checkpoint: Option<PathBuf>,
    /// Take a variable's moving average (`tf.train.ExponentialMovingAverage`), where the checkpoint has one.
    pub averages: bool,
    /// Whose names the nodes of a SavedModel's graph have.
    pub names: Names,
    /// All signatures of a SavedModel's meta graph, so that a SavedModel can be written ([`Compressed::write_model`](crate::Compressed::write_model)).
    pub whole: bool,
}

impl Graph {
    /// Open a model as one flat graph: a GraphDef (`.pb`, `.pbtxt`), a SavedModel (its folder, or its `saved_model.pb`), or a MetaGraph (`.meta`)
    /// beside its checkpoint. Calls of functions are inlined and variables are constants, whose values stay in the checkpoint until the graph is
    /// written.
    ///
    /// # Errors
    /// What is no model, or a damaged one; several meta graphs or signatures of which none is meant; what cannot be frozen
    /// ([`ContainerError::Freeze`]).
    pub fn open_model(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        let graph = match SavedModel::open(path)? {
            Some(model) => prepare(model, &options.asked())?,
            None => Self::open_plain(path, options)?,
        };
        if options.only_outputs { graph.only_outputs().map_err(|error| error.in_file(path)) } else { Ok(graph) }
    }

    /// A GraphDef. One with variables can be given the checkpoint that they are in.
    fn open_plain(path: &Path, options: &ModelOptions) -> Result<Self, Error> {
        let unused = [
            ("tags", options.tags.is_some(), "a GraphDef has no meta graphs"),
            ("signature", options.signature.is_some(), "a GraphDef has no signatures"),
            (
                "averages",
                options.averages && options.checkpoint.is_none(),
                "moving averages are in a checkpoint, and none is given",
            ),
        ];
        if let Some((what, _, why)) = unused.iter().find(|(_, given, _)| *given) {
            let message = format!("{what} were asked for, and {why}");
            return Err(Error::from(ContainerError::Signature { message, help: "leave the option out".to_owned() })
                .in_file(path));
        }
        if options.checkpoint.is_some() {
            let model = SavedModel::of_graph(path)?;
            return prepare(model, &options.asked());
        }
        Self::open(path)?.with_outputs(&options.outputs).map_err(|error| error.in_file(path))
    }
}

impl ModelOptions {
    fn asked(&self) -> Asked<'_> {
        Asked {
            tags: self.tags.as_deref(),
            signature: self.signature.as_deref(),
            outputs: &self.outputs,
            checkpoint: self.checkpoint.as_deref(),
            averages: self.averages,
            names: self.names,
            whole: self.whole,
        }
    }
}
