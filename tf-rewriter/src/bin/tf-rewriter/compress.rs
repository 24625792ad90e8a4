//! `compress`: plan, apply, write, report.

use std::io::{ErrorKind, Write};

use clap::Args;
use quant_cli::{Destination, Failure, GlobalArgs, OutputArgs, Progress, ReportArgs, summary};
use tf_rewriter::Error;

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
        let compressed = planned.graph.apply(&planned.plan, planned.ranges.as_ref()).map_err(failure)?;
        let report = match &destination {
            Destination::File(path) => {
                let progress = Progress::new(global, "writing", compressed.len());
                compressed.write_to_with(path, &|bytes| progress.inc(bytes)).map_err(failure)?
            }
            Destination::Stdout => match compressed.write(&mut std::io::stdout()) {
                // Whoever reads has enough.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(failure)?,
            },
        };
        self.report.write(&report)?;
        let mut out = global.out_beside(&destination);
        if global.json {
            out.json(&report)?;
        } else {
            write!(out, "{}", summary(&report))?;
        }
        Ok(out.finish()?)
    }
}
