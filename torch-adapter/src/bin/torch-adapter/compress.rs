//! `compress`: plan, apply, write, report.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use quant_cli::{Destination, Failure, GlobalArgs, OutputArgs, Progress, ReportArgs, summary};
use quant_math::report::Report;
use torch_adapter::Compressed;

use crate::coded::failure;
use crate::plan::PlanArgs;

/// Arguments of `compress`.
#[derive(Debug, Args)]
pub(crate) struct CompressArgs {
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    report: ReportArgs,
}

impl CompressArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let destination = self.output.destination()?;
        let planned = self.plan.plan(global)?;
        let compressed = planned.model.apply(&planned.plan, planned.ranges.as_ref()).map_err(failure)?;
        global.warn(compressed.warnings());
        let report = write(global, &destination, &compressed)?;
        self.report.write(&report)?;
        tell(global, &destination, &report)
    }
}

/// Write the result to its place.
pub(crate) fn write(
    global: &GlobalArgs,
    destination: &Destination,
    compressed: &Compressed,
) -> Result<Report, Failure> {
    match destination {
        Destination::File(path) => {
            let progress = Progress::new(global, "writing", compressed.input_len());
            let told = AtomicU64::new(0);
            let report = compressed.write_to_with(path, &|written| {
                progress.inc(written.saturating_sub(told.fetch_max(written, Ordering::Relaxed)));
            });
            report.map_err(failure)
        }
        Destination::Stdout => compressed.write(&mut std::io::stdout()).map_err(failure),
    }
}

/// Tell what came up while writing, and what was done.
pub(crate) fn tell(global: &GlobalArgs, destination: &Destination, report: &Report) -> Result<(), Failure> {
    let mut out = global.out_beside(destination);
    if global.json {
        out.json(report)?;
    } else {
        write!(out, "{}", summary(report))?;
    }
    Ok(out.finish()?)
}
