//! Labels: the right class of each sample.

use super::RunError;
use super::data::{Data, data};
use super::value::Value;

/// The labels of a batch as whole numbers.
///
/// # Errors
/// [`RunError::Data`] where they are not one whole number per sample.
pub fn classes(from: &Data, name: &str, labels: &Value, samples: u64) -> Result<Vec<i64>, RunError> {
    let wrong = |message: String| {
        data(
            from.path(),
            message,
            "labels are one whole number per sample: the position of the right score, counted from 0",
        )
    };
    if labels.shape().iter().product::<u64>() != samples {
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
