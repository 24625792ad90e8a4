//! Counts of values on a grid that any two histograms share.

use serde::{Deserialize, Serialize};

use super::min_max::ends;
use crate::{MathError, Range};

/// Bins of each sign. The innermost bin of both signs is one: the centre.
pub const BINS: usize = 2048;

/// The least exponent of a bin's width, so that the width is a normal float32.
pub const MIN_EXPONENT: i32 = f32::MIN_EXP - 1;

/// The outermost bin.
pub(super) const LAST: i32 = 2047;
/// What comes after it: iterators over `..` run backwards in step with others, those over `..=` do not.
const END: i32 = LAST + 1;
const ALL: usize = 2 * BINS - 1;

/// How many values fell into each bin, with the exact smallest and largest value.
///
/// The bins are `w = 2^k` wide. The centre counts |x| < w; bin i > 0 counts x in [i·w, (i + 1)·w), and bin −i counts what bin i
/// counts of −x. The exponent k is a function of the largest |x| alone: the least with |x| < 2048·w, and at least −126. When a
/// larger value comes, k grows, and pairs of bins are added up. Since ⌊⌊x/w⌋/2⌋ = ⌊x/2w⌋, that equals counting on the wider grid
/// from the start: the histogram does not depend on the order or the grouping of the values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Histogram {
    exponent: i32,
    ends: Option<Ends>,
    total: u64,
    /// Of bin −2047 first.
    counts: Vec<u64>,
}

/// A range without −0 and NaN, so that equality is one of bits.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ends(Range);

impl Eq for Ends {}

impl Default for Histogram {
    fn default() -> Self {
        Self { exponent: MIN_EXPONENT, ends: None, total: 0, counts: vec![0; ALL] }
    }
}

impl Histogram {
    /// The exponent k of the bin width for values of which `max_abs` is the largest magnitude: the least k ≥ −126 with
    /// `max_abs < 2048·2^k`. At most 117 for finite numbers; from 2^127 on, `2048·2^k` is no float32 itself.
    pub fn exponent_for(max_abs: f32) -> i32 {
        let biased = max_abs.abs().to_bits() >> (f32::MANTISSA_DIGITS - 1);
        (biased.cast_signed() - 127 - (BINS.ilog2().cast_signed() - 1)).max(MIN_EXPONENT)
    }

    /// The exponent k; a bin is `2^k` wide.
    pub fn exponent(&self) -> i32 {
        self.exponent
    }

    /// The width of a bin.
    pub fn width(&self) -> f64 {
        power_of_two(self.exponent)
    }

    /// How many values there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The exact smallest and largest value, once there is one. Never −0.
    pub fn range(&self) -> Option<Range> {
        self.ends.map(|Ends(range)| range)
    }

    /// How many values fell into `bin`, −2047 to 2047.
    pub fn count(&self, bin: i32) -> u64 {
        index(bin).and_then(|i| self.counts.get(i)).copied().unwrap_or(0)
    }

    /// The bins with values in them, lowest first, each with its count.
    pub fn bins(&self) -> impl DoubleEndedIterator<Item = (i32, u64)> {
        (-LAST..END).zip(&self.counts).filter(|(_, count)| **count > 0).map(|(bin, count)| (bin, *count))
    }

    /// The ends of `bin`, as far as the smallest and the largest value reach.
    pub fn edges(&self, bin: i32) -> (f64, f64) {
        let (low, high) = (bin - i32::from(bin <= 0), bin + i32::from(bin >= 0));
        let range = self.range().unwrap_or(Range { min: 0.0, max: 0.0 });
        let [low, high] =
            [low, high].map(|edge| (f64::from(edge) * self.width()).clamp(range.min.into(), range.max.into()));
        (low, high)
    }

    /// Add every element of a batch. Nothing changes where there is an error.
    ///
    /// # Errors
    /// [`MathError::Empty`], [`MathError::NonFinite`] with the first NaN or infinity, [`MathError::CountOverflow`].
    pub fn observe(&mut self, batch: &[f32]) -> Result<(), MathError> {
        let range = Range::observe(batch)?;
        let mut seen = Self { ends: Some(Ends(range)), ..Self::default() };
        seen.exponent = Self::exponent_for(magnitude(range));
        seen.total = batch.len() as u64;
        for x in batch {
            if let Some(count) = index(bin_of(*x, seen.exponent)).and_then(|i| seen.counts.get_mut(i)) {
                *count += 1;
            }
        }
        *self = self.merge(&seen)?;
        Ok(())
    }

    /// Add a batch in `range` that was counted elsewhere: `counts[i]` elements are in bin i − 2047.
    ///
    /// The exponent is [`exponent_for`](Self::exponent_for) the batch's largest magnitude, or a larger one up to
    /// [`exponent`](Self::exponent). Nothing changes where there is an error.
    ///
    /// # Errors
    /// [`MathError::Counts`] where the numbers contradict each other, [`MathError::CountOverflow`], [`MathError::NonFinite`],
    /// [`MathError::EmptyRange`].
    pub fn add_counts(&mut self, range: Range, exponent: i32, counts: &[i32]) -> Result<(), MathError> {
        let range = ends(range)?;
        let least = Self::exponent_for(magnitude(range));
        if exponent < least || exponent > least.max(self.exponent) {
            return Err(MathError::Counts { message: "the exponent is not the one of the largest value" });
        }
        if counts.len() != ALL {
            return Err(MathError::Counts { message: "there are not 4095 bins" });
        }
        let counts: Option<Vec<u64>> = counts.iter().map(|count| u64::try_from(*count).ok()).collect();
        let counts = counts.ok_or(MathError::Counts { message: "a count is negative" })?;
        let seen = Self { exponent, ends: Some(Ends(range)), total: sum(&counts)?, counts };
        seen.check()?;
        *self = self.merge(&seen)?;
        Ok(())
    }

    /// Values in `range` that were counted elsewhere, all of them or some: `counts[i]` are in bin i − 2047. The smallest and the largest value
    /// are counted where they are not among them.
    ///
    /// # Errors
    /// Those of [`add_counts`](Self::add_counts).
    pub fn of_counts(range: Range, exponent: i32, mut counts: Vec<u64>) -> Result<Self, MathError> {
        let range = ends(range)?;
        if exponent != Self::exponent_for(magnitude(range)) {
            return Err(MathError::Counts { message: "the exponent is not the one of the largest value" });
        }
        if counts.len() != ALL {
            return Err(MathError::Counts { message: "there are not 4095 bins" });
        }
        for end in [range.min, range.max] {
            if let Some(count) = index(bin_of(end, exponent)).and_then(|i| counts.get_mut(i)) {
                *count = (*count).max(1);
            }
        }
        let seen = Self { exponent, ends: Some(Ends(range)), total: sum(&counts)?, counts };
        seen.check()?;
        Ok(seen)
    }

    /// What both have seen: exact, whatever the split and the order.
    ///
    /// # Errors
    /// [`MathError::CountOverflow`].
    pub fn merge(&self, other: &Self) -> Result<Self, MathError> {
        let ends = match (self.ends, other.ends) {
            (Some(Ends(a)), Some(Ends(b))) => Some(Ends(a.merge(b))),
            (a, b) => a.or(b),
        };
        let mut joined = Self { exponent: self.exponent.max(other.exponent), ends, ..Self::default() };
        joined.total = self.total.checked_add(other.total).ok_or(MathError::CountOverflow)?;
        for part in [self, other] {
            let coarser = joined.exponent.abs_diff(part.exponent).min(i32::BITS - 1);
            for (bin, count) in part.bins() {
                // Division cuts toward zero on both sides of the centre. No sum is above the total.
                let bin = bin / 1_i32.checked_shl(coarser).filter(|by| *by > 0).unwrap_or(i32::MAX);
                if let Some(sum) = index(bin).and_then(|i| joined.counts.get_mut(i)) {
                    *sum += count;
                }
            }
        }
        Ok(joined)
    }

    /// That counts and ends belong together.
    fn check(&self) -> Result<(), MathError> {
        let outermost = (self.bins().next().map(|(bin, _)| bin), self.bins().next_back().map(|(bin, _)| bin));
        let expected = self.range().map(|r| [r.min, r.max].map(|x| bin_of(x, self.exponent)));
        if outermost == (expected.map(|[min, _]| min), expected.map(|[_, max]| max)) {
            return Ok(());
        }
        Err(MathError::Counts { message: "the outermost values are not in the outermost bins with a count" })
    }
}

fn index(bin: i32) -> Option<usize> {
    usize::try_from(bin.checked_add(LAST)?).ok()
}

fn sum(counts: &[u64]) -> Result<u64, MathError> {
    counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count)).ok_or(MathError::CountOverflow)
}

fn magnitude(range: Range) -> f32 {
    range.min.abs().max(range.max.abs())
}

/// The bin of a value that the grid of this exponent reaches.
fn bin_of(x: f32, exponent: i32) -> i32 {
    // Exact, except where both factors are tiny: then it is less than 1 all the same.
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is to be cut off; `as` saturates")]
    let bin = (f64::from(x) * power_of_two(-exponent)) as i32;
    bin
}

/// `2^exponent` for −1022 to 1023.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(u64::from((exponent.clamp(-1022, 1023) + 1023).unsigned_abs()) << (f64::MANTISSA_DIGITS - 1))
}

/// How a histogram is written: runs of bins that are not empty.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    exponent: i32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    range: Option<Range>,
    bins: Vec<Run>,
}

/// Bins side by side, from `first` on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    first: i32,
    counts: Vec<u64>,
}

impl From<Histogram> for Stored {
    fn from(histogram: Histogram) -> Self {
        let mut bins: Vec<Run> = Vec::new();
        let mut next = None;
        for (bin, count) in histogram.bins() {
            match bins.last_mut() {
                Some(run) if next == Some(bin) => run.counts.push(count),
                _ => bins.push(Run { first: bin, counts: vec![count] }),
            }
            next = Some(bin + 1);
        }
        Self { exponent: histogram.exponent, range: histogram.range(), bins }
    }
}

impl TryFrom<Stored> for Histogram {
    type Error = MathError;

    fn try_from(stored: Stored) -> Result<Self, MathError> {
        let range = stored.range.map(ends).transpose()?;
        let expected = range.map_or(MIN_EXPONENT, |range| Self::exponent_for(magnitude(range)));
        if stored.exponent != expected {
            return Err(MathError::Counts { message: "the exponent is not the one of the largest value" });
        }
        let mut histogram = Self { exponent: stored.exponent, ends: range.map(Ends), ..Self::default() };
        let mut next = 0;
        for run in &stored.bins {
            let start = index(run.first).filter(|start| *start >= next);
            let slots = start.and_then(|start| histogram.counts.get_mut(start..)?.get_mut(..run.counts.len()));
            let message = "a run of bins is out of place";
            slots.ok_or(MathError::Counts { message })?.copy_from_slice(&run.counts);
            next = start.unwrap_or(0) + run.counts.len();
        }
        histogram.total = sum(&histogram.counts)?;
        histogram.check()?;
        Ok(histogram)
    }
}
