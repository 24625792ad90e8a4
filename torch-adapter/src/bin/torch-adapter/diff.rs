//! `diff`: what changed between two models.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use quant_cli::{Failure, GlobalArgs};
use torch_adapter::Model;

use crate::coded::failure;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The model before
    first: PathBuf,
    /// The model after
    second: PathBuf,
}

impl DiffArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let first = Model::open(&self.first).map_err(failure)?;
        let second = Model::open(&self.second).map_err(failure)?;
        let found = first.diff(&second).map_err(failure)?;
        let mut out = global.out();
        if global.json {
            out.json(&found)?;
        } else {
            write!(out, "{}", quant_cli::difference(&found))?;
        }
        Ok(out.finish()?)
    }
}
