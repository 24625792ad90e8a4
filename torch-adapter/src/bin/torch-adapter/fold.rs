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
        let destination = self.float.destination_in(Files::of_model(self.model.path()), false)?;
        let model = self.model.open()?.folded_everywhere().map_err(failure)?;
        let float = model.as_it_is().map_err(failure)?;
        self.float.write(&self.model, global, &destination, &float)
    }
}
