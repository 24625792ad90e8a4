//! Outputs that are one score per class: which class is chosen.

use std::path::Path;

use quant_math::MathError;
use quant_math::ranking::Ranking;
use serde::Serialize;

use super::super::RunError;
use super::super::labels::no_class;
use super::super::value::Value;

/// How often both models choose the same class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// The share of samples for which both give the highest score to one class.
    pub top_1: f64,
    /// k.
    pub k: usize,
    /// The share of samples for which the reference's class is among the model's k highest scores.
    pub top_k: f64,
}

/// How often the labels' class is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accuracy {
    /// By the model.
    pub model: f64,
    /// By the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
}

/// Counts of choices.
#[derive(Debug)]
pub(super) struct Classes {
    output: String,
    both: Ranking,
    own: Ranking,
    reference: Ranking,
}

/// The samples that scores belong to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Samples<'a> {
    /// Where the data is.
    pub(super) path: &'a Path,
    pub(super) labels: Option<&'a [i64]>,
    /// The number of the first one.
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Classes {
    pub(super) fn new(output: &str, k: usize) -> Self {
        let none = Ranking::new(k);
        Self { output: output.to_owned(), both: none, own: none, reference: none }
    }

    /// Add a batch. `false`: this output is not one score per class.
    ///
    /// # Errors
    /// A label that is no class; a score that is NaN.
    pub(super) fn add(
        &mut self,
        value: &Value,
        reference: Option<&Value>,
        samples: Samples<'_>,
    ) -> Result<bool, RunError> {
        let &[rows, classes] = value.shape() else { return Ok(false) };
        let is_float = matches!(value, Value::F16(_) | Value::F32(_) | Value::F64(_));
        let Some(classes) = usize::try_from(classes).ok().filter(|n| *n > 1 && rows == samples.count && is_float)
        else {
            return Ok(false);
        };
        let failed = |source: MathError| match source {
            MathError::Label { index, label, classes } => {
                no_class(samples.path, samples.first + index as u64, label, classes as u64)
            }
            source => RunError::Math { tensor: self.output.clone(), source },
        };
        let scores = value.to_f32();
        let reference = reference.map(Value::to_f32);
        if let Some(reference) = &reference {
            self.both.against_reference(classes, reference, &scores).map_err(failed)?;
        }
        if let Some(labels) = samples.labels {
            self.own.against_labels(classes, labels, &scores).map_err(failed)?;
            if let Some(reference) = &reference {
                self.reference.against_labels(classes, labels, reference).map_err(failed)?;
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
