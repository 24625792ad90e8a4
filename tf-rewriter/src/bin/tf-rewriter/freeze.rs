//! `freeze`: what a trained graph has learnt, as constants.

use std::path::PathBuf;

use clap::Args;
use quant_cli::{Adapter, Failure, Files, FrozenArgs, GlobalArgs};
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
    frozen: FrozenArgs,
}

impl FreezeArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let files = Bundle::files(&self.checkpoint);
        let files = files
            .into_iter()
            .fold(Files::of_model(self.model.path()), |files, file| files.reads("the checkpoint", file));
        let destination = self.frozen.destination(files)?;
        let graph = self.model.open()?;
        let checkpoint = Bundle::open(&self.checkpoint).map_err(failure)?;
        let frozen = graph.freeze(|name| checkpoint.tensor(name), self.frozen.form()).map_err(failure)?;
        global.warn(&frozen.plan().warnings);
        self.frozen.write::<ModelArgs>(global, &destination, &frozen)
    }
}
