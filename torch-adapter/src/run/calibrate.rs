//! Calibration: an archive that observes is run in PyTorch, and read back.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use quant_math::config::ConfigList;
use quant_math::plan::Reason;
use quant_math::ranges::Ranges;
use serde_json::json;

use super::folder::Folder;
use super::how::Running;
use super::python::{Line, Script};
use crate::error::Error;
use crate::find::model::Model;
use crate::rewrite::observe::Counting;

const SCRIPT: &str = concat!(include_str!("shared.py"), include_str!("calibrate.py"));

/// How activations are measured.
#[derive(Debug, Clone, Copy)]
pub struct Calibration<'a> {
    /// How data is run.
    pub running: Running<'a>,
    /// How histograms count.
    pub counting: Counting,
    /// Where the state is kept for `resume`, if anywhere.
    pub state: Option<&'a Path>,
    /// How often it is kept.
    pub save_every: Duration,
    /// Go on from the state.
    pub resume: bool,
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
    let folder = Folder::new()?;
    let (observing, seen) = (folder.file("observing.pt"), folder.file("observed.pt"));
    let float = model.float_type();
    let observed = model.observe(config, how.counting)?;
    let mut warnings = observed.plan().warnings.clone();
    observed.write_to(&observing)?;
    drop(observed);
    let (running, save_every) = (&how.running, how.save_every.as_secs_f64());
    let request = running.request(float, json!({ "resume": how.resume, "save_every": save_every }));
    let state = how.state.unwrap_or(Path::new(""));
    let arguments: [&OsStr; 5] =
        [request.as_ref(), observing.as_ref(), running.data.as_ref(), seen.as_ref(), state.as_ref()];
    let mut script = Script::start(running.python, SCRIPT, arguments, running.verbose)?;
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
