//! The clip whose quantized histogram is nearest to the histogram itself.

use super::{Histogram, real};
use crate::ln::ln;
use crate::{Affine, Grid, MathError, Range};

/// The clip with the least Kullback-Leibler divergence, after Migacz 2017 ("8-bit inference with TensorRT", entropy calibration),
/// for the grids of this crate.
///
/// Candidates are the ranges [−i·w, i·w] of the histogram's edges, each cut to the values that were seen; the last one is all
/// of them. Of a candidate:
///
/// * the centre counts no more than the bins on either side of it together: 0 has no error on any grid, and a ReLU's output is full
///   of it, which would outweigh everything else (NVIDIA's pytorch-quantization gives the first bin the second's count);
/// * P is the histogram inside, where all values outside count for the outermost bin with a value in it on their side;
/// * Q is the histogram inside, without the values outside, as the codes leave it: bins that share a code (the code of the bin's
///   middle) share their counts equally, as far as they have any;
/// * the divergence is `Σ P·ln(P/Q)`, both scaled to add up to 1.
///
/// A candidate whose step is less than a bin wide is left out, as the histogram cannot show what it loses (Migacz begins with
/// 128 bins for 128 codes), and one with values in a single bin, as its divergence is 0 whatever it cuts off; the last
/// candidate never is. So from 12 or 13 bits on, the range is all that was seen. Of equal candidates
/// the widest is taken.
///
/// # Errors
/// [`MathError::Empty`]; [`MathError::RangeOverflow`] where the whole range has no grid.
pub fn entropy(histogram: &Histogram, grid: Grid, symmetric: bool) -> Result<Range, MathError> {
    let whole = histogram.range().ok_or(MathError::Empty)?;
    let affine = if symmetric { Affine::symmetric } else { Affine::asymmetric };
    affine(whole, grid)?;
    let beside_centre = histogram.count(-1).saturating_add(histogram.count(1));
    let counts = histogram.bins().map(|(bin, count)| (bin, if bin == 0 { count.min(beside_centre) } else { count }));
    let bins: Vec<Bin> =
        counts.filter(|(_, count)| *count > 0).map(|(bin, count)| Bin::new(histogram, bin, count)).collect();
    let all = bins.iter().map(|bin| bin.count).sum();
    let outermost = bins.iter().map(|bin| bin.magnitude).max().unwrap_or(0);
    let (mut best, mut best_divergence) = (whole, f64::INFINITY);
    for clip in (0..=outermost).rev() {
        let edge = f64::from(clip + 1) * histogram.width();
        let end = |x: f32| crate::data::narrow(f64::from(x).clamp(-edge, edge));
        let range = if clip == outermost { whole } else { Range { min: end(whole.min), max: end(whole.max) } };
        let affine = affine(range, grid)?;
        if clip < outermost && f64::from(affine.scale()) < histogram.width() {
            // Narrower clips have narrower steps.
            break;
        }
        let first = bins.partition_point(|bin| bin.low_side && bin.magnitude > clip);
        let last = bins.partition_point(|bin| bin.low_side || bin.magnitude <= clip);
        let divergence = divergence(&bins, first, last, affine, all);
        if divergence < best_divergence {
            (best, best_divergence) = (range, divergence);
        }
    }
    Ok(best)
}

/// A bin with values in it.
struct Bin {
    magnitude: i32,
    low_side: bool,
    middle: f32,
    count: f64,
    /// `count·ln(count)`.
    weighed: f64,
}

impl Bin {
    fn new(histogram: &Histogram, bin: i32, count: u64) -> Self {
        let (low, high) = histogram.edges(bin);
        let count = real(count);
        let middle = crate::data::narrow(f64::midpoint(low, high));
        Self { magnitude: bin.abs(), low_side: bin < 0, middle, count, weighed: count * ln(count) }
    }
}

/// The divergence where the bins `first..last` are inside. With N elements, M of them inside, and S elements in the n bins that
/// share a code: `(Σ p·ln p − Σ p·ln(S/n))/N + ln(M/N)`.
fn divergence(bins: &[Bin], first: usize, last: usize, affine: Affine, all: f64) -> f64 {
    let Some(inside @ [.., _]) = bins.get(first..last) else { return f64::INFINITY };
    let mass = |bins: Option<&[Bin]>| bins.unwrap_or_default().iter().map(|bin| bin.count).sum::<f64>();
    let (below, above) = (mass(bins.get(..first)), mass(bins.get(last..)));
    if inside.len() == 1 && below + above > 0.0 {
        return f64::INFINITY;
    }
    let steps = affine.steps();
    let (mut sum, mut total) = (0.0, 0.0);
    let mut shared = Shared { code: f32::NAN, bins: 0.0, count: 0.0, outside: 0.0 };
    for (i, bin) in inside.iter().enumerate() {
        let code = steps.nearest(bin.middle);
        #[expect(clippy::float_cmp, reason = "codes are integers")]
        if code != shared.code {
            sum -= shared.cross();
            shared = Shared { code, bins: 0.0, count: 0.0, outside: 0.0 };
        }
        let below = if i == 0 { below } else { 0.0 };
        let outside = if i + 1 == inside.len() { below + above } else { below };
        let count = bin.count + outside;
        sum += if outside > 0.0 { count * ln(count) } else { bin.weighed };
        total += bin.count;
        shared.bins += 1.0;
        shared.count += bin.count;
        shared.outside += outside;
    }
    (sum - shared.cross()) / all + ln(total / all)
}

/// The bins of one code.
struct Shared {
    code: f32,
    bins: f64,
    count: f64,
    outside: f64,
}

impl Shared {
    /// `Σ p·ln(S/n)` of these bins.
    fn cross(&self) -> f64 {
        if self.bins > 0.0 { (self.count + self.outside) * ln(self.count / self.bins) } else { 0.0 }
    }
}
