//! The clip with the least squared error.

use rayon::prelude::*;

use super::histogram::LAST;
use super::{Histogram, real};
use crate::data::narrow;
use crate::{Affine, Grid, MathError, Range};

/// Rounds of the search over both ends; two or three are usual.
const ROUNDS: usize = 16;

/// The clip with the least expected squared quantization error `E (x − fake_quant(x))²`, where x is spread evenly over the part
/// of its bin that lies between the smallest and the largest value.
///
/// Candidates for an end are the edges of bins, and the smallest and the largest value themselves. Symmetric, both ends are one
/// number, and all candidates are tried. Asymmetric, the upper end is chosen among all candidates for the lower end at hand,
/// then the lower one for that upper one, and so on until neither moves: no end can be bettered alone, and the error is never
/// above that of the whole range, with which the search begins. Of equal candidates the widest is taken.
///
/// # Errors
/// [`MathError::Empty`]; [`MathError::RangeOverflow`] where the whole range has no grid.
pub fn mse(histogram: &Histogram, grid: Grid, symmetric: bool) -> Result<Range, MathError> {
    let whole = histogram.range().ok_or(MathError::Empty)?;
    let affine = if symmetric { Affine::symmetric } else { Affine::asymmetric };
    let bins: Vec<Bin> = histogram.bins().map(|(bin, count)| Bin::new(histogram, bin, count)).collect();
    let error = |range: Range| affine(range, grid).map(|affine| total_error(&bins, affine));
    // The first of the candidates that beat what is there, or nothing.
    let better = |than: f64, candidates: Vec<Range>| -> Result<Option<(Range, f64)>, MathError> {
        let errors: Result<Vec<f64>, MathError> = candidates.par_iter().map(|range| error(*range)).collect();
        let found = candidates.into_iter().zip(errors?).reduce(|a, b| if b.1 < a.1 { b } else { a });
        Ok(found.filter(|(_, error)| *error < than))
    };
    let (mut best, mut least) = (whole, error(whole)?);
    if symmetric {
        let found = better(least, symmetric_clips(histogram, whole))?;
        return Ok(found.map_or(whole, |(range, _)| range));
    }
    for _ in 0..ROUNDS {
        let before = best;
        let uppers = edges(histogram, whole.min.max(0.0), whole.max).into_iter().rev();
        let uppers = uppers.map(|max| Range { max, ..best }).filter(|range| has_step(*range));
        if let Some(found) = better(least, uppers.collect())? {
            (best, least) = found;
        }
        let lowers = edges(histogram, -(whole.max.min(0.0)), -whole.min).into_iter().rev();
        let lowers = lowers.map(|min| Range { min: 0.0 - min, ..best }).filter(|range| has_step(*range));
        if let Some(found) = better(least, lowers.collect())? {
            (best, least) = found;
        }
        if best == before {
            break;
        }
    }
    Ok(best)
}

/// A grid of zeros alone has a step all the same, which is none to quantize other numbers with.
fn has_step(range: Range) -> bool {
    range.min < 0.0 || range.max > 0.0
}

/// The edges from `low` to `high`, `high` not included; none where `high` is not positive.
fn edges(histogram: &Histogram, low: f32, high: f32) -> Vec<f32> {
    let edges = (0..=LAST).map(|i| narrow(f64::from(i) * histogram.width()));
    edges.filter(|edge| low <= *edge && *edge < high).collect()
}

fn symmetric_clips(histogram: &Histogram, whole: Range) -> Vec<Range> {
    let nearest = whole.min.max(-whole.max).max(0.0);
    let edges = edges(histogram, nearest, whole.max.max(-whole.min)).into_iter().rev().filter(|edge| *edge > 0.0);
    edges.map(|edge| Range { min: whole.min.max(-edge), max: whole.max.min(edge) }).collect()
}

/// A bin with values in it.
struct Bin {
    low: f64,
    high: f64,
    count: f64,
}

impl Bin {
    fn new(histogram: &Histogram, bin: i32, count: u64) -> Self {
        let (low, high) = histogram.edges(bin);
        Self { low, high, count: real(count) }
    }
}

fn total_error(bins: &[Bin], affine: Affine) -> f64 {
    let curve = Curve::new(affine);
    let of_bin = |bin: &Bin| {
        let width = bin.high - bin.low;
        let mean = if width > 0.0 {
            (curve.integral(bin.high) - curve.integral(bin.low)) / width
        } else {
            curve.square(bin.low)
        };
        bin.count * mean
    };
    bins.iter().map(of_bin).sum()
}

/// The squared error as a function of x: parabolas between the steps, and one at either end.
struct Curve {
    scale: f64,
    low: f64,
    high: f64,
    /// The integral from `low` to `high`.
    inside: f64,
}

impl Curve {
    fn new(affine: Affine) -> Self {
        let Range { min, max } = affine.nudged_range();
        let scale = f64::from(affine.scale());
        let inside = f64::from(affine.grid().steps()) / 12.0 * (scale * scale * scale);
        Self { scale, low: min.into(), high: max.into(), inside }
    }

    /// `∫ (y − fake_quant(y))² dy` from `low` to x. Between steps, with u = (x − low)/scale, k the nearest integer and
    /// t = u − k, it is `scale³·(k/12 + t³/3)`.
    fn integral(&self, x: f64) -> f64 {
        let third = |distance: f64| distance * distance * distance / 3.0;
        if x <= self.low {
            third(x - self.low)
        } else if x >= self.high {
            self.inside + third(x - self.high)
        } else {
            let u = (x - self.low) / self.scale;
            let k = u.round_ties_even();
            (k / 12.0 + third(u - k)) * (self.scale * self.scale * self.scale)
        }
    }

    fn square(&self, x: f64) -> f64 {
        let u = (x.clamp(self.low, self.high) - self.low) / self.scale;
        let error = x - (self.low + u.round_ties_even() * self.scale);
        error * error
    }
}
