//! A model, from any of the files that people have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{ContainerError, Error};
use crate::graphdef::bundle::Tensor;
use crate::graphdef::graph::Graph;
use crate::graphdef::saved_model::SavedModel;
use crate::prepare::{Asked, Names, Parts, prepare};
use crate::survey::{Container, ModelInfo, NotFlat};

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
        let graph = match options.container(path)? {
            Some(model) => prepare(model, &options.asked(), &|_| Ok(None))?,
            None => options.plain(path)?,
        };
        options.reduced(graph)
    }

    /// A model whose bytes are in memory, as one flat graph: a SavedModel or MetaGraph, or a GraphDef that is run for `options.outputs`. `values`
    /// gives a variable's value by the name of its node, or by the name that it is shared under; what it does not have is in
    /// `options.checkpoint`, where that is given. NNI's calls take the graph as any other.
    ///
    /// A service that holds a model in a session has both: see `run`.
    ///
    /// Such a graph is written as a GraphDef: a SavedModel needs the folder with its other files ([`Graph::open_model`]). Assets are named without a
    /// folder.
    ///
    /// ```
    /// use tf_rewriter::bundle::Tensor;
    /// use tf_rewriter::pb::DataType;
    /// use tf_rewriter::{Graph, ModelOptions, NaiveQuantizer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = br#"
    ///     node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
    ///     node { name: "w" op: "VariableV2" attr { key: "dtype" value { type: DT_FLOAT } } }
    ///     node { name: "y" op: "MatMul" input: "x" input: "w" attr { key: "T" value { type: DT_FLOAT } } }"#;
    /// let weight: Vec<u8> = [0.5f32, -1.0, 0.25, 0.75].iter().flat_map(|value| value.to_le_bytes()).collect();
    /// let values = |name: &str| {
    ///     Ok((name == "w").then(|| Tensor { dtype: DataType::DT_FLOAT, shape: vec![2, 2], bytes: weight.clone() }))
    /// };
    /// let mut options = ModelOptions::default();
    /// options.outputs = vec!["y".to_owned()];
    /// let graph = Graph::from_model_bytes(model.to_vec(), values, &options)?;
    /// let mut quantized = Vec::new();
    /// let report = NaiveQuantizer::new(graph).compress()?.write(&mut quantized)?;
    /// assert_eq!(report.sites.iter().filter(|site| site.site.settings().is_some()).count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Graph::open_model`]; a value of another type or shape than the variable has; what `values` says.
    pub fn from_model_bytes(
        bytes: Vec<u8>,
        values: impl Fn(&str) -> Result<Option<Tensor>, Error>,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let model = SavedModel::in_memory(bytes)?;
        if model.is_graph() {
            options.fit_graph()?;
        }
        options.reduced(prepare(model, &options.asked(), &values)?)
    }
}

/// What is in a model, from any of the files that [`Graph::open_model`] opens: meta graphs, signatures, assets, lookup tables, variables and the
/// files that hold them, and the weights of the flat graph. A model without such a graph (several signatures of which none is meant, one that
/// writes variables, a checkpoint that is not there) has its parts all the same, and the reason.
///
/// ```
/// use tf_rewriter::{ModelOptions, inspect_model};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits.pb");
/// let found = inspect_model(model, &ModelOptions::default())?;
/// assert!(found.container.is_none(), "a GraphDef by itself");
/// assert!(found.graph.is_some_and(|graph| !graph.weights.is_empty()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// What is no model; tags, a signature, outputs or a checkpoint that were asked for and are not there; a GraphDef that is damaged.
pub fn inspect_model(path: impl AsRef<Path>, options: &ModelOptions) -> Result<ModelInfo, Error> {
    let path = path.as_ref();
    let Some(model) = options.container(path)? else {
        let graph = options.reduced(options.plain(path)?)?.inspect()?;
        return Ok(ModelInfo { container: None, graph: Some(graph), not_flat: None });
    };
    let (model, asked) = (Arc::new(model), options.asked());
    let parts = Parts::of(&model, &asked);
    let container = Some(Container::of(&model, asked.choice(), parts.as_ref().ok())?);
    let flat = parts.and_then(|parts| options.reduced(parts.flat(&asked, &|_| Ok(None))?)?.inspect());
    match flat {
        Ok(graph) => Ok(ModelInfo { container, graph: Some(graph), not_flat: None }),
        Err(error) if options.is_about(&error) => Err(error),
        Err(error) => Ok(ModelInfo { container, graph: None, not_flat: Some(NotFlat::from(&error)) }),
    }
}

impl ModelOptions {
    /// The model at `path`; `None` for a GraphDef that stands for itself.
    fn container(&self, path: &Path) -> Result<Option<SavedModel>, Error> {
        if let Some(model) = SavedModel::open(path)? {
            return Ok(Some(model));
        }
        self.fit_graph().map_err(|error| error.in_file(path))?;
        self.checkpoint.is_some().then(|| SavedModel::of_graph(path)).transpose()
    }

    /// Whether nothing was asked for that a GraphDef by itself does not have.
    fn fit_graph(&self) -> Result<(), Error> {
        let unused = [
            ("tags", self.tags.is_some(), "a GraphDef has no meta graphs"),
            ("signature", self.signature.is_some(), "a GraphDef has no signatures"),
            (
                "averages",
                self.averages && self.checkpoint.is_none(),
                "moving averages are in a checkpoint, and none is given",
            ),
        ];
        if let Some((what, _, why)) = unused.iter().find(|(_, given, _)| *given) {
            let message = format!("{what} were asked for, and {why}");
            return Err(ContainerError::Signature { message, help: "leave the option out".to_owned() }.into());
        }
        Ok(())
    }

    /// A GraphDef that stands for itself.
    fn plain(&self, path: &Path) -> Result<Graph, Error> {
        Graph::open(path)?.with_outputs(&self.outputs).map_err(|error| error.in_file(path))
    }

    /// The graph without what no output needs, if that was asked for.
    fn reduced(&self, graph: Graph) -> Result<Graph, Error> {
        if !self.only_outputs {
            return Ok(graph);
        }
        let path = graph.path().map(Path::to_owned);
        graph.only_outputs().map_err(|error| match &path {
            Some(path) => error.in_file(path),
            None => error,
        })
    }

    /// Whether an error is about what was asked for, or about a file that changed meanwhile: there is nothing to show then.
    fn is_about(&self, error: &Error) -> bool {
        match error.innermost() {
            Error::Changed(_) => true,
            Error::Container(ContainerError::Tags { .. }) => self.tags.is_some(),
            Error::Container(ContainerError::Signature { .. }) => self.signature.is_some(),
            Error::NoSuchNode { .. } => !self.outputs.is_empty(),
            Error::Checkpoint { .. } | Error::Io { .. } => self.checkpoint.is_some(),
            _ => false,
        }
    }

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
