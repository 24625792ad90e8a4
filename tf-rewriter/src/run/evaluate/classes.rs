//! Outputs that are one score per class: which class is chosen.

use serde::Serialize;

use super::super::value::Value;
use super::super::{Data, RunError};

/// How often both models choose the same class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// The share of samples for which both give the highest score to one class.
    pub top_1: f64,
    /// k.
    pub k: usize,
    /// The share of samples for which the model's class is among the reference's k highest scores.
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
#[derive(Debug, Default)]
pub(super) struct Classes {
    k: usize,
    samples: u64,
    same: u64,
    among: u64,
    compared: bool,
    labelled: u64,
    right: u64,
    reference_right: u64,
}

impl Classes {
    pub(super) fn new(k: usize) -> Self {
        Self { k, ..Self::default() }
    }

    /// Add a batch. `false`: this output is not one score per class.
    ///
    /// # Errors
    /// A label that is no class.
    pub(super) fn add(
        &mut self,
        value: &Value,
        reference: Option<&Value>,
        labels: Option<&[i64]>,
        samples: u64,
        first_sample: u64,
        data: &Data,
    ) -> Result<bool, RunError> {
        let &[rows, classes] = value.shape() else { return Ok(false) };
        let is_float = matches!(value, Value::F16(_) | Value::F32(_) | Value::F64(_));
        let Some(classes) = usize::try_from(classes).ok().filter(|n| *n > 1 && rows == samples && is_float) else {
            return Ok(false);
        };
        let scores = value.to_f64();
        let reference = reference.map(Value::to_f64);
        for (row, scores) in scores.chunks_exact(classes).enumerate() {
            let chosen = best(scores);
            let others = reference.as_ref().and_then(|scores| scores.get(row * classes..(row + 1) * classes));
            if let Some(others) = others {
                self.compared = true;
                self.same += u64::from(best(others) == chosen);
                self.among += u64::from(rank(others, chosen) < self.k);
            }
            if let Some(label) = labels.and_then(|labels| labels.get(row)) {
                let right = usize::try_from(*label).ok().filter(|label| *label < classes).ok_or_else(|| {
                    let sample = first_sample + row as u64;
                    let message =
                        format!("the label of sample {sample} is {label}, expected a class from 0 to {}", classes - 1);
                    super::super::data::data(
                        data.path(),
                        message,
                        "labels are the positions of the right scores, counted from 0",
                    )
                })?;
                self.labelled += 1;
                self.right += u64::from(chosen == right);
                self.reference_right += u64::from(others.is_some_and(|others| best(others) == right));
            }
            self.samples += 1;
        }
        Ok(true)
    }

    pub(super) fn agreement(&self) -> Option<Agreement> {
        self.compared.then(|| Agreement {
            top_1: share(self.same, self.samples),
            k: self.k,
            top_k: share(self.among, self.samples),
        })
    }

    pub(super) fn accuracy(&self) -> Option<Accuracy> {
        (self.labelled > 0).then(|| Accuracy {
            model: share(self.right, self.labelled),
            reference: self.compared.then(|| share(self.reference_right, self.labelled)),
        })
    }
}

/// The position of the highest score, the first of equals, as NumPy's argmax.
fn best(scores: &[f64]) -> usize {
    let highest = scores.iter().enumerate().reduce(|best, next| if *next.1 > *best.1 { next } else { best });
    highest.map_or(0, |(position, _)| position)
}

/// How many scores come before that of `class`.
fn rank(scores: &[f64], class: usize) -> usize {
    let Some(own) = scores.get(class) else { return scores.len() };
    let before =
        |(position, score): &(usize, &f64)| *score > own || (*position < class && score.total_cmp(own).is_eq());
    scores.iter().enumerate().filter(before).count()
}

fn share(of: u64, all: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 samples")]
    let share = of as f64 / all.max(1) as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_scores_is_chosen() {
        assert_eq!(best(&[0.0, 2.0, 2.0]), 1);
        assert_eq!((rank(&[1.0, 3.0, 3.0], 1), rank(&[1.0, 3.0, 3.0], 2), rank(&[1.0, 3.0, 3.0], 0)), (0, 1, 2));
    }
}
