//! `compress`: plan, apply, write, report.

use std::io::Write;
use std::path::Path;

use clap::Args;
use quant_math::allocation::MixedBits;
use quant_math::plan::Reason;
use quant_math::report::Report;
use serde::Serialize;

use super::plan::Measure;
use super::{Adapter, PlanArgs};
use crate::args::{Destination, GlobalArgs, OutputArgs, ReportArgs};
use crate::failure::Failure;
use crate::files::Files;
use crate::mixed_bits::mixed_bits;
use crate::progress::Progress;
use crate::summary::summary;

/// Arguments of `compress`.
#[derive(Debug, Args)]
pub struct CompressArgs<M: Adapter> {
    #[command(flatten)]
    pub(super) plan: PlanArgs<M>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

impl<M: Adapter> CompressArgs<M> {
    /// The model.
    pub fn model(&self) -> &M {
        &self.plan.model
    }

    /// What only this adapter was told.
    pub fn options(&self) -> &M::Options {
        &self.plan.options
    }

    /// Quantize, write, and print the summary.
    ///
    /// # Errors
    /// A config, model or ranges file that is wrong; an output that cannot be written.
    pub fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        self.carry_out(global, self.plan.files(), None)
    }

    /// The same with ranges that `measure` gets from the model and `data`, in place of a ranges file.
    ///
    /// # Errors
    /// Those of `measure` too.
    pub fn run_measuring(&self, global: &GlobalArgs, data: &Path, measure: &Measure<'_, M>) -> Result<(), Failure> {
        self.carry_out(global, self.plan.files().reads("the data", data), Some(measure))
    }

    fn carry_out(&self, global: &GlobalArgs, files: Files, measure: Option<&Measure<'_, M>>) -> Result<(), Failure> {
        let folder = self.plan.model.is_folder(&self.output.output);
        let destination = destination(files, (&self.output, folder), &self.report)?;
        let planned = self.plan.plan(global, destination.file(), measure)?;
        let compressed = M::apply(planned.model, &planned.plan)?;
        write_result(&self.plan.model, global, (&destination, &self.report), &compressed, Report::advice)
    }
}

/// The place for a quantized model: neither it nor the report takes the place of a file that is needed, and both can be made.
pub(super) fn destination(
    files: Files,
    (output, is_folder): (&OutputArgs, bool),
    report: &ReportArgs,
) -> Result<Destination, Failure> {
    let destination = output.destination()?;
    let files = files.may_write("the output", destination.file());
    files.may_write("the report", report.report.as_ref()).check()?;
    // A folder is tried out by whoever writes it.
    if !is_folder {
        destination.probe()?;
    }
    report.probe()?;
    Ok(destination)
}

/// Write a quantized model to its place, and tell what was done; `advice` is what to say about the result.
///
/// # Errors
/// An output that cannot be written.
pub(super) fn write_result<M: Adapter>(
    model: &M,
    global: &GlobalArgs,
    (destination, report_args): (&Destination, &ReportArgs),
    compressed: &M::Compressed,
    advice: impl Fn(&Report) -> Vec<Reason>,
) -> Result<(), Failure> {
    write_result_with(model, global, (destination, report_args), compressed, (advice, None))
}

/// The same, with the bits that were found, and where their config was written.
pub(super) fn write_result_with<M: Adapter>(
    model: &M,
    global: &GlobalArgs,
    (destination, report_args): (&Destination, &ReportArgs),
    compressed: &M::Compressed,
    (advice, found): (impl Fn(&Report) -> Vec<Reason>, Option<(&MixedBits, Option<&Path>)>),
) -> Result<(), Failure> {
    global.warn(M::warnings(compressed));
    let mut report = match destination {
        Destination::File(path) => {
            let progress = Progress::new(global, "writing", M::bytes_to_write(compressed));
            model.write_to(compressed, path, &progress)?
        }
        Destination::Stdout => match M::write(compressed, &mut std::io::stdout())? {
            Some(report) => report,
            None => return Ok(()),
        },
    };
    let advice = advice(&report);
    global.warn(&advice);
    report.warnings.extend(advice);
    report_args.write(&report)?;
    let mut out = global.out_beside(destination);
    if global.json {
        out.json(&Told { report: &report, mixed_bits: found.map(|(found, _)| found) })?;
    } else {
        if let Some((found, config)) = found {
            writeln!(out, "{}", mixed_bits(found, config))?;
        }
        write!(out, "{}", summary(&report))?;
    }
    Ok(out.finish()?)
}

/// What is told as JSON.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    mixed_bits: Option<&'a MixedBits>,
}
