//! Labels: the right class of each sample, as a further array of the data.

use std::path::Path;

use quant_math::evaluation;

use super::RunError;
use super::data::Batch;
use super::refused::refused;

/// Take the labels `name`, the last array of a batch, as whole numbers.
///
/// # Errors
/// [`RunError::Data`] where they are not one whole number per sample.
pub fn take(path: &Path, name: &str, batch: &mut Batch) -> Result<Vec<i64>, RunError> {
    let (shape, values) = match batch.arrays.pop() {
        Some((_, labels)) => (labels.shape().to_vec(), labels.to_f64()),
        None => (vec![0], Vec::new()),
    };
    evaluation::labels(name, batch.samples, &shape, values).map_err(|error| refused(error, path))
}
