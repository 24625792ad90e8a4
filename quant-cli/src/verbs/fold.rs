//! `fold`: batch norms into the layers before them, and nothing else.

use clap::Args;

use super::{Adapter, FloatArgs};
use crate::args::GlobalArgs;
use crate::failure::Failure;
use crate::files::Files;

/// Arguments of `fold`.
#[derive(Debug, Args)]
pub struct FoldOnlyArgs<M: Adapter> {
    #[command(flatten)]
    model: M,

    #[command(flatten)]
    float: FloatArgs,
}

impl<M: Adapter> FoldOnlyArgs<M> {
    /// Fold, write, and print the summary.
    ///
    /// # Errors
    /// A model that is damaged or none; an output that cannot be written.
    pub fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let is_folder = self.model.is_folder(self.float.path());
        let destination = self.float.destination_in(Files::of_model(self.model.path()), is_folder)?;
        let float = M::folded(self.model.open_for(destination.file())?)?;
        self.float.write(&self.model, global, &destination, &float)
    }
}
