//! Reading and writing ranges files, and `merge-ranges`.

use crate::codes;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use quant_math::plan::Observer;
use quant_math::ranges::{Ranges, RangesError, SiteRange};

use crate::args::{Destination, GlobalArgs, OutputArgs};
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::side;
use crate::size::count;

/// The largest ranges file in MiB: histograms of 20,000 activations, a hundred times what real models have.
const LARGEST: u64 = 256;

/// Read a ranges file.
///
/// # Errors
/// A file that cannot be read or is none.
pub fn read_ranges(path: &Path) -> Result<Ranges, Failure> {
    let shown = path.display().to_string();
    let text = side::read(path, LARGEST, false).map_err(|error| {
        Failure::failed(Diagnostic::error("R0101", "cannot read the ranges file").at(&shown).caused_by(&error))
    })?;
    Ranges::parse(&text).map_err(|error| failure(&error, shown))
}

/// Write a ranges file that is complete or absent.
///
/// # Errors
/// A place that cannot be written.
pub fn write_ranges(ranges: &Ranges, destination: &Destination) -> Result<(), Failure> {
    let text = ranges.to_json().map_err(|error| failure(&error, String::new()))?;
    match destination {
        Destination::File(path) => Ok(model_file::atomic::write(path, text.as_bytes())?),
        Destination::Stdout => {
            let mut out = crate::out::Out::stdout();
            out.write_all(text.as_bytes())?;
            Ok(out.finish()?)
        }
    }
}

/// Say what was measured, and into which file it went.
///
/// # Errors
/// Standard output cannot be written to.
pub fn tell_ranges(global: &GlobalArgs, ranges: &Ranges, output: &Path) -> Result<(), Failure> {
    let mut out = global.out();
    if global.json {
        out.json(&serde_json::json!({
            "ranges": ranges.ranges.len(), "samples": ranges.samples, "framework": ranges.framework, "output": output
        }))?;
    } else {
        let (measured, samples) = (count(ranges.ranges.len(), "range"), ranges.samples);
        writeln!(out, "{measured} over {samples} samples -> {}", output.display())?;
    }
    Ok(out.finish()?)
}

fn failure(error: &RangesError, file: String) -> Failure {
    let diagnostic = Diagnostic::error(error.code(), format!("ranges file: {error}"));
    let diagnostic = if file.is_empty() { diagnostic } else { diagnostic.at(file) };
    Failure::failed(match error.help() {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    })
}

/// Arguments of `merge-ranges`.
#[derive(Debug, Args)]
pub struct MergeRangesArgs {
    /// Ranges files of one model and one config, each over samples that no other one has seen
    #[arg(value_name = "RANGES", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl MergeRangesArgs {
    /// Join the files, and say what came out.
    ///
    /// # Errors
    /// A file that cannot be read, or does not belong with the first one; an output that cannot be written.
    pub fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let destination = self.output.destination()?;
        let parts = self.files.iter().map(|file| read_ranges(file)).collect::<Result<Vec<_>, _>>()?;
        let files = parts.len();
        let merged = Ranges::merge(parts).map_err(|error| {
            let file = error.part().and_then(|part| self.files.get(part));
            failure(&error, file.map_or_else(String::new, |file| file.display().to_string()))
        })?;
        let observer = |entry: &SiteRange| entry.calibration.as_ref().map_or(merged.observer, |c| c.observer);
        if files > 1 && merged.ranges.iter().any(|entry| observer(entry) == Observer::Ema) {
            let text = "a moving average depends on the order of the samples: this is the run over the files as they were listed";
            global.tell([&Diagnostic::warning(codes::ORDER_MATTERS.name, text)]);
        }
        write_ranges(&merged, &destination)?;
        let mut out = global.out_beside(&destination);
        if global.json {
            out.json(&serde_json::json!({
                "files": files, "samples": merged.samples, "ranges": merged.ranges.len()
            }))?;
        } else {
            let (ranges, from) = (count(merged.ranges.len(), "range"), count(files, "file"));
            writeln!(out, "{ranges} over {} samples from {from}", merged.samples)?;
        }
        Ok(out.finish()?)
    }
}
