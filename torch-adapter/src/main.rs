//! The `torch-adapter` command.

use clap::Parser;

/// Quantize TorchScript archives without libtorch, Python or the source of the model.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Args {}

fn main() {
    let Args {} = Args::parse();
}
