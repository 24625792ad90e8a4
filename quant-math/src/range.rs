//! Observed ranges.

use serde::{Deserialize, Serialize};

use crate::MathError;

/// The real numbers `[min, max]` that were seen in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Lower end.
    pub min: f32,
    /// Upper end.
    pub max: f32,
}

impl Range {
    /// A range from its ends; refused when they are not finite or out of order.
    pub fn new(min: f32, max: f32) -> Result<Self, MathError> {
        for (index, value) in [min, max].into_iter().enumerate() {
            if !value.is_finite() {
                return Err(MathError::NonFinite { index, value: f64::from(value) });
            }
        }
        if min > max { Err(MathError::EmptyRange { min, max }) } else { Ok(Self { min, max }) }
    }

    /// The smallest range that holds `self` and `other`.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// The range widened so that it includes 0: `[min(min, 0), max(max, 0)]`.
    #[must_use]
    pub fn with_zero(self) -> Self {
        // `+ 0.0` turns −0 into +0, so that the ends have one bit pattern each.
        Self { min: self.min.min(0.0) + 0.0, max: self.max.max(0.0) + 0.0 }
    }
}
