//! The range without the outermost values.

use super::Histogram;
use super::histogram::LAST;
use crate::{MathError, Range};

/// One in this many values is left out: 99.99 % are kept, the middle of the percentiles that Wu et al. 2020 (arXiv 2004.09602,
/// §5) try for activations.
pub const LEFT_OUT: u64 = 10_000;

/// The range of all but the outermost values of n.
///
/// Asymmetric: ⌊n / 20,000⌋ values are left out at each end, half of all that are (the convention of ONNX Runtime's percentile
/// calibration): the exact answer is the sorted values' `x[c]` and `x[n − 1 − c]`. Symmetric: the ⌊n / 10,000⌋ largest by magnitude
/// are left out (Wu et al. 2020), and the range is that of the magnitudes up to the largest that is left.
///
/// The histogram knows the bin that holds an exact end. The answer is that bin's outer edge, or the exact smallest or largest
/// value where that is nearer: never inside the exact end, and less than the width of that bin outside it. The centre of the
/// asymmetric case is two widths wide, every other bin one.
///
/// # Errors
/// [`MathError::Empty`].
pub fn percentile(histogram: &Histogram, symmetric: bool) -> Result<Range, MathError> {
    let Range { min, max } = histogram.range().ok_or(MathError::Empty)?;
    let ends = if symmetric {
        let magnitudes = (0..=LAST).rev().map(|i| (i, magnitude_count(histogram, i)));
        let outermost = first_beyond(magnitudes, histogram.total() / LEFT_OUT);
        outermost.map(|bin| (histogram.edges(-bin).0, histogram.edges(bin).1))
    } else {
        let cut = histogram.total() / (2 * LEFT_OUT);
        let (low, high) = (first_beyond(histogram.bins(), cut), first_beyond(histogram.bins().rev(), cut));
        low.zip(high).map(|(low, high)| (histogram.edges(low).0, histogram.edges(high).1))
    };
    // Exact: an edge is an integer of 12 bits times a power of two, or one of the ends.
    let ends = ends.map(|(low, high)| (crate::data::narrow(low), crate::data::narrow(high)));
    let (low, high) = ends.unwrap_or((min, max));
    Range::new(low, high)
}

fn magnitude_count(histogram: &Histogram, bin: i32) -> u64 {
    if bin == 0 { histogram.count(0) } else { histogram.count(bin).saturating_add(histogram.count(-bin)) }
}

/// The first bin with which the counts add up to more than `cut`.
fn first_beyond(mut bins: impl Iterator<Item = (i32, u64)>, cut: u64) -> Option<i32> {
    let mut seen = 0_u64;
    bins.find(|(_, count)| {
        seen = seen.saturating_add(*count);
        seen > cut
    })
    .map(|(bin, _)| bin)
}
