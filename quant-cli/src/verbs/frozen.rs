//! What comes out of a model that is not quantized here: of a trained one, or of one that stays float.

use std::path::Path;

use clap::Args;
use clap::builder::TypedValueParser;
use quant_math::plan::Emit;

use super::{Adapter, destination, write_result};
use crate::args::{Destination, GlobalArgs, OutputArgs, ReportArgs, words};
use crate::failure::Failure;
use crate::files::Files;

/// Where a model goes that is written as it is.
#[derive(Debug, Clone, Args)]
pub struct FloatArgs {
    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    report: ReportArgs,
}

/// Where a trained model goes, and in which form.
#[derive(Debug, Clone, Args)]
pub struct FrozenArgs {
    /// The form of a quantized output [default: inference]
    #[arg(long, value_name = "FORM", value_parser = parser())]
    emit: Option<Emit>,

    #[command(flatten)]
    float: FloatArgs,
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
        self.float.path()
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
        self.float.destination_in(files, is_folder)
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
        self.float.write(model, global, destination, frozen)
    }
}

impl FloatArgs {
    /// The output as it was named.
    pub fn path(&self) -> &Path {
        &self.output.output
    }

    /// The place, which may be a folder; `files` are what else is read and written.
    ///
    /// # Errors
    /// Those of [`FrozenArgs::destination`].
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
        written: &M::Compressed,
    ) -> Result<(), Failure> {
        // It is as it is meant to be.
        write_result(model, global, (destination, &self.report), written, |_| Vec::new())
    }
}
