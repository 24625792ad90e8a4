//! Sensitivity: what each weight costs at each number of bits, measured on the outputs of the archive.
//!
//! ```text
//! plan ──▶ an archive whose weights can be exchanged, and their values ──▶ python3: all float, one quantized, all but one, all
//! ```
//!
//! The archive is loaded once. Every batch runs through all of these models before the next is read, so that memory does not depend on the number of
//! samples.

use std::ffi::OsStr;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use quant_math::divergence::Scores;
use quant_math::evaluation::{self, NO_SCORES, Samples, Tensor};
use quant_math::plan::{Plan, Reason};
use quant_math::sensitivity::{Port, Sensitivity, Trials, activations_not_tried, numbers_of_bits};
use serde_json::json;

use super::folder::Folder;
use super::how::Running;
use super::python::{Batch, Script};
use super::refused::refused;
use crate::error::{Error, RunError};
use crate::find::model::Model;
use crate::rewrite::exchange::{Exchange, Step};

const SCRIPT: &str = concat!(include_str!("shared.py"), include_str!("outputs.py"), include_str!("sensitivity.py"));

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct SensitivityOptions {
    /// The numbers of bits.
    pub bits: Vec<u32>,
    /// Run the model with all sites but one, too.
    pub all_but: bool,
}

/// A model on its way to the sensitivity of its weights.
#[derive(Debug)]
pub struct SensitivityMeter {
    /// The archive, and what its weights are at each number of bits.
    files: Folder,
    float: Option<quant_math::DType>,
    trials: Trials,
    warnings: Vec<Reason>,
}

impl SensitivityMeter {
    /// Write the model as an archive in which every weight that the plan quantizes can be float or quantized, among the system's temporary
    /// files. The plan says which weights, by which quantizer, and with what scales; the numbers of bits are those of `options`.
    ///
    /// # Errors
    /// A plan of another model, or without a weight that is quantized; bits that the quantizer does not have; damaged tensors; a disk that is full.
    pub fn new(model: Model, plan: &Plan, options: &SensitivityOptions) -> Result<Self, Error> {
        let bits = numbers_of_bits(plan.quantizer, &options.bits).map_err(|message| RunError::Request {
            message,
            help: "give other numbers of bits with `--bits`".to_owned(),
        })?;
        let model = model.folded_by(plan)?;
        let made = model.exchange(plan, &bits);
        let exchange = model.in_file(made)?;
        let mut warnings: Vec<Reason> = activations_not_tried(plan).into_iter().collect();
        warnings.extend(exchange.warnings.iter().cloned());
        if exchange.sites.is_empty() {
            return Err(RunError::Request {
                message: "no weight of the model is quantized and can be exchanged: there is nothing to measure"
                    .to_owned(),
                help: "`plan` says of each site why it is left in float".to_owned(),
            }
            .into());
        }
        let sites = exchange.sites.iter().filter_map(|(site, _)| plan.sites.get(*site).cloned()).collect();
        let mut trials = Trials::new(plan.quantizer, bits.clone(), sites, options.all_but);
        let files = Folder::new()?;
        let written = values(&model, &exchange, bits.len(), &mut trials, &files);
        let holders = model.in_file(written)?;
        let of_sites: Vec<usize> = exchange.sites.iter().map(|(_, holder)| *holder).collect();
        let told = json!({ "bits": bits, "all_but": options.all_but, "holders": holders, "sites": of_sites });
        let told = files.create(EXCHANGE)?.write_all(told.to_string().as_bytes());
        told.map_err(|source| cannot_write(files.file(EXCHANGE), &source))?;
        let float = model.float_type();
        exchange.archive(model).write_to(files.file(ARCHIVE))?;
        Ok(Self { files, float, trials, warnings })
    }

    /// Sites that cannot be measured, and why.
    pub fn warnings(&self) -> &[Reason] {
        &self.warnings
    }

    /// How often each sample runs through the model.
    pub fn runs(&self) -> u64 {
        self.trials.runs()
    }

    /// Run the data through every model; `labels` is the array with the right classes. `progress` gets the number of samples that ran, and of all,
    /// each counted once for every model.
    ///
    /// # Errors
    /// Data that does not fit; an archive that keeps a state; NaN in outputs; labels out of range, or without a score; what PyTorch says.
    pub fn run(
        mut self,
        running: &Running<'_>,
        labels: Option<&str>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Sensitivity, Error> {
        let request = running.request(self.float, json!({ "labels": labels }));
        let files = [ARCHIVE, EXCHANGE, VALUES].map(|name| self.files.file(name));
        let arguments: Vec<&OsStr> = [request.as_ref(), running.data.as_os_str()]
            .into_iter()
            .chain(files.iter().map(|file| file.as_os_str()))
            .collect();
        let mut script = Script::start(running.python, SCRIPT, arguments, running.verbose)?;
        let mut watch = Watch { progress, runs: self.runs(), done: 0, all: 0 };
        let mut torch = String::new();
        loop {
            let line = script.next()?;
            if let Some(all) = line.samples {
                torch = line.torch;
                watch.all = all.saturating_mul(watch.runs);
            }
            if let Some(batch) = line.batch {
                add(&mut script, &mut self.trials, &batch, running.data, labels, &mut watch)?;
            }
            if line.finished.is_some() {
                break;
            }
        }
        drop(script);
        let found = self.trials.finish(format!("torch {torch}"), self.warnings);
        let no_scores = || RunError::Request {
            message: NO_SCORES.to_owned(),
            help: "give an archive whose `forward` gives such scores".to_owned(),
        };
        Ok(found.ok_or_else(no_scores)?)
    }
}

const ARCHIVE: &str = "exchanged.pt";
const EXCHANGE: &str = "exchange.json";
const VALUES: &str = "values";

/// Runs that were made, and who hears of them.
struct Watch<'a> {
    progress: &'a mut dyn FnMut(u64, u64),
    runs: u64,
    done: u64,
    all: u64,
}

impl Watch<'_> {
    fn ran(&mut self, samples: u64) {
        self.done = self.done.saturating_add(samples);
        (self.progress)(self.done, self.all);
    }
}

fn cannot_write(path: PathBuf, source: &std::io::Error) -> RunError {
    RunError::Io { action: "write".to_owned(), path, message: source.to_string() }
}

/// Write the values of every holder, float and at each number of bits, and say where they are: what the script is told of each.
fn values(
    model: &Model,
    exchange: &Exchange,
    steps: usize,
    trials: &mut Trials,
    files: &Folder,
) -> Result<Vec<serde_json::Value>, Error> {
    /// Where the values of a tensor begin: no element is torn, whatever its type.
    const ALIGNED: u64 = 64;
    let failed = |source: std::io::Error| cannot_write(files.file(VALUES), &source);
    let mut out = BufWriter::new(files.create(VALUES)?);
    let (mut told, mut at) = (Vec::new(), 0_u64);
    for (number, holder) in exchange.holders.iter().enumerate() {
        let mut begins = Vec::new();
        for step in std::iter::once(None).chain((0..steps).map(Some)) {
            begins.push(at);
            let error = exchange.write_values(model, holder, step, &mut out)?;
            let own = exchange.sites.iter().enumerate().filter(|(_, (_, holder))| *holder == number);
            for (site, step) in own.filter_map(|(site, _)| Some((site, step?))) {
                trials.set_weight_error(step, site, error);
            }
            let end = at.saturating_add(holder.len());
            at = end.next_multiple_of(ALIGNED);
            let gap = usize::try_from(at - end).unwrap_or_default();
            out.write_all(&vec![0; gap]).map_err(failed)?;
        }
        let way: Vec<_> = holder.way.iter().map(step_told).collect();
        told.push(json!({ "way": way, "item": holder.item(), "len": holder.len(), "at": begins }));
    }
    out.flush().map_err(failed)?;
    Ok(told)
}

/// An attribute is its name; the position or the key of an element stands in a list.
fn step_told(step: &Step) -> serde_json::Value {
    match step {
        Step::Attribute(name) => json!(name),
        Step::Element(position) => json!([position]),
        Step::Key(key) => json!([key]),
    }
}

/// What a model gave for a batch.
struct Given {
    outputs: Vec<(String, Vec<u64>, bool, Vec<f32>)>,
}

impl Given {
    fn read(script: &mut Script, batch: &Batch) -> Result<Self, RunError> {
        let outputs = batch.outputs.iter().map(|output| {
            let values = script.numbers(&output.shape)?;
            Ok((output.name.clone(), output.shape.clone(), output.is_float, values))
        });
        Ok(Self { outputs: outputs.collect::<Result<_, RunError>>()? })
    }

    /// The outputs that are compared.
    fn tensors<'a>(&'a self, ports: &[Port]) -> Result<Vec<Tensor<'a>>, RunError> {
        let find = |port: &Port| {
            let found = self.outputs.iter().find(|(name, ..)| name == port.name());
            let tensor = |(_, shape, is_float, values): &'a (String, Vec<u64>, bool, Vec<f32>)| Tensor {
                shape,
                values,
                is_float: *is_float,
            };
            found.map(tensor).ok_or_else(|| RunError::Request {
                message: format!("the archive gives `{}` for some samples or weights, and for others not", port.name()),
                help: "give an archive whose `forward` gives the same outputs whatever it gets".to_owned(),
            })
        };
        ports.iter().map(find).collect()
    }
}

/// Add what every model gives for a batch: that of the float model, whose line was read, and then the others in their order.
fn add(
    script: &mut Script,
    trials: &mut Trials,
    batch: &Batch,
    data: &Path,
    labels: Option<&str>,
    watch: &mut Watch<'_>,
) -> Result<(), RunError> {
    let failed = |error| refused(error, data);
    let classes = match (&batch.labels, labels) {
        (Some(shape), Some(name)) => {
            let values = script.numbers(shape)?;
            Some(evaluation::labels(name, batch.count, shape, values).map_err(failed)?)
        }
        _ => None,
    };
    let samples = Samples { first: trials.samples(), count: batch.count, labels: classes.as_deref() };
    let reference = Given::read(script, batch)?;
    if trials.ports().is_empty() {
        let port = |output: &super::python::Output| Port::new(&output.name, said(output.made_by.as_deref()));
        trials.set_outputs(batch.outputs.iter().map(port).collect());
    }
    let reference = reference.tensors(trials.ports())?;
    trials.look(&reference, samples).map_err(failed)?;
    watch.ran(batch.count);
    for trial in trials.each() {
        let line = script.next()?;
        let Some(batch) = line.batch else { return Err(script.silent()) };
        let own = Given::read(script, &batch)?;
        let own = own.tensors(trials.ports())?;
        trials.add(trial, &reference, &own, samples).map_err(failed)?;
        watch.ran(batch.count);
    }
    Ok(())
}

/// What the numbers of an output are by the op that makes it.
fn said(op: Option<&str>) -> Option<(Scores, String)> {
    let op = op?;
    let scores = match op {
        "Softmax" => Scores::Probabilities,
        // Its softmax is what it is the logarithm of.
        "LogSoftmax" => Scores::Logits,
        "Sigmoid" => Scores::Independent,
        _ => return None,
    };
    Some((scores, op.to_owned()))
}
