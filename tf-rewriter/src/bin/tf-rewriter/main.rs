//! Quantize TensorFlow graphs from the command line.

mod coded;
mod model;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use quant_cli::{
    CompletionsArgs, CompressArgs, DiffArgs, GlobalArgs, InspectArgs, MergeRangesArgs, PlanArgs, SchemaArgs,
};

use crate::model::ModelArgs;

/// Quantize TensorFlow graphs: no Python, no source of the model, no network
#[derive(Debug, Parser)]
#[command(name = "tf-rewriter", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is in a graph: inputs, outputs, quantizable sites, weights, ranges, sizes
    Inspect(InspectArgs<ModelArgs>),
    /// Dry run: every site, chosen or skipped, and why
    Plan(PlanArgs<ModelArgs>),
    /// Quantize a graph
    Compress(CompressArgs<ModelArgs>),
    /// What changed between two graphs, per tensor, in codes and in error
    Diff(DiffArgs),
    /// Join the ranges files of parts of the data
    MergeRanges(MergeRangesArgs),
    /// The JSON Schema of a config, or the table of op types
    Schema(SchemaArgs),
    /// Completions for a shell
    Completions(CompletionsArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    quant_cli::run(&cli.global, || match &cli.command {
        Command::Inspect(args) => args.run(&cli.global),
        Command::Plan(args) => args.run(&cli.global),
        Command::Compress(args) => args.run(&cli.global),
        Command::Diff(args) => args.run::<ModelArgs>(&cli.global),
        Command::MergeRanges(args) => args.run(&cli.global),
        Command::Schema(args) => args.run(&cli.global),
        Command::Completions(args) => args.run(&cli.global, Cli::command()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
