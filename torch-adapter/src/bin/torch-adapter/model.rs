//! The model argument, and what the shared commands need of the library.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use quant_cli::{Adapter, Failure, PlanFoldArgs, Progress};
use quant_math::Plan;
use quant_math::config::ConfigList;
use quant_math::difference::Difference;
use quant_math::inspection::Inspection;
use quant_math::plan::Reason;
use quant_math::report::Report;
use torch_adapter::{Compressed, Error, Model, PlanOptions};

use crate::coded::failure;

/// The model to work on.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// An archive that `torch.jit.save` wrote, scripted, traced or frozen
    model: PathBuf,
}

impl Adapter for ModelArgs {
    type Model = Model;
    type Compressed = Compressed;
    type Inspected = Inspection;
    type Options = PlanFoldArgs;

    fn path(&self) -> &Path {
        &self.model
    }

    fn open(&self) -> Result<Model, Failure> {
        Self::open_path(&self.model)
    }

    fn open_path(path: &Path) -> Result<Model, Failure> {
        Model::open(path).map_err(failure)
    }

    fn options<'a>(given: &PlanFoldArgs, options: PlanOptions<'a>) -> PlanOptions<'a> {
        PlanOptions { fold: given.fold(), ..options }
    }

    fn plan(model: &Model, config: &ConfigList, options: PlanOptions<'_>) -> Result<Plan, Failure> {
        model.plan(config, options).map_err(failure)
    }

    fn check_plan(model: &Model, plan: &Plan) -> Result<Plan, Failure> {
        model.check_plan(plan).map_err(failure)
    }

    fn apply(model: Model, plan: &Plan) -> Result<Compressed, Failure> {
        model.apply(plan).map_err(failure)
    }

    fn folded(model: Model) -> Result<Compressed, Failure> {
        model.folded_everywhere().and_then(Model::as_it_is).map_err(failure)
    }

    fn warnings(compressed: &Compressed) -> &[Reason] {
        compressed.warnings()
    }

    fn bytes_to_write(compressed: &Compressed) -> u64 {
        compressed.input_len()
    }

    fn write_to(&self, compressed: &Compressed, path: &Path, progress: &Progress) -> Result<Report, Failure> {
        compressed.write_to_with(path, &|bytes| progress.inc(bytes)).map_err(failure)
    }

    fn write(compressed: &Compressed, out: &mut (dyn Write + Send)) -> Result<Option<Report>, Failure> {
        match compressed.write(out) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(None),
            written => written.map(Some).map_err(failure),
        }
    }

    fn inspect(&self) -> Result<Inspection, Failure> {
        self.open()?.inspect().map_err(failure)
    }

    fn inspected(found: &Inspection) -> String {
        quant_cli::inspection(found)
    }

    fn diff(first: &Model, second: &Model) -> Result<Difference, Failure> {
        first.diff(second).map_err(failure)
    }
}
