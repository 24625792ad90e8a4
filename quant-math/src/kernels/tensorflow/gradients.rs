//! Gradients of the `FakeQuant…` ops: straight through inside the nudged range, to its ends outside.

use rayon::prelude::*;

use super::nudge::flush;
use super::{NudgedRange, columns, zero_channels};
use crate::simd::{self, chunks};

/// `FakeQuantWithMinMaxVarsGradient`: `dx[i]` from `g[i]` and `x[i]`, as far as all reach; dmin and dmax.
///
/// TensorFlow adds dmin and dmax up in float32, in an order that depends on the CPU; here they are float64 sums in a fixed
/// order, rounded once.
pub fn fake_quant_with_min_max_vars_gradient(range: NudgedRange, g: &[f32], x: &[f32], dx: &mut [f32]) -> (f32, f32) {
    fake_quant_with_min_max_args_gradient(range, g, x, dx);
    if range.is_zero() {
        return (0.0, 0.0);
    }
    let len = g.len().min(x.len());
    let of_chunk = |span: std::ops::Range<usize>| {
        let g = g.get(span.clone()).unwrap_or_default();
        let x = x.get(span).unwrap_or_default();
        g.iter().zip(x).fold((0.0, 0.0), |sums, (g, x)| outside(range, *g, *x, sums))
    };
    let parts: Vec<(f64, f64)> = chunks(len).map(of_chunk).collect();
    rounded(parts.iter().fold((0.0, 0.0), |(min, max), part| (min + part.0, max + part.1)))
}

/// `FakeQuantWithMinMaxArgsGradient`: `dx[i]` from `g[i]` and `x[i]`, as far as all reach.
pub fn fake_quant_with_min_max_args_gradient(range: NudgedRange, g: &[f32], x: &[f32], dx: &mut [f32]) {
    simd::zip(g, dx, |at, g, dx| {
        let x = x.get(at..).unwrap_or_default();
        simd::run(
            #[inline(always)]
            || {
                let all = g.iter().zip(x).zip(dx);
                if range.is_zero() {
                    all.for_each(|((g, _), dx)| *dx = *g);
                } else {
                    all.for_each(|((g, x), dx)| *dx = g * range.mask(*x));
                }
            },
        );
    });
}

/// `FakeQuantWithMinMaxVarsPerChannelGradient`: `dx[i]` from `g[i]` and `x[i]`, as far as all reach; dmin and dmax of each
/// channel of the last axis. Sums as in [`fake_quant_with_min_max_vars_gradient`].
pub fn fake_quant_with_min_max_vars_per_channel_gradient(
    ranges: &[NudgedRange],
    g: &[f32],
    x: &[f32],
    dx: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    dx.iter_mut().zip(g).for_each(|(dx, g)| *dx = *g);
    let reach = g.len().min(x.len());
    columns(ranges, reach).update(
        0,
        x.get(..reach).unwrap_or_default(),
        dx,
        #[inline(always)]
        |range, x, dx| *dx *= NudgedRange::from(range).mask(x),
    );
    zero_channels(ranges, |channel| {
        let all = dx.iter_mut().zip(g).zip(x);
        all.skip(channel).step_by(ranges.len()).for_each(|((dx, g), _)| *dx = *g);
    });
    let mut sums = vec![(0.0, 0.0); ranges.len()];
    for (g, x) in g.chunks(ranges.len().max(1)).zip(x.chunks(ranges.len().max(1))) {
        for (((g, x), range), sums) in g.iter().zip(x).zip(ranges).zip(&mut sums) {
            *sums = if range.is_zero() { *sums } else { outside(*range, *g, *x, *sums) };
        }
    }
    sums.into_iter().map(rounded).unzip()
}

/// The sums with what `g` adds: to dmin below the range, to dmax above.
#[inline(always)]
fn outside(range: NudgedRange, g: f32, x: f32, (min, max): (f64, f64)) -> (f64, f64) {
    let (g, x) = (f64::from(g), flush(x));
    (if x < range.min() { min + g } else { min }, if x > range.max() { max + g } else { max })
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
fn rounded((min, max): (f64, f64)) -> (f32, f32) {
    (min as f32, max as f32)
}
