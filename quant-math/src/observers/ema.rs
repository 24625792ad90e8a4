//! The moving average of each batch's smallest and largest value.

use serde::{Deserialize, Serialize};

use super::min_max::ends;
use crate::data::narrow;
use crate::{MathError, Range};

/// An exponential moving average of ranges: the first batch sets it, then each end moves by `r += (1 − decay)·(batch − r)` in
/// float32 ([`Range::towards`]).
///
/// Unlike the range that QAT learns ([`crate::quantizers::qat::ActivationRange`]), a batch is not widened to hold 0.
///
/// Later batches weigh more, so the order of the batches and their size matter, and a run that is split is no more the same run.
/// [`merge`](Self::merge) is what one run over both parts gives, up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ema {
    decay: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    seen: Option<Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    first: Range,
    average: Range,
    batches: u64,
}

impl Ema {
    /// An average that has seen nothing; `0 < decay < 1`.
    ///
    /// # Errors
    /// [`MathError::Decay`].
    pub fn new(decay: f64) -> Result<Self, MathError> {
        if decay > 0.0 && decay < 1.0 { Ok(Self { decay, seen: None }) } else { Err(MathError::Decay { decay }) }
    }

    /// An average that was made elsewhere by the same formula: the first batch's range, and the average over all `batches`.
    ///
    /// # Errors
    /// [`MathError::Decay`]; [`MathError::Empty`] for no batches; [`MathError::NonFinite`], [`MathError::EmptyRange`].
    pub fn of_batches(decay: f64, first: Range, average: Range, batches: u64) -> Result<Self, MathError> {
        let empty = Self::new(decay)?;
        if batches == 0 {
            return Err(MathError::Empty);
        }
        // Each end of the average rounds by itself, see `range`.
        let finite =
            ends(Range { min: average.min.min(average.max), max: average.max.max(average.min) }).map(|_| average);
        Ok(Self { seen: Some(Seen { first: ends(first)?, average: finite?, batches }), ..empty })
    }

    /// The decay.
    pub fn decay(&self) -> f64 {
        self.decay
    }

    /// Add a batch by its ends.
    ///
    /// # Errors
    /// [`MathError::NonFinite`], [`MathError::EmptyRange`]; [`MathError::RangeOverflow`] where the batch is too far away.
    pub fn add(&mut self, batch: Range) -> Result<(), MathError> {
        let batch = ends(batch)?;
        self.seen = Some(match self.seen {
            None => Seen { first: batch, average: batch, batches: 1 },
            Some(seen) => Seen {
                average: seen.average.towards(batch, narrow(1.0 - self.decay))?,
                batches: seen.batches.checked_add(1).ok_or(MathError::CountOverflow)?,
                ..seen
            },
        });
        Ok(())
    }

    /// What one run over the batches of `self` and then those of `other` gives, up to rounding.
    ///
    /// The average is linear in the batches. In `other` its first batch b stands with the weight that everything before it has
    /// in the whole run, so that, with n batches in `other` and d the decay, `whole = other + dⁿ·(self − b)`.
    ///
    /// # Errors
    /// [`MathError::OtherDecay`], [`MathError::CountOverflow`].
    pub fn merge(self, other: Self) -> Result<Self, MathError> {
        if self.decay.to_bits() != other.decay.to_bits() {
            return Err(MathError::OtherDecay { found: other.decay, expected: self.decay });
        }
        let (Some(before), Some(after)) = (self.seen, other.seen) else {
            return Ok(Self { seen: self.seen.or(other.seen), ..self });
        };
        // The decay that `add` has: one minus the rate in float32.
        let weight = power(1.0 - f64::from(narrow(1.0 - self.decay)), after.batches);
        let end = |a: f32, b: f32, first: f32| narrow(f64::from(b) + weight * (f64::from(a) - f64::from(first)));
        let average = Range {
            min: end(before.average.min, after.average.min, after.first.min),
            max: end(before.average.max, after.average.max, after.first.max),
        };
        let batches = before.batches.checked_add(after.batches).ok_or(MathError::CountOverflow)?;
        Ok(Self { seen: Some(Seen { first: before.first, average, batches }), ..self })
    }

    /// The average.
    ///
    /// # Errors
    /// [`MathError::Empty`] before anything was seen; [`MathError::NonFinite`] for numbers that came from a file.
    pub fn range(&self) -> Result<Range, MathError> {
        let Range { min, max } = self.seen.ok_or(MathError::Empty)?.average;
        // Each end rounds by itself: ends that all but meet can pass each other by that.
        Range::new(min.min(max), max.max(min))
    }
}

/// `base^exponent` by squaring: the standard library's `powf` differs between systems.
fn power(base: f64, exponent: u64) -> f64 {
    let (mut result, mut square, mut rest) = (1.0, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            result *= square;
        }
        square *= square;
        rest >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_products() {
        for exponent in 0..200_u32 {
            let product: f64 = (0..exponent).map(|_| 0.875).product();
            // Squaring doubles the relative error, as many products add theirs: one rounding for each factor at most.
            let bound = f64::from(exponent) * f64::EPSILON * product;
            assert!((power(0.875, exponent.into()) - product).abs() <= bound, "{exponent}");
        }
        assert_eq!(power(0.99, u64::MAX).to_bits(), 0);
    }
}
