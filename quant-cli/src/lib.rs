//! What the command-line tools share: arguments, errors, exit codes, tables, the report and progress.
//!
//! ```no_run
//! use clap::Parser;
//! use quant_cli::{Failure, GlobalArgs};
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     global: GlobalArgs,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let cli: Cli = match quant_cli::parse() {
//!         Ok(cli) => cli,
//!         Err(code) => return code,
//!     };
//!     quant_cli::run(&cli.global, || {
//!         let mut out = cli.global.out();
//!         out.json(&"hello")?;
//!         Ok(out.finish()?)
//!     })
//! }
//! ```
#![forbid(unsafe_code)]

mod args;
pub mod codes;
mod commands;
mod diagnostic;
mod evaluation;
mod failure;
mod files;
mod fold_args;
mod html;
mod left_behind;
mod mixed_bits;
mod model_tables;
mod narrow;
mod npz;
mod out;
mod page;
mod printable;
mod progress;
mod run;
mod sensitivity;
mod side;
mod signals;
mod size;
mod summary;
mod table;
mod usage;
mod verbs;

pub use args::{Destination, GlobalArgs, GradientArgs, OutputArgs, QuantizeArgs, ReportArgs, quantizers, words};
pub use commands::{CompletionsArgs, SchemaArgs};
pub use diagnostic::{Coded, Diagnostic, Level};
pub use evaluation::evaluation;
pub use failure::Failure;
pub use files::Files;
pub use fold_args::{FoldArgs, PlanFoldArgs};
pub use html::report_html;
pub use left_behind::LeftBehind;
pub use mixed_bits::{mixed_bits, mixed_bits_in};
pub use model_tables::{difference, difference_in, inspection, inspection_in, shape_text};
pub use npz::SavedOutputs;
pub use out::Out;
pub use printable::{printable, printable_line};
pub use progress::Progress;
pub use run::run;
pub use sensitivity::{sensitivity, sensitivity_html, sensitivity_in};
pub use size::{count, human_bytes, share};
pub use summary::{plan_table, plan_table_in, summary, summary_in};
pub use table::{list_text, rows_text, terminal_width};
pub use usage::parse;
pub use verbs::{
    Adapter, BitsArgs, CompressArgs, DiffArgs, FloatArgs, FoldOnlyArgs, FrozenArgs, InspectArgs, MergeRangesArgs,
    Mixing, PlanArgs, SharedCommand, Start, TrialArgs, VerifyArgs, Wanted, read_moments, read_ranges, tell_moments,
    tell_ranges, write_moments, write_ranges,
};
