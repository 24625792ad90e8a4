//! Outputs that are one score per class: which class is chosen.

use super::compare::{Samples, Tensor};
use super::{Accuracy, Agreement, EvaluationError};
use crate::MathError;
use crate::ranking::Ranking;

/// Counts of choices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classes {
    both: Ranking,
    own: Ranking,
    reference: Ranking,
}

impl Classes {
    pub(super) fn new(k: usize) -> Self {
        let none = Ranking::new(k);
        Self { both: none, own: none, reference: none }
    }

    /// Add a batch of the output `name`. `false`: it is not one score per class.
    ///
    /// # Errors
    /// A label that is no class; a score that is NaN.
    pub(super) fn add(
        &mut self,
        name: &str,
        own: Tensor<'_>,
        reference: Option<Tensor<'_>>,
        samples: Samples<'_>,
    ) -> Result<bool, EvaluationError> {
        let &[rows, classes] = own.shape else { return Ok(false) };
        let classes = usize::try_from(classes).ok().filter(|n| *n > 1 && rows == samples.count && own.is_float);
        let Some(classes) = classes else { return Ok(false) };
        let failed = |source: MathError| match source {
            MathError::Label { index, label, classes } => {
                EvaluationError::Label { sample: samples.first + index as u64, label, classes: classes as u64 }
            }
            source => EvaluationError::Math { tensor: name.to_owned(), source },
        };
        if let Some(reference) = reference {
            self.both.against_reference(classes, reference.values, own.values).map_err(failed)?;
        }
        if let Some(labels) = samples.labels {
            self.own.against_labels(classes, labels, own.values).map_err(failed)?;
            if let Some(reference) = reference {
                self.reference.against_labels(classes, labels, reference.values).map_err(failed)?;
            }
        }
        Ok(true)
    }

    pub(super) fn agreement(&self) -> Option<Agreement> {
        Some(Agreement { top_1: self.both.top1()?, k: self.both.k(), top_k: self.both.top_k()? })
    }

    pub(super) fn accuracy(&self) -> Option<Accuracy> {
        Some(Accuracy { model: self.own.top1()?, reference: self.reference.top1() })
    }
}
