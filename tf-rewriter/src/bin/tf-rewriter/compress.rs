//! `compress`, which can measure the ranges that it needs.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args;
use quant_cli::{Failure, GlobalArgs};
use quant_math::fold::Fold;

use crate::bits::SearchArgs;
use crate::calibrate::{DataArgs, ranges_for};
use crate::coded::failure;
use crate::library::{FeedArgs, Library, LibraryArgs};
use crate::model::ModelArgs;

/// Arguments of `compress`.
#[derive(Debug, Args)]
pub(crate) struct MeasuringCompressArgs {
    #[command(flatten)]
    compress: quant_cli::CompressArgs<ModelArgs>,

    /// Measure the ranges of activations on this data first (a .npz, a .npy, or a folder of them), instead of `--ranges`
    #[arg(long, value_name = "DATA", conflicts_with_all = ["ranges", "plan", "goal"], help_heading = "TensorFlow", group = "measures")]
    calibrate: Option<PathBuf>,

    /// Samples that run at once
    #[arg(long, value_name = "N", default_value = "32", requires = "measures", help_heading = "TensorFlow")]
    batch: NonZeroU64,

    #[command(flatten, next_help_heading = "TensorFlow")]
    feeds: FeedArgs,

    #[command(flatten)]
    search: SearchArgs,

    #[command(flatten)]
    library: LibraryArgs,
}

impl MeasuringCompressArgs {
    /// The options for finding TensorFlow, where it is needed.
    pub(crate) fn library(&self) -> Option<&LibraryArgs> {
        (self.calibrate.is_some() || self.search.data().is_some()).then_some(&self.library)
    }

    /// Quantize with the ranges that were given.
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        self.compress.run(global)
    }

    /// Measure ranges, then quantize with them.
    pub(crate) fn run_with(&self, global: &GlobalArgs, library: Library) -> Result<(), Failure> {
        if let Some(data) = self.search.data() {
            let data = DataArgs { data: data.to_owned(), batch: self.batch, feeds: self.feeds.clone() };
            return self.search.run(global, library, &self.compress, &data);
        }
        let Some(data) = &self.calibrate else { return self.compress.run(global) };
        library.load(global)?;
        let data = DataArgs { data: data.clone(), batch: self.batch, feeds: self.feeds.clone() };
        self.compress.run_measuring(global, &data.data, &|graph, config| {
            // What is folded depends on all that is written.
            let fold = self.compress.options().fold.fold();
            let folded = graph.fold_for(config, fold).map_err(failure)?;
            let fold = if folded.is_some() { fold } else { Fold::Off };
            let graph = folded.as_ref().unwrap_or(graph);
            // A SavedModel that is written again has the nodes of all signatures.
            let own = graph.of_signature().map_err(failure)?;
            ranges_for(global, own.as_ref().unwrap_or(graph), config, (&data, fold))
        })
    }
}
