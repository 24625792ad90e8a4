//! `compress`, which can measure the ranges that it needs.

use std::path::PathBuf;

use clap::Args;
use quant_cli::{Failure, GlobalArgs};

use crate::calibrate::{HowArgs, ranges_for};
use crate::model::ModelArgs;

/// Arguments of `compress`.
#[derive(Debug, Args)]
pub(crate) struct MeasuringCompressArgs {
    #[command(flatten)]
    compress: quant_cli::CompressArgs<ModelArgs>,

    /// Measure the ranges of activations on this data first (a .npz, a .npy, or a folder of them), instead of `--ranges`
    #[arg(long, value_name = "DATA", conflicts_with_all = ["ranges", "plan"], help_heading = "PyTorch")]
    calibrate: Option<PathBuf>,

    #[command(flatten, next_help_heading = "PyTorch")]
    how: HowArgs,
}

impl MeasuringCompressArgs {
    /// Quantize with the ranges that were given, or that are measured.
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let Some(data) = &self.calibrate else { return self.compress.run(global) };
        let fold = self.compress.options().fold();
        self.compress
            .run_measuring(global, data, &|model, config| ranges_for(global, model, (config, fold), &self.how, data))
    }
}
