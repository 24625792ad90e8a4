//! The outputs of a model beside the float model's: what their numbers are, and how far they are off.

use super::{Output, OutputLoss};
use crate::MathError;
use crate::divergence::{Divergence, Scores, probabilities};
use crate::evaluation::{Comparison, EvaluationError, OutputReport, Samples, Tensor};
use crate::metrics::MetricsAccumulator;

/// An output of the float model, and what its numbers may be.
#[derive(Debug, Clone)]
pub struct Port {
    name: String,
    /// By the op that makes it.
    said: Option<(Scores, String)>,
    /// Whether all numbers so far are from 0 to 1; and whether each row adds up to 1.
    seen: (bool, bool),
    /// Whether it is `[rows, classes]` of float; `None` before it was looked at.
    is_table: Option<bool>,
}

impl Port {
    /// The output `name`; `said` is what its numbers are by the op that makes it, whose type stands beside it.
    pub fn new(name: &str, said: Option<(Scores, String)>) -> Self {
        Self { name: name.to_owned(), said, seen: (true, true), is_table: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Look at what the float model gives.
    pub(super) fn look(&mut self, reference: Tensor<'_>) {
        let is_table = reference.is_float && matches!(reference.shape, [_, classes] if *classes > 1);
        self.is_table = Some(is_table && self.is_table != Some(false));
        if self.said.is_none() && is_table && self.seen.0 {
            let (all, ones) = probabilities(classes(reference), reference.values);
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
    fn known_by(&self) -> String {
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

/// The scores of a row: along the last dimension.
fn classes(tensor: Tensor<'_>) -> usize {
    tensor.shape.last().and_then(|classes| usize::try_from(*classes).ok()).unwrap_or(1)
}

/// An output of one model, summed over the samples.
#[derive(Debug, Clone)]
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
    /// Another shape; a label that is no class; numbers that are no scores.
    pub(super) fn add(
        &mut self,
        port: &Port,
        reference: Tensor<'_>,
        own: Tensor<'_>,
        samples: Samples<'_>,
    ) -> Result<(), EvaluationError> {
        self.comparison.add(own, Some(reference), samples)?;
        let failed = |source: MathError| EvaluationError::Math { tensor: port.name.clone(), source };
        let candidates = port.candidates();
        for divergence in self.divergences.iter_mut().filter(|divergence| candidates.contains(&divergence.scores())) {
            divergence.add(classes(own), reference.values, own.values).map_err(failed)?;
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

    /// The output of the float model; `self` is any model's beside it.
    pub(super) fn output(&self, port: &Port) -> Output {
        Output {
            name: port.name.clone(),
            scores: port.scores(),
            known_by: port.known_by(),
            accuracy: self.comparison.report().accuracy.and_then(|accuracy| accuracy.reference),
        }
    }
}
