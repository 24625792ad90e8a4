//! Quantization-aware training from a frozen graph.
//!
//! ```text
//! frozen graph ──into_trainable──▶ variables ──plan, apply──▶ training graph ──loss, gradients, optimizer──▶ epochs ──freeze──▶ result
//! ```
//!
//! The ranges of the result are measured anew with the weights that it has: a moving average is behind them, and clips. The untrained
//! model, measured likewise, is a candidate too, so that training makes nothing worse on the samples that are held back.

mod carried;
mod goals;
mod judge;
mod loss;
mod options;
mod prepared;
mod reach;
mod result;
mod samples;
mod state;
mod trainer;
mod variables;

use std::path::{Path, PathBuf};

use quant_math::config::ConfigList;
use quant_math::evaluation::EvaluationError;
use quant_math::fold::Folded;
use quant_math::plan::{Reason, Site};
use quant_math::quantizers::table::StepSource;
use serde::{Deserialize, Serialize};

use self::goals::{check_labels, hits, outputs_of, softmaxes};
use self::judge::targets;
use self::prepared::Prepared;
use self::samples::{Samples, shuffle};
use self::state::{Identity, State};
use self::trainer::Trainer;
use self::variables::{Snapshot, Variable};
use super::RunError;
use super::feeds::Feeds;
use super::refused::refused;
use super::session::{Model, RunOptions};
use crate::codes;
use crate::error::Error;
use crate::graphdef::graph::Graph;

pub use options::{FinetuneOptions, Loss, Objective, Optimizer};

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1; 0 is the model before the first step.
    pub number: u32,
    /// The mean loss of its steps.
    pub loss: f64,
    /// The loss of the samples that are not trained on.
    pub validation_loss: Option<f64>,
    /// The share of them whose class is right, with labels.
    pub validation_accuracy: Option<f64>,
    /// Whether quantization has begun at every site (`quant_start_step`).
    pub quantized: bool,
}

/// A model in training.
#[derive(Debug)]
pub struct Finetuner {
    training: Graph,
    trainer: Trainer,
    /// The float model, whose outputs are the targets without labels.
    teacher: Option<Teacher>,
    variables: Vec<Variable>,
    /// Their values before the first step.
    begin: Snapshot,
    samples: Samples,
    /// The data's file.
    path: PathBuf,
    train: Vec<usize>,
    validation: Vec<usize>,
    batch: usize,
    options: FinetuneOptions,
    identity: Identity,
    /// The step from which on every site is quantized.
    all_begun: u64,
    steps: u64,
    epochs: Vec<Epoch>,
    best: Option<(Epoch, Snapshot)>,
    warnings: Vec<Reason>,
    skipped: Vec<Site>,
    /// The batch normalizations of the float model, and which of them went into the layers before them.
    folds: Vec<Folded>,
    config: ConfigList,
    run: RunOptions,
}

/// The float model, and those of its outputs that are targets.
#[derive(Debug)]
struct Teacher {
    model: Model,
    outputs: Vec<tensorflow::Output>,
}

impl Finetuner {
    /// Turn the constants of `graph` that are weights into variables, quantize for training as `config` says, and read all of the data,
    /// whose array `labels` is the right classes. The data is held in memory.
    ///
    /// # Errors
    /// A graph that needs the values of variables; those of [`Graph::into_trainable`], [`Graph::plan`], [`Graph::apply`],
    /// [`Model::new`]; data that does not fit the model; a model that cannot be differentiated.
    pub fn new(
        graph: Graph,
        config: &ConfigList,
        path: &Path,
        labels: Option<&str>,
        options: FinetuneOptions,
        run: &RunOptions,
    ) -> Result<Self, Error> {
        super::unset::check_values(&graph)?;
        let graph = graph.folded(config, run.fold)?;
        let folds = graph.folds().to_vec();
        let teacher = (options.objective == Objective::Distill).then(|| Model::new(&graph, run)).transpose()?;
        let softmaxes = softmaxes(&graph);
        let Prepared { training, mut model, trainables, all_begun, mut warnings, fingerprint, plan, skipped } =
            Prepared::new(graph, config, run)?;
        let mut feeds = Feeds::open(&model, path, labels)?;
        let samples = Samples::read(&mut feeds)?;
        let batch = samples.exact().unwrap_or(usize::try_from(options.batch).unwrap_or(usize::MAX));
        let (train, validation) = samples.split(options.validation, options.seed);
        if train.len() < samples.exact().unwrap_or(1) {
            return Err(RunError::Request {
                message: format!("{} samples are left to train on", train.len()),
                help: "give more data, or a smaller share for validation".to_owned(),
            }
            .into());
        }
        let goals = outputs_of(&model, &samples, &softmaxes)?;
        check_labels(&samples, &goals, path)?;
        let variables = Variable::all(&mut model)?;
        let trainer = Trainer::new(model, &goals, &trainables, &options)?;
        let teacher = match teacher {
            None => None,
            Some(model) => {
                let outputs = trainer.outputs.iter().map(|output| model.tensor(&output.name));
                let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
                Some(Teacher { model, outputs })
            }
        };
        variables::begin(&trainer.model, &trainer.slots)?;
        if config.quantizer.row().steps == StepSource::Learnt {
            // The first batch sets the steps; in the first pass, in which it does, they have no gradient.
            let mut order = train.clone();
            shuffle(&mut order, options.seed, 1);
            if let Some(numbers) = samples.batches(&order, batch).next() {
                let (batch, labels) = samples.gather(numbers);
                trainer.pass(&batch, &targets(teacher.as_ref(), &batch, labels.as_deref())?)?;
            }
        }
        let begin = variables::read(&trainer.model, variables.iter())?;
        warnings.extend(trainer.untouched.iter().cloned());
        let steps = samples.batches(&train, batch).count() as u64 * u64::from(options.epochs);
        if all_begun >= steps && all_begun > 0 {
            let text = format!(
                "`quant_start_step` {all_begun} is beyond the {steps} steps of this training: what begins there stays in float; set a smaller \
                 one, or train for more `--epochs`"
            );
            warnings.push(Reason::new(codes::LATE_START, text));
        }
        let identity = Identity { model: fingerprint, plan, options: options.clone(), samples: samples.count() as u64 };
        Ok(Self {
            training,
            trainer,
            teacher,
            variables,
            begin,
            samples,
            path: path.to_owned(),
            train,
            validation,
            batch,
            options,
            identity,
            all_begun,
            steps: 0,
            epochs: Vec::new(),
            best: None,
            warnings,
            skipped,
            folds,
            config: config.clone(),
            run: run.clone(),
        })
    }

    /// What the user should know before the training.
    pub fn warnings(&self) -> &[Reason] {
        &self.warnings
    }

    /// The epochs so far.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// The best epoch so far: the highest validation accuracy, then the lowest validation loss; only epochs count at whose end every
    /// site was quantized. Without validation, the last epoch.
    pub fn best(&self) -> Option<Epoch> {
        self.best.as_ref().map(|(epoch, _)| *epoch)
    }

    /// Train one more epoch; `None` when all are done.
    ///
    /// # Errors
    /// TensorFlow's own; a training that runs away.
    pub fn epoch(&mut self, on_step: &dyn Fn(u64)) -> Result<Option<Epoch>, RunError> {
        let number = u32::try_from(self.epochs.len()).unwrap_or(u32::MAX).saturating_add(1);
        if number > self.options.epochs {
            return Ok(None);
        }
        let mut order = self.train.clone();
        shuffle(&mut order, self.options.seed, u64::from(number));
        let steps_per_epoch = self.samples.batches(&order, self.batch).count() as u64;
        let all_steps = steps_per_epoch * u64::from(self.options.epochs);
        let (mut sum, mut count) = (0.0, 0u64);
        for numbers in self.samples.batches(&order, self.batch) {
            let (batch, labels) = self.samples.gather(numbers);
            let targets = targets(self.teacher.as_ref(), &batch, labels.as_deref())?;
            let rate = self.options.learning_rate_at(self.steps, all_steps);
            let loss = self.trainer.step(&batch, &targets, rate, self.steps + 1)?;
            if !loss.is_finite() {
                return Err(self.not_finite(&format!("the loss became {loss} in step {}", self.steps + 1), numbers));
            }
            sum += loss * real(batch.samples);
            count += batch.samples;
            self.steps += 1;
            on_step(batch.samples);
        }
        let (validation_loss, validation_accuracy) = self.validate()?;
        let quantized = self.steps >= self.all_begun;
        let epoch = Epoch { number, loss: sum / real(count.max(1)), validation_loss, validation_accuracy, quantized };
        self.epochs.push(epoch);
        if self.best.as_ref().is_none_or(|(best, _)| better(&epoch, best)) {
            let values = variables::read(&self.trainer.model, self.variables.iter())?;
            self.best = Some((epoch, values));
        }
        Ok(Some(epoch))
    }

    /// Samples that an epoch trains on.
    pub fn samples_per_epoch(&self) -> u64 {
        self.train.len() as u64
    }

    fn validate(&self) -> Result<(Option<f64>, Option<f64>), RunError> {
        let (mut loss, mut right, mut count) = (0.0, 0u64, 0u64);
        for numbers in self.samples.batches(&self.validation, self.batch) {
            let (batch, labels) = self.samples.gather(numbers);
            let targets = targets(self.teacher.as_ref(), &batch, labels.as_deref())?;
            let (of_batch, scores) = self.trainer.test(&batch, &targets)?;
            if !of_batch.is_finite() {
                return Err(self.not_finite(&format!("the loss of samples held back became {of_batch}"), numbers));
            }
            loss += of_batch * real(batch.samples);
            count += batch.samples;
            if let (Some(scores), Some(labels)) = (scores, labels) {
                right += hits(&scores, &labels);
            }
        }
        if count == 0 {
            return Ok((None, None));
        }
        let accuracy = self.samples.labels().map(|_| real(right) / real(count));
        Ok((Some(loss / real(count)), accuracy))
    }

    /// Why a loss is not finite: the model gives NaN for these samples even with the weights that it came with, or the training ran
    /// away. What was trained is put aside for that; nobody needs it any more.
    fn not_finite(&self, became: &str, numbers: &[usize]) -> RunError {
        let ran_away = RunError::Request {
            message: format!("{became}: the training ran away"),
            help: "train with a smaller `--lr`".to_owned(),
        };
        let (batch, _) = self.samples.gather(numbers);
        let numbers: Vec<u64> = numbers.iter().map(|number| *number as u64).collect();
        if let Err(message) = variables::write(&self.trainer.model, self.variables.iter(), &self.begin) {
            return RunError::Request {
                message: format!("{became}; {message}"),
                help: "see whether TensorFlow still runs".to_owned(),
            };
        }
        let outputs = match self.trainer.outputs(&batch) {
            Ok(outputs) => outputs,
            Err(error) => return error,
        };
        let nan = outputs.iter().find_map(|(name, value)| {
            let at = value.first_nan()?;
            Some(EvaluationError::nan("the model", name, value.shape(), at, &numbers))
        });
        nan.map_or(ran_away, |error| refused(error, &self.path))
    }

    /// What [`Finetuner::resume`] needs to go on from here, as bytes of a file.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub fn state(&self) -> Result<Vec<u8>, RunError> {
        let now = variables::read(&self.trainer.model, self.variables.iter().chain(&self.trainer.slots))?;
        let best = self.best.clone();
        State { identity: self.identity.clone(), epochs: self.epochs.clone(), steps: self.steps, now, best }.to_bytes()
    }

    /// Go on from what [`Finetuner::state`] gave.
    ///
    /// # Errors
    /// A damaged file; another model, config, data or options.
    pub fn resume(&mut self, path: &Path) -> Result<(), RunError> {
        let state = State::open(path)?;
        let differs = |message: String| RunError::Resume { message, path: path.to_owned() };
        let (found, own) = (&state.identity, &self.identity);
        for (what, same) in [
            ("model", found.model == own.model),
            ("config", found.plan == own.plan),
            ("number of samples", found.samples == own.samples),
            ("set of training options", found.options == own.options),
        ] {
            if !same {
                return Err(differs(format!("it was made with another {what}")));
            }
        }
        let all = self.variables.iter().chain(&self.trainer.slots);
        variables::write(&self.trainer.model, all, &state.now).map_err(differs)?;
        (self.epochs, self.steps, self.best) = (state.epochs, state.steps, state.best);
        Ok(())
    }
}

/// Whether an epoch is better than the best so far.
fn better(new: &Epoch, best: &Epoch) -> bool {
    if new.quantized != best.quantized {
        return new.quantized;
    }
    let Some((new_loss, best_loss)) = new.validation_loss.zip(best.validation_loss) else { return true };
    let accuracy = new.validation_accuracy.zip(best.validation_accuracy).map(|(new, best)| new.total_cmp(&best));
    match accuracy {
        Some(std::cmp::Ordering::Greater) => true,
        Some(std::cmp::Ordering::Less) => false,
        _ => new_loss < best_loss,
    }
}

fn real(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "numbers of samples are far below 2^53")]
    let count = count as f64;
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(loss: f64, accuracy: Option<f64>, quantized: bool) -> Epoch {
        Epoch { number: 1, loss: 0.0, validation_loss: Some(loss), validation_accuracy: accuracy, quantized }
    }

    #[test]
    fn accuracy_decides_before_loss_and_quantization_before_both() {
        assert!(better(&epoch(2.0, Some(0.9), true), &epoch(1.0, Some(0.8), true)));
        assert!(!better(&epoch(1.0, Some(0.8), true), &epoch(1.0, Some(0.8), true)));
        assert!(better(&epoch(0.5, Some(0.8), true), &epoch(1.0, Some(0.8), true)));
        assert!(better(&epoch(0.5, None, true), &epoch(1.0, None, true)));
        assert!(better(&epoch(9.0, Some(0.1), true), &epoch(1.0, Some(0.8), false)));
        assert!(!better(&epoch(0.1, Some(1.0), false), &epoch(1.0, Some(0.8), true)));
    }
}
