//! `freeze`: what a trained archive has learnt, as constants.

use clap::Args;
use quant_cli::{Adapter, Failure, Files, FrozenArgs, GlobalArgs};

use crate::coded::failure;
use crate::model::ModelArgs;

/// Arguments of `freeze`.
#[derive(Debug, Args)]
pub(crate) struct FreezeArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    frozen: FrozenArgs,
}

impl FreezeArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let destination = self.frozen.destination(Files::of_model(self.model.path()))?;
        let frozen = self.model.open()?.freeze(self.frozen.form()).map_err(failure)?;
        global.warn(&frozen.plan().warnings);
        self.frozen.write(&self.model, global, &destination, &frozen)
    }
}
