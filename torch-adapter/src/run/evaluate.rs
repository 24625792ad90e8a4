//! Evaluation: what an archive gives on data, how far it is from a reference, and how often it is right.

use std::ffi::OsStr;
use std::path::Path;

use quant_math::evaluation::{self, Comparison, Evaluation, Samples, Tensor};
use serde_json::json;

use super::how::Running;
use super::python::{Batch, Script};
use super::refused::refused;
use crate::error::{Error, RunError};
use crate::find::model::Model;

const SCRIPT: &str = concat!(include_str!("shared.py"), include_str!("outputs.py"), include_str!("evaluate.py"));

/// What is wanted of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Evaluating<'a> {
    /// How data is run.
    pub running: Running<'a>,
    /// The array with the right classes.
    pub labels: Option<&'a str>,
    /// The k of top-k agreement; 0: no top-k.
    pub top_k: usize,
}

/// What an evaluation tells while it runs.
pub trait Watch {
    /// So many samples of all have run.
    fn samples(&mut self, done: u64, all: u64);
    /// What a batch gave of an output of the model.
    fn output(&mut self, name: &str, shape: &[u64], values: &[f32]);
}

/// Run data through the archive at `model`, beside that at `reference` or alone.
///
/// # Errors
/// Files that are no archives; data that does not fit; archives that differ in their inputs or outputs; NaN; labels without a score; what
/// PyTorch says.
pub fn evaluate(
    model: &Path,
    reference: Option<&Path>,
    how: &Evaluating<'_>,
    watch: &mut dyn Watch,
) -> Result<Evaluation, Error> {
    let float = Model::open(model)?.float_type();
    let float = match reference.map(Model::open).transpose()? {
        Some(reference) => float.or(reference.float_type()),
        None => float,
    };
    let running = &how.running;
    let request = running.request(float, json!({ "labels": how.labels }));
    let arguments: Vec<&OsStr> = [request.as_ref(), running.data.as_os_str(), model.as_os_str()]
        .into_iter()
        .chain(reference.map(Path::as_os_str))
        .collect();
    let mut script = Script::start(running.python, SCRIPT, arguments, running.verbose)?;
    let mut outputs = Vec::new();
    let (mut all, mut done) = (0, 0);
    loop {
        let line = script.next()?;
        all = line.samples.unwrap_or(all);
        if let Some(batch) = line.batch {
            add(&mut script, &batch, how, (done, &mut outputs), watch)?;
            done += batch.count;
            watch.samples(done, all);
        }
        if line.finished.is_some() {
            break;
        }
    }
    let outputs: Vec<_> = outputs.iter().map(Comparison::report).collect();
    if how.labels.is_some() && outputs.iter().all(|output| output.accuracy.is_none()) {
        return Err(RunError::Request {
            message: evaluation::NO_SCORES.to_owned(),
            help: "give an archive whose `forward` gives such scores".to_owned(),
        }
        .into());
    }
    Ok(Evaluation { samples: done, outputs, layers: Vec::new(), entrances: Vec::new() })
}

/// Add what a batch gave, which follows its line.
fn add(
    script: &mut Script,
    batch: &Batch,
    how: &Evaluating<'_>,
    (first, outputs): (u64, &mut Vec<Comparison>),
    watch: &mut dyn Watch,
) -> Result<(), RunError> {
    let failed = |error| refused(error, how.running.data);
    let labels = match (&batch.labels, how.labels) {
        (Some(shape), Some(name)) => {
            let values = script.numbers(shape)?;
            Some(evaluation::labels(name, batch.count, shape, values).map_err(failed)?)
        }
        _ => None,
    };
    let samples = Samples { first, count: batch.count, labels: labels.as_deref() };
    for output in &batch.outputs {
        let own: Vec<f32> = script.numbers(&output.shape)?;
        let other: Option<Vec<f32>> = output.reference.as_ref().map(|shape| script.numbers(shape)).transpose()?;
        let is_float = output.is_float;
        let reference = output.reference.as_ref().zip(other.as_ref());
        let reference = reference.map(|(shape, values)| Tensor { shape, values, is_float });
        let known = outputs.iter().position(|known| known.name() == output.name);
        let known = known.unwrap_or_else(|| {
            outputs.push(Comparison::new(&output.name, how.top_k));
            outputs.len() - 1
        });
        if let Some(comparison) = outputs.get_mut(known) {
            comparison
                .add(Tensor { shape: &output.shape, values: &own, is_float }, reference, samples)
                .map_err(failed)?;
        }
        watch.output(&output.name, &output.shape, &own);
    }
    Ok(())
}
