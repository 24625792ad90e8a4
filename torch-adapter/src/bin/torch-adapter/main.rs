//! Quantize TorchScript archives from the command line.

mod calibrate;
mod coded;
mod compress;
mod evaluate;
mod freeze;
mod model;
mod python;
mod running;
mod sensitivity;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use quant_cli::{FoldOnlyArgs, GlobalArgs, MergeRangesArgs, SharedCommand};

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
    #[command(flatten)]
    Shared(SharedCommand<ModelArgs>),
    /// Quantize a model
    Compress(compress::MeasuringCompressArgs),
    /// Measure the ranges of activations on data
    Calibrate(calibrate::CalibrateArgs),
    /// Outputs of a model on data: how far from another model's, and how often right
    Evaluate(evaluate::EvaluateArgs),
    /// What each weight costs at each number of bits, measured on the outputs
    Sensitivity(sensitivity::SensitivityArgs),
    /// Put batch norms into the layers before them, and nothing else
    Fold(FoldOnlyArgs<ModelArgs>),
    /// Turn a trained archive into one for inference
    Freeze(freeze::FreezeArgs),
    /// Join the ranges files of parts of the data
    MergeRanges(MergeRangesArgs),
    /// Where PyTorch was looked for and found, and how to install it
    Doctor(python::DoctorArgs),
}

fn main() -> ExitCode {
    let cli: Cli = match quant_cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    quant_cli::run(&cli.global, || match &cli.command {
        Command::Shared(shared) => shared.run(&cli.global, Cli::command()),
        Command::Compress(args) => args.run(&cli.global),
        Command::Calibrate(args) => args.run(&cli.global),
        Command::Evaluate(args) => args.run(&cli.global),
        Command::Sensitivity(args) => args.run(&cli.global),
        Command::Fold(args) => args.run(&cli.global),
        Command::Freeze(args) => args.run(&cli.global),
        Command::MergeRanges(args) => args.run(&cli.global),
        Command::Doctor(args) => args.run(&cli.global),
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
