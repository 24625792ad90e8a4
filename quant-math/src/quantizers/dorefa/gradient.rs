//! DoReFa's quantized gradients, and the gradient of its weights.

use rayon::prelude::*;

use super::noise::{key, of_key};
use super::{check_bits, code, levels};
use crate::simd::{self, chunks};
use crate::tanh::tanh;
use crate::weights::observe_ranges;
use crate::{ChannelLayout, MathError, WeightMap};

/// Quantized gradients (equation 12): `g = 2·m·(quantize_k(clip(dr / (2m) + 1/2 + N, 0, 1)) − 1/2)` with `m = max|dr|` over each
/// sample of the batch and N uniform in ±0.5/n, the [`noise`](super::noise) of `seed`, `step` and the element's position.
///
/// `dr` is `batch` samples of equal length, one after the other; the result goes to `g`, of the same length. A sample of zeros
/// stays zero. 32 bits change nothing.
///
/// ```
/// use quant_math::quantizers::dorefa::gradient_into;
///
/// let mut g = [0.0; 4];
/// gradient_into(8, 42, 0, 2, &[1.0, -0.5, 0.0, 0.0], &mut g)?;
/// assert!((g[0] - 1.0).abs() <= 2.0 / 255.0 && g[2..] == [0.0, 0.0]);
/// # Ok::<(), quant_math::MathError>(())
/// ```
///
/// # Errors
///
/// [`MathError::Bits`]; [`MathError::Layout`] where `batch` does not divide `dr` or `g` has another length;
/// [`MathError::NonFinite`]; [`MathError::RangeOverflow`] where `2m` is infinite.
pub fn gradient_into(
    bits: u32,
    seed: u64,
    step: u64,
    batch: usize,
    dr: &[f32],
    g: &mut [f32],
) -> Result<(), MathError> {
    check_bits(bits)?;
    let inner = dr.len().checked_div(batch).unwrap_or(0);
    let layout = ChannelLayout { outer: 1, channels: batch, inner };
    for (expected, found) in [(layout.len(), dr.len()), (dr.len(), g.len())] {
        if expected != found {
            return Err(MathError::Layout { expected, found });
        }
    }
    if dr.is_empty() {
        return Ok(());
    }
    if bits == 32 {
        g.copy_from_slice(dr);
        return Ok(());
    }
    let (n, key) = (levels(bits), key(seed, step));
    let ranges = observe_ranges(layout, dr)?;
    for (sample, range) in ranges.iter().enumerate() {
        let m = range.max.max(-range.min);
        let double = 2.0 * m;
        if !double.is_finite() {
            return Err(MathError::RangeOverflow { min: range.min, max: range.max });
        }
        let start = sample * inner;
        let (Some(dr), Some(g)) = (dr.get(start..start + inner), g.get_mut(start..start + inner)) else { continue };
        if m <= 0.0 {
            g.fill(0.0);
            continue;
        }
        simd::zip(dr, g, |at, dr, g| {
            let first = (start + at) as u64;
            simd::run(
                #[inline(always)]
                || {
                    for (index, (dr, g)) in (first..).zip(dr.iter().zip(g)) {
                        let u = dr / double + 0.5 + of_key(key, index) / n;
                        *g = double * (code(n, u) / n - 0.5);
                    }
                },
            );
        });
    }
    Ok(())
}

/// The gradient of DoReFa's weights with respect to `w`, which `map` was observed from: rounding is straight-through, tanh and
/// max are differentiated. As far as `g`, `w` and `dw` reach.
///
/// With `t = tanh(w)` and `M = max|t|`, `y = 2·(t / (2M) + 1/2) − 1 = t / M` but for the rounding. So `dw = g·(1 − t²) / M`, and the
/// weights with `|t| = M` get `−sign(t)·(1 − t²)·Σ g·t / M²` besides, in equal shares, as both frameworks share a maximum out.
/// One bit is straight-through (equations 7 and 8); 32 bits, and weights that are all 0, change nothing. The sum is float64,
/// chunk after chunk.
///
/// # Errors
///
/// [`MathError::NotDoReFa`] for an affine map.
pub fn weight_gradient_into(map: &WeightMap, g: &[f32], w: &[f32], dw: &mut [f32]) -> Result<(), MathError> {
    let max = match map {
        WeightMap::DoReFa { max_abs_tanh, .. } => *max_abs_tanh,
        WeightMap::Sign { .. } | WeightMap::Unchanged => {
            simd::map(
                g,
                dw,
                #[inline(always)]
                |g| g,
            );
            return Ok(());
        }
        WeightMap::Affine(_) => return Err(MathError::NotDoReFa),
    };
    let len = g.len().min(w.len());
    let of_chunk = |span: std::ops::Range<usize>| {
        let all = g.get(span.clone()).unwrap_or_default().iter().zip(w.get(span).unwrap_or_default());
        all.fold((0.0, 0_u64), |(sum, largest), (g, w)| {
            let t = tanh(*w);
            (sum + f64::from(*g) * f64::from(t), largest + u64::from(t.abs() >= max))
        })
    };
    let parts: Vec<(f64, u64)> = chunks(len).map(of_chunk).collect();
    let (sum, largest) = parts.iter().fold((0.0, 0), |(sum, count), part| (sum + part.0, count + part.1));
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 elements")]
    let share = sum / (f64::from(max) * f64::from(max)) / largest.max(1) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
    let share = share as f32;
    simd::zip(g, dw, |at, g, dw| {
        let w = w.get(at..).unwrap_or_default();
        simd::run(
            #[inline(always)]
            || {
                for ((g, w), dw) in g.iter().zip(w).zip(dw) {
                    let t = tanh(*w);
                    let through_max = if t >= max {
                        share
                    } else if t <= -max {
                        -share
                    } else {
                        0.0
                    };
                    *dw = (*g / max - through_max) * (1.0 - t * t);
                }
            },
        );
    });
    Ok(())
}
