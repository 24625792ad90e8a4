//! `inspect`: what is in a model.

use std::io::Write;

use clap::Args;
use quant_cli::{Failure, GlobalArgs};

use crate::coded::failure;
use crate::model::ModelArgs;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    model: ModelArgs,
}

impl InspectArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let model = self.model.open()?;
        let found = model.inspect().map_err(failure)?;
        let mut out = global.out();
        if global.json {
            out.json(&found)?;
        } else {
            write!(out, "{}", quant_cli::inspection(&found))?;
        }
        Ok(out.finish()?)
    }
}
