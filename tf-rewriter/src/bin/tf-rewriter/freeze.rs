//! `freeze`: what a trained graph has learnt, as constants.

use std::path::PathBuf;

use clap::Args;
use quant_cli::{Adapter, Failure, FreezeFormArgs, GlobalArgs, OutputArgs, ReportArgs, write_result};
use quant_math::Emit;
use tf_rewriter::Bundle;

use crate::coded::failure;
use crate::model::ModelArgs;

/// Arguments of `freeze`.
#[derive(Debug, Args)]
pub(crate) struct FreezeArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The trained variables: what the names of the checkpoint's files begin with
    #[arg(long, value_name = "PREFIX")]
    checkpoint: PathBuf,

    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    emit: FreezeFormArgs,
    #[command(flatten)]
    report: ReportArgs,
}

impl FreezeArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let destination = self.output.destination()?;
        let graph = self.model.open()?;
        let checkpoint = Bundle::open(&self.checkpoint).map_err(failure)?;
        let emit = self.emit.emit.unwrap_or(Emit::Inference);
        let frozen = graph.freeze(|name| checkpoint.tensor(name), emit).map_err(failure)?;
        global.warn(&frozen.plan().warnings);
        write_result::<ModelArgs>(global, &destination, &self.report, &frozen)
    }
}
