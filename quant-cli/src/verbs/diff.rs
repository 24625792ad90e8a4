//! `diff`: what changed between two models.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::Adapter;
use crate::args::GlobalArgs;
use crate::failure::Failure;
use crate::model_tables::difference;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The model before
    first: PathBuf,
    /// The model after
    second: PathBuf,
}

impl DiffArgs {
    /// Print what differs.
    ///
    /// # Errors
    /// A model that is damaged or none.
    pub fn run<M: Adapter>(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let found = M::diff(&M::open_path(&self.first)?, &M::open_path(&self.second)?)?;
        let mut out = global.out();
        if global.json {
            out.json(&found)?;
        } else {
            write!(out, "{}", difference(&found))?;
        }
        Ok(out.finish()?)
    }
}
