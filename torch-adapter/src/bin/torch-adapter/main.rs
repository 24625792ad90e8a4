//! Quantize TorchScript archives from the command line.

mod coded;
mod freeze;
mod model;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use quant_cli::{CompletionsArgs, CompressArgs, DiffArgs, GlobalArgs, InspectArgs, PlanArgs, SchemaArgs};

use crate::model::ModelArgs;

/// Quantize TorchScript archives: no Python, no source of the model, no network
#[derive(Debug, Parser)]
#[command(name = "torch-adapter", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is in a model: inputs, outputs, quantizable sites, weights, ranges, sizes
    Inspect(InspectArgs<ModelArgs>),
    /// Dry run: every site, chosen or skipped, and why
    Plan(PlanArgs<ModelArgs>),
    /// Quantize a model
    Compress(CompressArgs<ModelArgs>),
    /// Turn a trained archive into one for inference
    Freeze(freeze::FreezeArgs),
    /// What changed between two models, per tensor, in codes and in error
    Diff(DiffArgs),
    /// The JSON Schema of a config, or the table of op types
    Schema(SchemaArgs),
    /// Completions for a shell
    Completions(CompletionsArgs),
}

fn main() -> ExitCode {
    let cli: Cli = match quant_cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    quant_cli::run(&cli.global, || match &cli.command {
        Command::Inspect(args) => args.run(&cli.global),
        Command::Plan(args) => args.run(&cli.global),
        Command::Compress(args) => args.run(&cli.global),
        Command::Freeze(args) => args.run(&cli.global),
        Command::Diff(args) => args.run::<ModelArgs>(&cli.global),
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
