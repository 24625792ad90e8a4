//! `inspect`: what is in a graph.

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
        let graph = self.model.open()?;
        let found = graph.inspect().map_err(|error| failure(error.in_file(&self.model.model)))?;
        let mut out = global.out();
        if global.json {
            out.json(&found)?;
        } else {
            write!(out, "{}", quant_cli::inspection(&found))?;
        }
        Ok(out.finish()?)
    }
}
