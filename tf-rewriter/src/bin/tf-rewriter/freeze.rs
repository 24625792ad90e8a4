//! `freeze`: variables as constants. What a trained graph has learnt comes out quantized.

use clap::Args;
use quant_cli::{Adapter, Failure, Files, FrozenArgs, GlobalArgs};
use tf_rewriter::{Bundle, Error};

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
        let files = self.model.checkpoint().map(Bundle::files).unwrap_or_default();
        let files = files
            .into_iter()
            .fold(Files::of_model(self.model.path()), |files, file| files.reads("the checkpoint", file));
        let folder = self.model.is_folder(self.frozen.path());
        let destination = self.frozen.destination_in(files, folder)?;
        let graph = self.model.open_for(destination.file())?;
        if graph.is_training().map_err(failure)? {
            let checkpoint = graph.checkpoint().map(Bundle::open).transpose().map_err(failure)?;
            let value = |name: &str| checkpoint.as_ref().map_or(Ok(None), |checkpoint| checkpoint.tensor(name));
            let frozen = graph.freeze(value, self.frozen.form()).map_err(failure)?;
            global.warn(&frozen.plan().warnings);
            return self.frozen.write(&self.model, global, &destination, &frozen);
        }
        if self.frozen.asks_for_a_form() {
            let found = "the model has no quantizers to freeze, and comes out in float whatever `--emit` says";
            return Err(failure(Error::NotTraining { found: found.to_owned() }.in_file(self.model.path())));
        }
        let float = graph.as_it_is().map_err(failure)?;
        self.frozen.write(&self.model, global, &destination, &float)
    }
}
