//! The commands that are the same for every adapter, as a part of its own enum of commands.

use clap::{Command, Subcommand};

use super::{Adapter, DiffArgs, InspectArgs, PlanArgs, VerifyArgs};
use crate::args::GlobalArgs;
use crate::commands::{CompletionsArgs, SchemaArgs};
use crate::failure::Failure;

/// What needs nothing but an adapter. Help shows a binary's own commands behind `plan`.
#[derive(Debug, Subcommand)]
pub enum SharedCommand<M: Adapter> {
    /// What is in a model: inputs, outputs, quantizable sites, weights, ranges, sizes
    #[command(display_order = 0)]
    Inspect(InspectArgs<M>),
    /// Dry run: every site, chosen or skipped, and why
    #[command(display_order = 1)]
    Plan(PlanArgs<M>),
    /// Whether a quantized model is what its original and the settings come to
    #[command(display_order = 89)]
    Verify(VerifyArgs<M>),
    /// What changed between two models, per tensor, in codes and in error
    #[command(display_order = 90)]
    Diff(DiffArgs),
    /// The JSON Schema of a config, or the table of op types
    #[command(display_order = 91)]
    Schema(SchemaArgs),
    /// Completions for a shell
    #[command(display_order = 92)]
    Completions(CompletionsArgs),
}

impl<M: Adapter> SharedCommand<M> {
    /// Run the command; `whole` is the command line of which completions are made.
    ///
    /// # Errors
    /// Those of the command.
    pub fn run(&self, global: &GlobalArgs, whole: Command) -> Result<(), Failure> {
        match self {
            Self::Inspect(args) => args.run(global),
            Self::Plan(args) => args.run(global),
            Self::Verify(args) => args.run(global),
            Self::Diff(args) => args.run::<M>(global),
            Self::Schema(args) => args.run(global),
            Self::Completions(args) => args.run(global, whole),
        }
    }
}
