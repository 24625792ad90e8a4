//! `fold`: batch norms into the layers before them, and nothing else.

use clap::Args;
use quant_cli::{Adapter, Failure, Files, FloatArgs, GlobalArgs};

use crate::coded::failure;
use crate::model::ModelArgs;

/// Arguments of `fold`.
#[derive(Debug, Args)]
pub(crate) struct FoldOnlyArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    float: FloatArgs,
}

impl FoldOnlyArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let folder = self.model.is_folder(self.float.path());
        let destination = self.float.destination_in(Files::of_model(self.model.path()), folder)?;
        let graph = self.model.open_for(destination.file())?.folded_everywhere().map_err(failure)?;
        let float = graph.as_it_is().map_err(failure)?;
        self.float.write(&self.model, global, &destination, &float)
    }
}
