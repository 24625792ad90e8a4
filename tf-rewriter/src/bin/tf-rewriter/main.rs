//! Quantize TensorFlow graphs from the command line.

#[cfg(feature = "run")]
mod bits;
#[cfg(feature = "run")]
mod calibrate;
mod coded;
#[cfg(feature = "run")]
mod compress;
#[cfg(feature = "run")]
mod evaluate;
#[cfg(feature = "run")]
mod finetune;
mod freeze;
mod inspect;
#[cfg(feature = "run")]
mod library;
mod model;
#[cfg(feature = "run")]
mod sensitivity;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
#[cfg(not(feature = "run"))]
use quant_cli::CompressArgs;
use quant_cli::{Failure, FoldOnlyArgs, GlobalArgs, MergeRangesArgs, SharedCommand};

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
    #[command(flatten)]
    Shared(SharedCommand<ModelArgs>),
    /// Quantize a graph
    #[cfg(not(feature = "run"))]
    Compress(CompressArgs<ModelArgs>),
    /// Quantize a graph
    #[cfg(feature = "run")]
    Compress(compress::MeasuringCompressArgs),
    /// Measure the ranges of activations on data
    #[cfg(feature = "run")]
    Calibrate(calibrate::CalibrateArgs),
    /// Outputs of a model on data: how far from another model's, and how often right
    #[cfg(feature = "run")]
    Evaluate(evaluate::EvaluateArgs),
    /// What each weight costs at each number of bits, measured on the outputs
    #[cfg(feature = "run")]
    Sensitivity(sensitivity::SensitivityArgs),
    /// Put batch norms into the layers before them; the model stays float
    Fold(FoldOnlyArgs<ModelArgs>),
    /// Turn a trained graph and its checkpoint into a graph for inference
    Freeze(freeze::FreezeArgs),
    /// Quantization-aware training from a frozen graph
    #[cfg(feature = "run")]
    Finetune(finetune::FinetuneArgs),
    /// Join the ranges files of parts of the data
    MergeRanges(MergeRangesArgs),
    /// Where TensorFlow's library was looked for and found, and how to install it
    #[cfg(feature = "run")]
    Doctor(library::DoctorArgs),
}

fn main() -> ExitCode {
    let cli: Cli = match quant_cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    #[cfg(feature = "run")]
    let library = cli.command.library().map(|args| args.prepare(&cli.global));
    quant_cli::run(&cli.global, || {
        #[cfg(feature = "run")]
        if let Some(library) = library {
            return cli.command.run_with(&cli.global, library);
        }
        cli.command.run(&cli.global)
    })
}

impl Command {
    /// Run a command that needs no TensorFlow.
    fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        match self {
            Self::Shared(shared) => shared.run(global, Cli::command()),
            Self::Compress(args) => args.run(global),
            Self::Fold(args) => args.run(global),
            Self::Freeze(args) => args.run(global),
            Self::MergeRanges(args) => args.run(global),
            #[cfg(feature = "run")]
            Self::Calibrate(_) | Self::Evaluate(_) | Self::Sensitivity(_) | Self::Finetune(_) | Self::Doctor(_) => {
                Ok(())
            }
        }
    }

    /// The options for finding TensorFlow of a command that needs it.
    #[cfg(feature = "run")]
    fn library(&self) -> Option<&library::LibraryArgs> {
        match self {
            Self::Compress(args) => args.library(),
            Self::Calibrate(args) => Some(&args.library),
            Self::Evaluate(args) => Some(&args.library),
            Self::Sensitivity(args) => Some(&args.library),
            Self::Finetune(args) => Some(&args.library),
            Self::Doctor(args) => Some(&args.library),
            _ => None,
        }
    }

    /// Run a command that needs TensorFlow.
    #[cfg(feature = "run")]
    fn run_with(&self, global: &GlobalArgs, library: library::Library) -> Result<(), Failure> {
        match self {
            Self::Compress(args) => args.run_with(global, library),
            Self::Calibrate(args) => args.run(global, library),
            Self::Evaluate(args) => args.run(global, library),
            Self::Sensitivity(args) => args.run(global, library),
            Self::Finetune(args) => args.run(global, library),
            Self::Doctor(_) => library::DoctorArgs::run(global, library),
            other => other.run(global),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
