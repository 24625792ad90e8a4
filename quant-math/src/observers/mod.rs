//! Calibration: what batches of a tensor leave behind, and the range that follows from it.
//!
//! A [`Statistics`] is small, whatever the number of samples; it is written to the ranges file, so that a run can be resumed and
//! the files of several machines joined. What of it is exact:
//!
//! | observer | statistics | merging parts |
//! | --- | --- | --- |
//! | `minmax` | smallest and largest value | the whole, bit for bit, for any split and order |
//! | `ema` | moving average, first batch, number of batches | the whole up to rounding; order matters |
//! | `percentile`, `entropy`, `mse` | histogram on a dyadic grid, smallest and largest value | the whole, bit for bit, for any split and order |
//!
//! ```
//! use quant_math::observers::Statistics;
//! use quant_math::Range;
//! use quant_math::plan::Observer;
//!
//! let mut first = Statistics::new(Observer::MinMax, None)?;
//! let mut second = first.clone();
//! first.observe(&[0.5, 6.0])?;
//! second.observe(&[-1.0])?;
//! assert_eq!(first.merge(second)?.range(Observer::MinMax, 8, false)?, Range::new(-1.0, 6.0)?);
//! # Ok::<(), quant_math::MathError>(())
//! ```

mod ema;
mod entropy;
mod histogram;
mod min_max;
mod mse;
mod percentile;

pub use ema::Ema;
pub use entropy::entropy;
pub use histogram::{BINS, Histogram, MIN_EXPONENT};
pub use min_max::MinMax;
pub use mse::mse;
pub use percentile::{LEFT_OUT, percentile};

use serde::{Deserialize, Serialize};

use crate::plan::Observer;
use crate::quantizers::qat;
use crate::{MathError, Range};

/// What the batches of one tensor leave behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Statistics {
    /// For [`Observer::MinMax`].
    MinMax(MinMax),
    /// For [`Observer::Ema`].
    Ema(Ema),
    /// For [`Observer::Percentile`], [`Observer::Entropy`] and [`Observer::Mse`]; it knows the smallest and the largest value too.
    Histogram(Histogram),
}

impl Statistics {
    /// Statistics that have seen nothing, of the kind that `observer` needs. `ema_decay` is read by [`Observer::Ema`] alone;
    /// absent, it is [`qat::DEFAULT_EMA_DECAY`].
    ///
    /// # Errors
    /// [`MathError::Decay`].
    pub fn new(observer: Observer, ema_decay: Option<f64>) -> Result<Self, MathError> {
        Ok(match observer {
            Observer::MinMax => Self::MinMax(MinMax::default()),
            Observer::Ema => Self::Ema(Ema::new(ema_decay.unwrap_or(qat::DEFAULT_EMA_DECAY))?),
            Observer::Percentile | Observer::Entropy | Observer::Mse => Self::Histogram(Histogram::default()),
        })
    }

    /// The kind, as the ranges file names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MinMax(_) => "minmax",
            Self::Ema(_) => "ema",
            Self::Histogram(_) => "histogram",
        }
    }

    /// Add the elements of a batch. Nothing changes where there is an error.
    ///
    /// # Errors
    /// [`MathError::Empty`], [`MathError::NonFinite`] with the first NaN or infinity, [`MathError::RangeOverflow`] of a moving
    /// average.
    pub fn observe(&mut self, batch: &[f32]) -> Result<(), MathError> {
        match self {
            Self::Histogram(histogram) => histogram.observe(batch),
            Self::MinMax(_) | Self::Ema(_) => self.add_range(Range::observe(batch)?),
        }
    }

    /// Add a batch of which only its smallest and largest element are known.
    ///
    /// # Errors
    /// [`MathError::NonFinite`], [`MathError::EmptyRange`], [`MathError::RangeOverflow`] of a moving average,
    /// [`MathError::Statistics`] for a histogram, which needs [`Histogram::add_counts`].
    pub fn add_range(&mut self, batch: Range) -> Result<(), MathError> {
        match self {
            Self::MinMax(seen) => seen.add(batch),
            Self::Ema(average) => average.add(batch),
            Self::Histogram(_) => {
                Err(MathError::Statistics { found: "histogram", expected: "minmax or ema, to add a range alone" })
            }
        }
    }

    /// What both have seen, `other` after `self`.
    ///
    /// # Errors
    /// [`MathError::Statistics`] for two kinds, [`MathError::OtherDecay`], [`MathError::CountOverflow`].
    pub fn merge(self, other: Self) -> Result<Self, MathError> {
        Ok(match (self, other) {
            (Self::MinMax(a), Self::MinMax(b)) => Self::MinMax(a.merge(b)),
            (Self::Ema(a), Self::Ema(b)) => Self::Ema(a.merge(b)?),
            (Self::Histogram(a), Self::Histogram(b)) => Self::Histogram(a.merge(&b)?),
            (a, b) => return Err(MathError::Statistics { found: b.kind(), expected: a.kind() }),
        })
    }

    /// The range by the observer, the bits and the symmetry of `settings`. A histogram gives its smallest and largest value to
    /// [`Observer::MinMax`].
    ///
    /// # Errors
    /// [`MathError::Empty`] before anything was seen, [`MathError::Statistics`] where the observer needs another kind,
    /// [`MathError::Bits`], [`MathError::RangeOverflow`].
    pub fn range(&self, observer: Observer, bits: u32, symmetric: bool) -> Result<Range, MathError> {
        let grid = || qat::weight_grid(bits, symmetric);
        let expected = match (self, observer) {
            (Self::MinMax(seen), Observer::MinMax) => return seen.range(),
            (Self::Ema(average), Observer::Ema) => return average.range(),
            (Self::Histogram(seen), Observer::MinMax) => return seen.range().ok_or(MathError::Empty),
            (Self::Histogram(seen), Observer::Percentile) => return percentile(seen, symmetric),
            (Self::Histogram(seen), Observer::Entropy) => return entropy(seen, grid()?, symmetric),
            (Self::Histogram(seen), Observer::Mse) => return mse(seen, grid()?, symmetric),
            (_, Observer::MinMax) => "minmax",
            (_, Observer::Ema) => "ema",
            (_, Observer::Percentile | Observer::Entropy | Observer::Mse) => "histogram",
        };
        Err(MathError::Statistics { found: self.kind(), expected })
    }
}

/// A count as a real number.
fn real(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 elements, and nearest beyond")]
    let count = count as f64;
    count
}
