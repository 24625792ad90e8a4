//! Calibration: an archive that observes is run in PyTorch, and read back.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use model_file::atomic::Unfinished;
use quant_math::config::ConfigList;
use quant_math::plan::Reason;
use quant_math::ranges::Ranges;
use tempfile::TempDir;

use super::python::{Line, Script};
use crate::error::{Error, RunError};
use crate::find::model::Model;
use crate::rewrite::observe::Counting;

const SCRIPT: &str = include_str!("calibrate.py");

/// How data is run through a model.
#[derive(Debug, Clone, Copy)]
pub struct Calibration<'a> {
    /// The interpreter.
    pub python: &'a Path,
    /// A `.npz`, a `.npy`, or a folder of them.
    pub data: &'a Path,
    /// Samples that run at once.
    pub batch: u64,
    /// Arguments of `forward` that are the same in every run.
    pub feeds: &'a [(String, serde_json::Value)],
    /// PyTorch's threads.
    pub threads: Option<usize>,
    /// How histograms count.
    pub counting: Counting,
    /// Where the state is kept for `resume`, if anywhere.
    pub state: Option<&'a Path>,
    /// How often it is kept.
    pub save_every: Duration,
    /// Go on from the state.
    pub resume: bool,
    /// Let Python's own words through to standard error.
    pub verbose: bool,
}

/// Measure the activations of `model`, as it is or as it was [`folded`](Model::folded), that `config` names. `progress` gets the number of samples that ran, and of all; the ranges come with
/// what a user should know.
///
/// # Errors
/// A config without activations that need a range; data that does not fit; what PyTorch says; numbers that are not finite.
pub fn calibrate(
    model: Model,
    config: &ConfigList,
    how: &Calibration<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Ranges, Vec<Reason>), Error> {
    let failed = |source: std::io::Error| RunError::Io {
        action: "make a folder in".to_owned(),
        path: std::env::temp_dir(),
        message: source.to_string(),
    };
    let make = || tempfile::Builder::new().prefix("torch-adapter-").tempdir();
    let (folder, _unfinished) = Unfinished::make(make, TempDir::path).map_err(failed)?;
    let (observing, seen) = (folder.path().join("observing.pt"), folder.path().join("observed.pt"));
    let observed = model.observe(config, how.counting)?;
    let mut warnings = observed.plan().warnings.clone();
    observed.write_to(&observing)?;
    drop(observed);
    let request = serde_json::json!({
        "batch": how.batch, "threads": how.threads, "feeds": how.feeds, "resume": how.resume,
        "save_every": how.save_every.as_secs_f64(),
    })
    .to_string();
    let state = how.state.unwrap_or(Path::new(""));
    let arguments: [&OsStr; 5] =
        [request.as_ref(), observing.as_ref(), how.data.as_ref(), seen.as_ref(), state.as_ref()];
    let mut script = Script::start(how.python, SCRIPT, arguments, how.verbose)?;
    let mut all = 0;
    let (samples, torch) = loop {
        match script.next()? {
            Line { finished: Some(samples), torch, .. } => break (samples, torch),
            Line { samples, done, .. } => {
                all = samples.unwrap_or(all);
                progress(done.unwrap_or(0), all);
            }
        }
    };
    drop(script);
    let (ranges, unseen) = Model::open(&seen)?.measured(&format!("torch {torch}"), Some(samples))?;
    warnings.extend(unseen);
    Ok((ranges, warnings))
}
