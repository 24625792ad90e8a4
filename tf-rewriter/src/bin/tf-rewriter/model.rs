//! The model argument, and what the shared commands need of the library.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use quant_cli::{Adapter, Failure, Files, GradientArgs, PlanFoldArgs, Progress, read_moments, words};
use quant_math::config::ConfigList;
use quant_math::difference::Difference;
use quant_math::plan::Reason;
use quant_math::report::Report;
use quant_math::{Emit, Plan, QuantType};
use tf_rewriter::codes;
use tf_rewriter::{
    Compressed, Error, Graph, ModelInfo, ModelOptions, ModelOutput, Names, PlanOptions, WeightPlace, inspect_model,
};

use crate::coded::failure;

/// The graph to work on.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A SavedModel (its folder), a GraphDef (.pb, .pbtxt), or a MetaGraph (.meta) beside its checkpoint; told apart by content
    model: PathBuf,

    /// Nodes whose names must stay fetchable, besides those that nothing reads; where there is no signature, what the model is run for
    /// (comma-separated)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    outputs: Vec<String>,

    /// Leave out what none of these needs: dangling branches, penalty terms, initializers, gradients
    #[arg(long, requires = "outputs")]
    only_outputs: bool,

    #[command(flatten, next_help_heading = "SavedModel")]
    parts: PartArgs,
}

/// Which part of a model is meant, and where its variables are.
#[derive(Debug, Args)]
pub(crate) struct PartArgs {
    /// The tags of the meta graph (comma-separated) [default: the only one, else `serve`, else the one with `serve` among its tags]
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Option<Vec<String>>,

    /// The signature that is run [default: serving_default, else the only one]
    #[arg(long, value_name = "KEY")]
    signature: Option<String>,

    /// The values of the variables: what the names of the checkpoint's files begin with [default: the model's own]
    #[arg(long, value_name = "PREFIX")]
    checkpoint: Option<PathBuf>,

    /// Take the moving averages of variables, where the checkpoint has them
    #[arg(long)]
    ema: bool,

    /// Replace the SavedModel in a folder that is there and is not the input; its other files stay
    #[arg(long)]
    force: bool,

    /// Where the weights of a SavedModel are that is written as one graph: in it, below 2 GiB, or in the checkpoint
    #[arg(long, value_name = "PLACE", default_value = "fitting",
          value_parser = words([("fitting", WeightPlace::Fitting), ("checkpoint", WeightPlace::Checkpoint)]))]
    weights: WeightPlace,

    /// Whose names nodes have: of the function that the signature calls, as TensorFlow 2 freezes, or of the main graph, as TensorFlow 1 does
    #[arg(long, value_name = "WHOSE", default_value = "function",
          value_parser = words([("function", Names::Function), ("main", Names::Main)]))]
    names: Names,
}

/// What only graphs can be told about a plan.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TensorFlowArgs {
    #[command(flatten)]
    gradient: GradientArgs,

    #[command(flatten)]
    pub(crate) fold: PlanFoldArgs,

    /// What `calibrate --moments` measured: weights with `rounding: "reconstruct"` are rounded so that their layers' outputs are kept
    #[arg(long, value_name = "FILE")]
    moments: Option<PathBuf>,
}

impl ModelArgs {
    /// The checkpoint that was named.
    pub(crate) fn checkpoint(&self) -> Option<&Path> {
        self.parts.checkpoint.as_deref()
    }

    fn output(&self) -> ModelOutput {
        ModelOutput { force: self.parts.force, weights: self.parts.weights }
    }

    fn model_options(&self) -> ModelOptions {
        let mut options = ModelOptions::default();
        options.tags.clone_from(&self.parts.tags);
        options.signature.clone_from(&self.parts.signature);
        options.outputs.clone_from(&self.outputs);
        options.only_outputs = self.only_outputs;
        options.checkpoint.clone_from(&self.parts.checkpoint);
        options.averages = self.parts.ema;
        options.names = self.parts.names;
        options
    }
}

#[cfg(feature = "run")]
impl ModelArgs {
    /// Refuse a folder in the way of the SavedModel that is going to be written, before the work.
    pub(crate) fn check_output(&self, graph: &Graph, path: &Path) -> Result<(), Failure> {
        if self.is_folder(path) { graph.check_model_output(path, self.output()).map_err(failure) } else { Ok(()) }
    }

    /// Another model, with the same named outputs; of a SavedModel, the same signature.
    pub(crate) fn open_beside(&self, path: &Path) -> Result<Graph, Failure> {
        let mut options = ModelOptions::default();
        if is_saved_model(path) {
            options.tags.clone_from(&self.parts.tags);
            options.signature.clone_from(&self.parts.signature);
        }
        let graph = Graph::open_model(path, &options).map_err(failure)?;
        graph.with_outputs(&self.outputs).map_err(|error| failure(error.in_file(path)))
    }
}

/// Whether a path is that of a SavedModel's folder, or of the file in it.
fn is_saved_model(path: &Path) -> bool {
    ["saved_model.pb", "saved_model.pbtxt"].into_iter().any(|name| path.join(name).is_file() || path.ends_with(name))
}

impl Adapter for ModelArgs {
    type Model = Graph;
    type Compressed = Compressed;
    type Inspected = ModelInfo;
    type Options = TensorFlowArgs;

    fn path(&self) -> &Path {
        &self.model
    }

    fn open(&self) -> Result<Graph, Failure> {
        Graph::open_model(&self.model, &self.model_options()).map_err(failure)
    }

    fn open_for(&self, output: Option<&Path>) -> Result<Graph, Failure> {
        let mut options = self.model_options();
        options.whole = output.is_some_and(|output| self.is_folder(output));
        Graph::open_model(&self.model, &options).map_err(failure)
    }

    /// Of a SavedModel another one is made, unless the output is called like a graph.
    fn is_folder(&self, output: &Path) -> bool {
        let is_graph =
            output.extension().is_some_and(|end| end.eq_ignore_ascii_case("pb") || end.eq_ignore_ascii_case("pbtxt"));
        !is_graph && is_saved_model(&self.model)
    }

    fn open_path(path: &Path) -> Result<Graph, Failure> {
        Graph::open_model(path, &ModelOptions::default()).map_err(failure)
    }

    fn options<'a>(given: &TensorFlowArgs, options: PlanOptions<'a>) -> PlanOptions<'a> {
        PlanOptions { gradient: given.gradient.gradient.unwrap_or_default(), fold: given.fold.fold(), ..options }
    }

    fn option_files(given: &TensorFlowArgs, files: Files) -> Files {
        files.may_read("the file of moments", given.moments.as_ref())
    }

    fn with_options(given: &TensorFlowArgs, model: Graph) -> Result<Graph, Failure> {
        match &given.moments {
            Some(path) => {
                model.with_moments(read_moments(path)?).map_err(|error| failure(error).at(&path.display().to_string()))
            }
            None => Ok(model),
        }
    }

    fn plan(model: &Graph, config: &ConfigList, options: PlanOptions<'_>) -> Result<Plan, Failure> {
        let mut plan = model.plan(config, options).map_err(failure)?;
        let quantizes_weights = plan.quantized().any(|site| site.kind == QuantType::Weight);
        if plan.emit == Emit::Training && quantizes_weights && !model.has_variables() && !model.keeps_variables() {
            let text = "every weight is a constant, which an optimizer does not change: in a loop of your own, ranges alone are \
                        learned; `finetune` makes variables of the weights and trains them";
            plan.warnings.push(Reason::new(codes::CONSTANT_WEIGHTS, text));
        }
        Ok(plan)
    }

    fn check_plan(model: &Graph, plan: &Plan) -> Result<Plan, Failure> {
        model.check_plan(plan).map_err(failure)
    }

    fn apply(model: Graph, plan: &Plan) -> Result<Compressed, Failure> {
        model.apply(plan).map_err(failure)
    }

    fn folded(model: Graph) -> Result<Compressed, Failure> {
        model.folded_everywhere().and_then(Graph::as_it_is).map_err(failure)
    }

    fn warnings(compressed: &Compressed) -> &[Reason] {
        compressed.warnings()
    }

    fn bytes_to_write(compressed: &Compressed) -> u64 {
        compressed.len()
    }

    fn lengths(&self, compressed: &Compressed, path: Option<&Path>) -> Result<Option<(u64, u64)>, Failure> {
        match path {
            Some(path) if compressed.is_model() && self.is_folder(path) => {
                compressed.model_lengths(self.output()).map_err(failure)
            }
            Some(path) if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("pbtxt")) => Ok(None),
            _ => Ok(Some((compressed.length_before(), compressed.len()))),
        }
    }

    fn write_to(&self, compressed: &Compressed, path: &Path, progress: &Progress) -> Result<Report, Failure> {
        if compressed.is_model() && self.is_folder(path) {
            return compressed.write_model(path, self.output(), &|bytes| progress.inc(bytes)).map_err(failure);
        }
        compressed.write_to_with(path, &|bytes| progress.inc(bytes)).map_err(failure)
    }

    fn write(compressed: &Compressed, out: &mut (dyn Write + Send)) -> Result<Option<Report>, Failure> {
        match compressed.write(out) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(None),
            written => written.map(Some).map_err(failure),
        }
    }

    fn inspect(&self) -> Result<ModelInfo, Failure> {
        inspect_model(&self.model, &self.model_options()).map_err(failure)
    }

    fn inspected(found: &ModelInfo) -> String {
        crate::inspect::text(found)
    }

    fn diff(first: &Graph, second: &Graph) -> Result<Difference, Failure> {
        first.diff(second).map_err(failure)
    }
}
