//! The commands that both binaries have, over what they need of an adapter.

mod bits;
mod compress;
mod diff;
mod fold;
mod frozen;
mod inspect;
mod mix;
mod moments;
mod plan;
mod ranges;
mod sensitivity;
mod shared;
mod verify;

use std::fmt::Debug;
use std::io::Write;
use std::path::Path;

use clap::Args;
use quant_math::Plan;
use quant_math::config::ConfigList;
use quant_math::difference::Difference;
use quant_math::plan::{PlanOptions, Reason};
use quant_math::report::Report;
use serde::Serialize;

use crate::failure::Failure;
use crate::files::Files;
use crate::progress::Progress;

use compress::{destination, write_result};

pub use bits::{BitsArgs, Mixing, Start, Wanted};
pub use compress::CompressArgs;
pub use diff::DiffArgs;
pub use fold::FoldOnlyArgs;
pub use frozen::{FloatArgs, FrozenArgs};
pub use inspect::InspectArgs;
pub use moments::{read_moments, tell_moments, write_moments};
pub use plan::PlanArgs;
pub use ranges::{MergeRangesArgs, read_ranges, tell_ranges, write_ranges};
pub use sensitivity::TrialArgs;
pub use shared::SharedCommand;
pub use verify::VerifyArgs;

/// The model argument of a binary, and what its library does with such a model.
pub trait Adapter: Args + Debug {
    /// An opened model.
    type Model;
    /// A quantized model that is ready to be written.
    type Compressed;
    /// What `inspect` finds; [`Inspection`](quant_math::inspection::Inspection) where a model is one file.
    type Inspected: Serialize;
    /// What only this adapter can be told about a plan.
    type Options: Args + Debug;

    /// The file that the arguments name.
    fn path(&self) -> &Path;
    /// Open the model that the arguments name.
    ///
    /// # Errors
    /// The file cannot be read, or holds no model of this adapter.
    fn open(&self) -> Result<Self::Model, Failure>;
    /// Open the model that the arguments name, for an output at this path; without one, for standard output.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    fn open_for(&self, _output: Option<&Path>) -> Result<Self::Model, Failure> {
        self.open()
    }
    /// Whether an output at this path is a folder.
    fn is_folder(&self, _output: &Path) -> bool {
        false
    }
    /// Open another model.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    fn open_path(path: &Path) -> Result<Self::Model, Failure>;
    /// Add what only this adapter can be told.
    fn options<'a>(given: &Self::Options, options: PlanOptions<'a>) -> PlanOptions<'a>;
    /// With the files that the options name, which are read.
    fn option_files(_given: &Self::Options, files: Files) -> Files {
        files
    }
    /// A model with what the options have of it.
    ///
    /// # Errors
    /// A file of theirs that cannot be read, or is of another model.
    fn with_options(_given: &Self::Options, model: Self::Model) -> Result<Self::Model, Failure> {
        Ok(model)
    }
    /// Find all sites and decide about each.
    ///
    /// # Errors
    /// What the config asks for and this model or form cannot do; a damaged model.
    fn plan(model: &Self::Model, config: &ConfigList, options: PlanOptions<'_>) -> Result<Plan, Failure>;
    /// A plan that was written down, checked against a model; its faults are [`Failure::plan`].
    ///
    /// # Errors
    /// What of the plan the model does not have or cannot do; a damaged model.
    fn check_plan(model: &Self::Model, plan: &Plan) -> Result<Plan, Failure>;
    /// Carry out a plan.
    ///
    /// # Errors
    /// Weights that have no quantized form; a damaged model.
    fn apply(model: Self::Model, plan: &Plan) -> Result<Self::Compressed, Failure>;
    /// The model with every batch norm in the layer before it that can be there, to be written as it is.
    ///
    /// # Errors
    /// A damaged model.
    fn folded(model: Self::Model) -> Result<Self::Compressed, Failure>;
    /// What came up while the plan was carried out.
    fn warnings(compressed: &Self::Compressed) -> &[Reason];
    /// Bytes that writing will report as progress.
    fn bytes_to_write(compressed: &Self::Compressed) -> u64;
    /// Bytes of the model's file and of the file that is going to be written at this path, before it is; `None` where the latter is not known.
    ///
    /// # Errors
    /// A file that is not there any more.
    fn lengths(&self, _compressed: &Self::Compressed, _path: Option<&Path>) -> Result<Option<(u64, u64)>, Failure> {
        Ok(None)
    }
    /// Write a file that is complete or absent.
    ///
    /// # Errors
    /// The file cannot be written, or what was written is not read back as it should be.
    fn write_to(&self, compressed: &Self::Compressed, path: &Path, progress: &Progress) -> Result<Report, Failure>;
    /// Write to a stream; `None` when its reader has enough.
    ///
    /// # Errors
    /// The stream cannot be written to.
    fn write(compressed: &Self::Compressed, out: &mut (dyn Write + Send)) -> Result<Option<Report>, Failure>;
    /// What is in the model that the arguments name.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); a damaged model.
    fn inspect(&self) -> Result<Self::Inspected, Failure>;
    /// The same for a person, as wide as the terminal.
    fn inspected(found: &Self::Inspected) -> String;
    /// What differs between two.
    ///
    /// # Errors
    /// A damaged model.
    fn diff(first: &Self::Model, second: &Self::Model) -> Result<Difference, Failure>;
}
