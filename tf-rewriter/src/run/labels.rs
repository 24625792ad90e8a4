//! Labels: the right class of each sample, as a further array of the data.

use std::path::Path;

use super::RunError;
use super::data::{Batch, data};

/// Take the labels `name`, the last array of a batch, as whole numbers.
///
/// # Errors
/// [`RunError::Data`] where they are not one whole number per sample.
pub fn take(path: &Path, name: &str, batch: &mut Batch) -> Result<Vec<i64>, RunError> {
    let wrong = |message: String| {
        data(path, message, "labels are one whole number per sample: the position of the right score, counted from 0")
    };
    let (_, labels) = batch.arrays.pop().ok_or_else(|| wrong(format!("there are no labels `{name}`")))?;
    if labels.shape().iter().product::<u64>() != batch.samples {
        return Err(wrong(format!("the labels `{name}` have shape {:?}, expected one per sample", labels.shape())));
    }
    let whole = |x: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number of few digits")]
        let label = x as i64;
        (x.fract().abs() <= 0.0 && x.abs() < 1e15).then_some(label)
    };
    let found: Option<Vec<i64>> = labels.to_f64().into_iter().map(whole).collect();
    found.ok_or_else(|| wrong(format!("the labels `{name}` hold a number that is not whole")))
}

/// The error of a label that is the position of no score.
pub(crate) fn no_class(path: &Path, sample: u64, label: i64, classes: u64) -> RunError {
    let last = classes.saturating_sub(1);
    let message = format!("the label of sample {sample} is {label}, expected a class from 0 to {last}");
    data(path, message, "labels are the positions of the right scores, counted from 0")
}
