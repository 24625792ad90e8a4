//! `inspect`: what is in a model.

use std::io::Write;

use clap::Args;

use super::Adapter;
use crate::args::GlobalArgs;
use crate::failure::Failure;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs<M: Adapter> {
    #[command(flatten)]
    model: M,
}

impl<M: Adapter> InspectArgs<M> {
    /// Print what is in the model.
    ///
    /// # Errors
    /// A model that is damaged or none.
    pub fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let found = self.model.inspect()?;
        let mut out = global.out();
        if global.json {
            out.json(&found)?;
        } else {
            write!(out, "{}", M::inspected(&found))?;
        }
        Ok(out.finish()?)
    }
}
