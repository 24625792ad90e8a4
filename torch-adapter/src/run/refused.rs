//! Outputs and labels that no number can be made of, as errors of a run.

use std::path::Path;

use quant_math::evaluation::EvaluationError;

use crate::error::RunError;

/// What is wrong with an output, or with labels, where the data at `path` is run.
pub(super) fn refused(error: EvaluationError, path: &Path) -> RunError {
    let (message, help) = (error.to_string(), error.help().unwrap_or_default().to_owned());
    match error {
        EvaluationError::Math { tensor, source } => RunError::Math { tensor, source },
        EvaluationError::Shape { .. } => RunError::Request { message, help },
        _ => RunError::Data { path: path.to_owned(), message, help },
    }
}
