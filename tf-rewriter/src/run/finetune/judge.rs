//! How good a finished model is, told from its own outputs: the measure by which the result of a training is chosen.

use tensorflow::{Operation, Output};

use super::goals::TrainedOutput;
use super::goals::hits;
use super::loss::loss;
use super::options::FinetuneOptions;
use super::samples::Samples;
use super::{Teacher, real};
use crate::error::Error;
use crate::graphdef::graph::Interface;
use crate::rewrite::apply::Compressed;
use crate::run::nodes::Nodes;
use crate::run::session::{Model, RunOptions};
use crate::run::{Batch, RunError, Value};

/// What a model comes to on the samples that are held back, or on all where none are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    pub(super) loss: f64,
    pub(super) accuracy: Option<f64>,
}

impl Score {
    /// Whether it is better than another: by accuracy, then by loss. NaN is never better.
    pub(super) fn is_better_than(&self, other: &Self) -> bool {
        let (own, others) = (self.accuracy.unwrap_or(0.0), other.accuracy.unwrap_or(0.0));
        own > others || (own >= others && self.loss < other.loss)
    }

    /// For a person.
    pub(super) fn told(&self) -> String {
        match self.accuracy {
            Some(accuracy) => format!("accuracy {:.2} %, loss {:.6}", 100.0 * accuracy, self.loss),
            None => format!("loss {:.6}", self.loss),
        }
    }
}

/// A finished model with a loss behind it.
struct Judged {
    model: Model,
    loss: Output,
    targets: Vec<Operation>,
    scores: Option<Output>,
}

/// What models are judged on.
pub(super) struct Judge<'a> {
    pub(super) samples: &'a Samples,
    /// Numbers of the samples.
    pub(super) numbers: &'a [usize],
    pub(super) batch: usize,
    pub(super) teacher: Option<&'a Teacher>,
    pub(super) outputs: &'a [TrainedOutput],
    pub(super) options: &'a FinetuneOptions,
    pub(super) run: &'a RunOptions,
}

impl Judge<'_> {
    /// Run a model as it would be written.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(super) fn score(&self, compressed: &Compressed) -> Result<Score, Error> {
        let judged = self.model(compressed)?;
        let (mut loss, mut right, mut count, mut labelled) = (0.0, 0u64, 0u64, false);
        for numbers in self.samples.batches(self.numbers, self.batch) {
            let (batch, labels) = self.samples.gather(numbers);
            let targets = targets(self.teacher, &batch, labels.as_deref())?;
            let fetches: Vec<Output> = std::iter::once(judged.loss.clone()).chain(judged.scores.clone()).collect();
            let fed = judged.targets.iter().zip(&targets).map(|(operation, value)| (operation, 0, value));
            let mut values = judged.model.infer(judged.model.feeds(&batch).chain(fed), &fetches)?.into_iter();
            let of_batch = values.next().and_then(|value| value.to_f64().first().copied()).unwrap_or(f64::NAN);
            loss += of_batch * real(batch.samples);
            count += batch.samples;
            if let (Some(scores), Some(labels)) = (values.next(), labels) {
                right += hits(&scores, &labels);
                labelled = true;
            }
        }
        let accuracy = labelled.then(|| real(right) / real(count.max(1)));
        Ok(Score { loss: loss / real(count.max(1)), accuracy })
    }

    fn model(&self, compressed: &Compressed) -> Result<Judged, Error> {
        let mut bytes = Vec::new();
        compressed.write(&mut bytes)?;
        let names = self.outputs.iter().map(|output| output.name.clone()).collect();
        let mut model = Model::from_bytes(&bytes, names, &Interface::default(), self.run)?;
        drop(bytes);
        let mut outputs = Vec::new();
        for output in self.outputs {
            outputs.push(TrainedOutput { output: model.tensor(&output.name)?, ..output.clone() });
        }
        let scores = outputs.iter().find(|output| output.classes.is_some()).map(|output| output.output.clone());
        let (loss, targets) = loss(&mut Nodes::new(&mut model, "finetune"), &outputs, self.options)?;
        Ok(Judged { model, loss, targets, scores })
    }
}

/// What a batch is compared with: the float model's outputs, or the labels.
pub(super) fn targets(
    teacher: Option<&Teacher>,
    batch: &Batch,
    labels: Option<&[i64]>,
) -> Result<Vec<Value>, RunError> {
    match (teacher, labels) {
        (Some(teacher), _) => teacher.model.run(batch, &teacher.outputs),
        (None, Some(labels)) => Ok(vec![Value::I64(tensorflow::Tensor::from(labels))]),
        (None, None) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::Score;

    #[test]
    fn accuracy_decides_before_loss_and_a_draw_is_no_win() {
        let score = |loss, accuracy| Score { loss, accuracy };
        assert!(score(2.0, Some(0.9)).is_better_than(&score(1.0, Some(0.8))));
        assert!(score(0.5, Some(0.8)).is_better_than(&score(1.0, Some(0.8))));
        assert!(!score(1.0, Some(0.8)).is_better_than(&score(1.0, Some(0.8))));
        assert!(!score(0.1, Some(0.7)).is_better_than(&score(1.0, Some(0.8))));
        assert!(score(0.5, None).is_better_than(&score(1.0, None)));
        assert!(!score(f64::NAN, None).is_better_than(&score(1.0, None)));
    }
}
