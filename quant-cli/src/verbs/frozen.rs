//! What comes out of a trained model.

use std::path::Path;

use clap::Args;
use clap::builder::TypedValueParser;
use quant_math::plan::Emit;

use super::{Adapter, destination, write_result};
use crate::args::{Destination, GlobalArgs, OutputArgs, ReportArgs, words};
use crate::failure::Failure;
use crate::files::Files;

/// Where a trained model goes, and in which form.
#[derive(Debug, Clone, Args)]
pub struct FrozenArgs {
    #[command(flatten)]
    output: OutputArgs,

    /// The form of a quantized output [default: inference]
    #[arg(long, value_name = "FORM", value_parser = parser())]
    emit: Option<Emit>,

    #[command(flatten)]
    report: ReportArgs,
}

fn parser() -> impl TypedValueParser<Value = Emit> {
    words([("inference", Emit::Inference), ("baked", Emit::Baked), ("packed", Emit::Packed)])
}

impl FrozenArgs {
    /// The form.
    pub fn form(&self) -> Emit {
        self.emit.unwrap_or(Emit::Inference)
    }

    /// Whether a form was named.
    pub fn asks_for_a_form(&self) -> bool {
        self.emit.is_some()
    }

    /// The output as it was named.
    pub fn path(&self) -> &Path {
        &self.output.output
    }

    /// The place; `files` are what else is read and written.
    ///
    /// # Errors
    /// Standard output is a terminal; a file that would take the place of another; one that cannot be made.
    pub fn destination(&self, files: Files) -> Result<Destination, Failure> {
        self.destination_in(files, false)
    }

    /// The same, for an output that may be a folder.
    ///
    /// # Errors
    /// Those of [`destination`](Self::destination).
    pub fn destination_in(&self, files: Files, is_folder: bool) -> Result<Destination, Failure> {
        destination(files, (&self.output, is_folder), &self.report)
    }

    /// Write the model, and tell what was done.
    ///
    /// # Errors
    /// An output that cannot be written.
    pub fn write<M: Adapter>(
        &self,
        model: &M,
        global: &GlobalArgs,
        destination: &Destination,
        frozen: &M::Compressed,
    ) -> Result<(), Failure> {
        // It was trained to be as it is.
        write_result(model, global, (destination, &self.report), frozen, |_| Vec::new())
    }
}
