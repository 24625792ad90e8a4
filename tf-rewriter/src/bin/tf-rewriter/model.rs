//! The model argument, and what the shared commands need of the library.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use quant_cli::{Adapter, Failure, GradientArgs, Progress};
use quant_math::config::ConfigList;
use quant_math::difference::Difference;
use quant_math::inspection::Inspection;
use quant_math::plan::Reason;
use quant_math::report::Report;
use quant_math::{Emit, Plan, QuantType};
use tf_rewriter::codes;
use tf_rewriter::{Compressed, Error, Graph, PlanOptions};

use crate::coded::failure;

/// The graph to work on.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A frozen GraphDef, binary (.pb) or text (.pbtxt); told apart by content
    model: PathBuf,

    /// Nodes whose names must stay fetchable, besides those that nothing reads (comma-separated)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    outputs: Vec<String>,

    /// Leave out what none of these needs: dangling branches, penalty terms, initializers, gradients
    #[arg(long, requires = "outputs")]
    only_outputs: bool,
}

#[cfg(feature = "run")]
impl ModelArgs {
    /// Another model, with the same named outputs.
    pub(crate) fn open_beside(&self, path: &Path) -> Result<Graph, Failure> {
        Self::open_path(path)?.with_outputs(&self.outputs).map_err(|error| failure(error.in_file(path)))
    }
}

impl Adapter for ModelArgs {
    type Model = Graph;
    type Compressed = Compressed;
    type Options = GradientArgs;

    fn path(&self) -> &Path {
        &self.model
    }

    fn open(&self) -> Result<Graph, Failure> {
        let graph = Self::open_path(&self.model)?.with_outputs(&self.outputs);
        let graph = if self.only_outputs { graph.and_then(Graph::only_outputs) } else { graph };
        graph.map_err(|error| failure(error.in_file(&self.model)))
    }

    fn open_path(path: &Path) -> Result<Graph, Failure> {
        Graph::open(path).map_err(failure)
    }

    fn options<'a>(given: &GradientArgs, options: PlanOptions<'a>) -> PlanOptions<'a> {
        PlanOptions { gradient: given.gradient.unwrap_or_default(), ..options }
    }

    fn plan(model: &Graph, config: &ConfigList, options: PlanOptions<'_>) -> Result<Plan, Failure> {
        let mut plan = model.plan(config, options).map_err(failure)?;
        let quantizes_weights = plan.quantized().any(|site| site.kind == QuantType::Weight);
        if plan.emit == Emit::Training && quantizes_weights && !model.has_variables() {
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

    fn warnings(_: &Compressed) -> &[Reason] {
        &[]
    }

    fn bytes_to_write(compressed: &Compressed) -> u64 {
        compressed.len()
    }

    fn write_to(compressed: &Compressed, path: &Path, progress: &Progress) -> Result<Report, Failure> {
        compressed.write_to_with(path, &|bytes| progress.inc(bytes)).map_err(failure)
    }

    fn write(compressed: &Compressed, out: &mut (dyn Write + Send)) -> Result<Option<Report>, Failure> {
        match compressed.write(out) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(None),
            written => written.map(Some).map_err(failure),
        }
    }

    fn inspect(model: &Graph) -> Result<Inspection, Failure> {
        model.inspect().map_err(failure)
    }

    fn diff(first: &Graph, second: &Graph) -> Result<Difference, Failure> {
        first.diff(second).map_err(failure)
    }
}
