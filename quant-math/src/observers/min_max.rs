//! The smallest and the largest value of all batches.

use serde::{Deserialize, Serialize};

use crate::{MathError, Range};

/// The smallest and the largest value so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinMax {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    range: Option<Range>,
}

impl MinMax {
    /// Add a batch by its ends.
    ///
    /// # Errors
    /// [`MathError::NonFinite`], [`MathError::EmptyRange`].
    pub fn add(&mut self, batch: Range) -> Result<(), MathError> {
        *self = self.merge(Self { range: Some(ends(batch)?) });
        Ok(())
    }

    /// What both have seen: exact, whatever the split and the order.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { range: self.range.into_iter().chain(other.range).reduce(Range::merge) }
    }

    /// The ends.
    ///
    /// # Errors
    /// [`MathError::Empty`] before anything was seen; else those of [`add`](Self::add), for numbers that came from a file.
    pub fn range(&self) -> Result<Range, MathError> {
        self.range.map_or(Err(MathError::Empty), ends)
    }
}

/// `batch`, checked, without −0: merging must not depend on which zero came first.
pub(super) fn ends(batch: Range) -> Result<Range, MathError> {
    let Range { min, max } = Range::new(batch.min, batch.max)?;
    Ok(Range { min: min + 0.0, max: max + 0.0 })
}
