//! The outputs of a model beside the float model's: what their numbers are, and how far they are off.

use quant_math::MathError;
use quant_math::divergence::{Divergence, Scores, probabilities};
use quant_math::evaluation::{Comparison, EvaluationError, OutputReport, Samples};
use quant_math::metrics::MetricsAccumulator;
use quant_math::sensitivity::{self, OutputLoss};
use tensorflow::Output;

use super::super::RunError;
use super::super::session::Model;
use super::super::value::Value;

/// An output of the float model, and what its numbers may be.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) output: Output,
    /// By the op that makes it.
    said: Option<(Scores, String)>,
    /// Whether all numbers so far are from 0 to 1; and whether each row adds up to 1.
    seen: (bool, bool),
    /// Whether it is `[rows, classes]` of float; `None` before it was looked at.
    is_table: Option<bool>,
}

impl Port {
    pub(super) fn new(model: &Model, name: &str) -> Result<Self, RunError> {
        let output = model.tensor(name)?;
        let said = said(&output);
        Ok(Self { name: name.to_owned(), output, said, seen: (true, true), is_table: None })
    }

    /// Look at what the float model gives.
    pub(super) fn look(&mut self, reference: &Value) {
        let is_table = reference.is_float() && matches!(reference.shape(), [_, classes] if *classes > 1);
        self.is_table = Some(is_table && self.is_table != Some(false));
        if self.said.is_none() && is_table && self.seen.0 {
            let (all, ones) = probabilities(classes(reference), &reference.to_f32());
            self.seen = (all, all && ones && self.seen.1);
        }
    }

    /// What its numbers can be by what was seen so far.
    fn candidates(&self) -> Vec<Scores> {
        match (&self.said, self.is_table, self.seen) {
            (Some((scores, _)), _, _) => vec![*scores],
            (None, Some(true), (true, true)) => vec![Scores::Probabilities, Scores::Independent, Scores::Logits],
            (None, Some(true), (true, false)) => vec![Scores::Independent, Scores::Logits],
            (None, Some(true), _) => vec![Scores::Logits],
            (None, _, _) => Vec::new(),
        }
    }

    /// What its numbers are.
    pub(super) fn scores(&self) -> Option<Scores> {
        self.candidates().first().copied()
    }

    /// How that is known.
    pub(super) fn known_by(&self) -> String {
        let known = match (&self.said, self.scores()) {
            (Some((_, op)), _) => return format!("made by {op}"),
            (None, Some(Scores::Probabilities)) => "from 0 to 1, rows add up to 1",
            (None, Some(Scores::Independent)) => "from 0 to 1, rows add up to other sums",
            (None, Some(Scores::Logits)) => "[rows, classes], not from 0 to 1",
            (None, None) => "not [rows, classes] of float",
        };
        known.to_owned()
    }
}

/// What an op says of its output's numbers, and its type.
fn said(output: &Output) -> Option<(Scores, String)> {
    let mut operation = output.operation.clone();
    loop {
        let kind = operation.op_type().ok()?;
        let scores = match kind.as_str() {
            "Identity" | "Cast" | "StopGradient" if operation.num_inputs() > 0 => {
                operation = operation.input(0).0;
                continue;
            }
            "Softmax" => Scores::Probabilities,
            // Its softmax is what it is the logarithm of.
            "LogSoftmax" => Scores::Logits,
            "Sigmoid" => Scores::Independent,
            _ => return None,
        };
        return Some((scores, kind));
    }
}

/// The scores of a row: along the last dimension.
fn classes(value: &Value) -> usize {
    value.shape().last().and_then(|classes| usize::try_from(*classes).ok()).unwrap_or(1)
}

/// An output of one model, summed over the samples.
#[derive(Debug)]
pub(super) struct Compared {
    comparison: Comparison,
    divergences: Vec<Divergence>,
}

impl Compared {
    pub(super) fn new(port: &Port) -> Self {
        let all = [Scores::Logits, Scores::Probabilities, Scores::Independent];
        Self { comparison: Comparison::new(&port.name, 1), divergences: all.into_iter().map(Divergence::new).collect() }
    }

    /// Add what the model gives for some samples.
    ///
    /// # Errors
    /// A label that is no class; numbers that are no scores.
    pub(super) fn add(
        &mut self,
        port: &Port,
        reference: &Value,
        value: &Value,
        samples: Samples<'_>,
    ) -> Result<(), EvaluationError> {
        let (float, own) = (reference.to_f32(), value.to_f32());
        self.comparison.add(value.compared(&own), Some(reference.compared(&float)), samples)?;
        let failed = |source: MathError| EvaluationError::Math { tensor: port.name.clone(), source };
        let candidates = port.candidates();
        for divergence in self.divergences.iter_mut().filter(|divergence| candidates.contains(&divergence.scores())) {
            divergence.add(classes(value), &float, &own).map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn loss(&self, port: &Port) -> OutputLoss {
        let scores = port.scores();
        let divergence = self.divergences.iter().find(|divergence| Some(divergence.scores()) == scores);
        let OutputReport { error, agreement, accuracy, .. } = self.comparison.report();
        OutputLoss {
            kl: divergence.and_then(Divergence::mean),
            error: error.unwrap_or_else(|| MetricsAccumulator::default().finish()),
            top_1: agreement.map(|agreement| agreement.top_1),
            accuracy: accuracy.map(|accuracy| accuracy.model),
        }
    }

    /// The output of the float model; `compared` is any model's beside it.
    pub(super) fn output(&self, port: &Port) -> sensitivity::Output {
        sensitivity::Output {
            name: port.name.clone(),
            scores: port.scores(),
            known_by: port.known_by(),
            accuracy: self.comparison.report().accuracy.and_then(|accuracy| accuracy.reference),
        }
    }
}
