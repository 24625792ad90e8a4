//! `inspect`: what is in a graph.

use clap::Args;
use quant_cli::{Failure, GlobalArgs};

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
        let mut out = global.out();
        out.json(&graph.node_count())?;
        Ok(out.finish()?)
    }
}
