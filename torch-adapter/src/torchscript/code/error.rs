//! Text that cannot be read.

use quant_math::OverBudget;

/// A text that is not what the serializer writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, expected {expected}")]
pub struct ParseError {
    /// Byte offset in the text.
    pub offset: usize,
    /// What stands there.
    pub found: String,
    /// What could stand there.
    pub expected: &'static str,
    /// Where the text is right, but asks for too much memory.
    pub over: Option<OverBudget>,
}

impl ParseError {
    pub(super) fn new(offset: usize, found: String, expected: &'static str) -> Self {
        Self { offset, found, expected, over: None }
    }

    pub(super) fn over(offset: usize, over: OverBudget) -> Self {
        Self { over: Some(over), ..Self::new(offset, "more text".to_owned(), "what fits into memory") }
    }
}
