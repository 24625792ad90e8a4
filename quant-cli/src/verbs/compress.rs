//! `compress`: plan, apply, write, report.

use std::io::Write;

use clap::Args;

use super::plan::Measure;
use super::{Adapter, PlanArgs};
use crate::args::{Destination, GlobalArgs, OutputArgs, ReportArgs};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::summary::summary;

/// Arguments of `compress`.
#[derive(Debug, Args)]
pub struct CompressArgs<M: Adapter> {
    #[command(flatten)]
    plan: PlanArgs<M>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    report: ReportArgs,
}

impl<M: Adapter> CompressArgs<M> {
    /// Quantize, write, and print the summary.
    ///
    /// # Errors
    /// A config, model or ranges file that is wrong; an output that cannot be written.
    pub fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        self.carry_out(global, None)
    }

    /// The same with ranges that `measure` gets from the model, in place of a ranges file.
    ///
    /// # Errors
    /// Those of `measure` too.
    pub fn run_measuring(&self, global: &GlobalArgs, measure: &Measure<'_, M>) -> Result<(), Failure> {
        self.carry_out(global, Some(measure))
    }

    fn carry_out(&self, global: &GlobalArgs, measure: Option<&Measure<'_, M>>) -> Result<(), Failure> {
        let destination = self.output.destination()?;
        let planned = self.plan.plan(global, measure)?;
        let compressed = M::apply(planned.model, &planned.plan, planned.ranges.as_ref())?;
        write_result::<M>(global, &destination, &self.report, &compressed)
    }
}

/// Write a quantized model to its place, and tell what was done.
///
/// # Errors
/// An output that cannot be written.
pub(super) fn write_result<M: Adapter>(
    global: &GlobalArgs,
    destination: &Destination,
    report_args: &ReportArgs,
    compressed: &M::Compressed,
) -> Result<(), Failure> {
    global.warn(M::warnings(compressed));
    let report = match destination {
        Destination::File(path) => {
            let progress = Progress::new(global, "writing", M::bytes_to_write(compressed));
            M::write_to(compressed, path, &progress)?
        }
        Destination::Stdout => match M::write(compressed, &mut std::io::stdout())? {
            Some(report) => report,
            None => return Ok(()),
        },
    };
    report_args.write(&report)?;
    let mut out = global.out_beside(destination);
    if global.json {
        out.json(&report)?;
    } else {
        write!(out, "{}", summary(&report))?;
    }
    Ok(out.finish()?)
}
