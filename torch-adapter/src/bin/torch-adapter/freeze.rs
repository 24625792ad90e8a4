//! `freeze`: what a trained archive has learnt, as constants.

use clap::Args;
use quant_cli::{Adapter, Failure, FreezeFormArgs, GlobalArgs, OutputArgs, ReportArgs, write_result};
use quant_math::Emit;

use crate::coded::failure;
use crate::model::ModelArgs;

/// Arguments of `freeze`.
#[derive(Debug, Args)]
pub(crate) struct FreezeArgs {
    #[command(flatten)]
    model: ModelArgs,
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
        let frozen = self.model.open()?.freeze(self.emit.emit.unwrap_or(Emit::Inference)).map_err(failure)?;
        global.warn(&frozen.plan().warnings);
        write_result::<ModelArgs>(global, &destination, &self.report, &frozen)
    }
}
