//! Observed ranges.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::extremes::Extremes;
use crate::simd::{self, chunks};
use crate::{MathError, WeightData};

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
    ///
    /// # Errors
    /// [`MathError::NonFinite`], [`MathError::EmptyRange`].
    pub fn new(min: f32, max: f32) -> Result<Self, MathError> {
        for (index, value) in [min, max].into_iter().enumerate() {
            if !value.is_finite() {
                return Err(MathError::NonFinite { index, value: f64::from(value) });
            }
        }
        if min > max { Err(MathError::EmptyRange { min, max }) } else { Ok(Self { min, max }) }
    }

    /// The smallest and the largest element of `data`. Parallel; the same at any number of threads. Never −0.
    ///
    /// # Errors
    ///
    /// [`MathError::Empty`] where there are none, [`MathError::NonFinite`] with the first NaN or infinity.
    pub fn observe<D: WeightData + ?Sized>(data: &D) -> Result<Self, MathError> {
        let of_chunk = |span| {
            let mut seen = Extremes::NONE;
            data.pieces(span, &mut |_, piece| {
                seen = seen.merge(simd::run(
                    #[inline(always)]
                    || Extremes::of(piece),
                ));
            });
            seen
        };
        let seen = chunks(data.len()).map(of_chunk).reduce_with(Extremes::merge).ok_or(MathError::Empty)?;
        Self::from_extremes(seen).ok_or_else(|| first_non_finite(data))
    }

    pub(crate) fn from_extremes(seen: Extremes) -> Option<Self> {
        // `+ 0.0` turns −0 into +0.
        seen.finite().map(|(min, max)| Self { min: min + 0.0, max: max + 0.0 })
    }

    /// The smallest range that holds `self` and `other`.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Both ends moved by `rate·(to − end)`, in float32.
    ///
    /// # Errors
    ///
    /// [`MathError::RangeOverflow`] where `to − end` is infinite.
    pub fn towards(self, to: Self, rate: f32) -> Result<Self, MathError> {
        let moved = Self { min: self.min + rate * (to.min - self.min), max: self.max + rate * (to.max - self.max) };
        if moved.min.is_finite() && moved.max.is_finite() {
            Ok(moved)
        } else {
            Err(MathError::RangeOverflow { min: self.min.min(to.min), max: self.max.max(to.max) })
        }
    }

    /// The range widened so that it includes 0: `[min(min, 0), max(max, 0)]`.
    #[must_use]
    pub fn with_zero(self) -> Self {
        // `+ 0.0` turns −0 into +0, so that the ends have one bit pattern each.
        Self { min: self.min.min(0.0) + 0.0, max: self.max.max(0.0) + 0.0 }
    }
}

/// The error that names the first NaN or infinity of `data`.
pub(crate) fn first_non_finite<D: WeightData + ?Sized>(data: &D) -> MathError {
    let in_chunk = |span: std::ops::Range<usize>| {
        let found = data.chunk(span.clone()).iter().enumerate().find(|(_, x)| !x.is_finite()).map(|(i, x)| (i, *x));
        found.map(|(i, x)| MathError::NonFinite { index: span.start + i, value: f64::from(x) })
    };
    // A tensor whose chunks say something else the second time has no elements to name.
    chunks(data.len()).find_map_first(in_chunk).unwrap_or(MathError::Empty)
}
