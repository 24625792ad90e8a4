//! TensorFlow 2.21, CPU: `FakeQuantWithMinMaxVars`, `…Args`, `…VarsPerChannel` and their gradients.
//!
//! ```text
//! qmin = narrow_range ? 1 : 0;  qmax = 2^num_bits − 1;  s = (max − min) / (qmax − qmin);  inv = (qmax − qmin) / (max − min)
//! z0 = qmin − min / s;  z = z0 limited to qmin..=qmax, rounded half away from zero
//! nmin = (qmin − z)·s;  nmax = (qmax − z)·s;  qz = floor(−nmin·inv + 0.5);  d = max(min(x, nmax), nmin) − nmin
//! Vars:             y = floor(d / s − qz + 0.5)·s
//! Args, PerChannel: y = floor(d·inv − qz + 0.5)·s
//! gradients:        dx = g·[nmin ≤ x ≤ nmax];  dmin = Σ g·[x < nmin];  dmax = Σ g·[x > nmax]
//! ```
//!
//! `min = max = 0` gives y = 0, dx = g, dmin = dmax = 0. A range that does not hold 0 is moved, not widened, until it does.
//! NaN in `x` comes out as NaN.
//!
//! TensorFlow runs its kernels with subnormal numbers flushed to zero, and so do these functions. Where TensorFlow answers
//! with NaN throughout (the step becomes 0 or infinite, or `min = max ≠ 0`) or with numbers that mean nothing (`min > max`),
//! [`NudgedRange::new`] is an error.
//!
//! ```
//! use quant_math::kernels::tensorflow::{NudgedRange, fake_quant_with_min_max_vars};
//!
//! let range = NudgedRange::new(-1.0, 1.0, 8, false)?;
//! let mut y = [0.0; 3];
//! fake_quant_with_min_max_vars(range, &[-1.0, 0.0, 7.0], &mut y);
//! assert_eq!(y, [-0.9960785, 0.0, 1.0039216]);
//! # Ok::<(), quant_math::MathError>(())
//! ```

mod gradients;
mod nudge;

pub use gradients::{
    fake_quant_with_min_max_args_gradient, fake_quant_with_min_max_vars_gradient,
    fake_quant_with_min_max_vars_per_channel_gradient,
};
pub use nudge::NudgedRange;

use crate::columns::{Columns, Parameters};
use crate::layout::ChannelLayout;
use crate::simd;

/// `FakeQuantWithMinMaxVars`: `y[i]` from `x[i]`, as far as both reach.
pub fn fake_quant_with_min_max_vars(range: NudgedRange, x: &[f32], y: &mut [f32]) {
    if range.is_zero() {
        return y.iter_mut().zip(x).for_each(|(y, _)| *y = 0.0);
    }
    simd::map(
        x,
        y,
        #[inline(always)]
        |x| range.vars(x),
    );
}

/// `FakeQuantWithMinMaxArgs`: `y[i]` from `x[i]`, as far as both reach. (The op itself refuses `min = max = 0`.)
pub fn fake_quant_with_min_max_args(range: NudgedRange, x: &[f32], y: &mut [f32]) {
    if range.is_zero() {
        return y.iter_mut().zip(x).for_each(|(y, _)| *y = 0.0);
    }
    simd::map(
        x,
        y,
        #[inline(always)]
        |x| range.args(x),
    );
}

/// `FakeQuantWithMinMaxVarsPerChannel`: `y[i]` from `x[i]`, as far as both reach; the last axis has `ranges.len()` channels.
pub fn fake_quant_with_min_max_vars_per_channel(ranges: &[NudgedRange], x: &[f32], y: &mut [f32]) {
    columns(ranges, x.len()).update(
        0,
        x,
        y,
        #[inline(always)]
        |range, x, y| *y = NudgedRange::from(range).args(x),
    );
    zero_channels(ranges, |channel| {
        y.iter_mut().zip(x).skip(channel).step_by(ranges.len()).for_each(|(y, _)| *y = 0.0);
    });
}

/// The parameters of channels along the last axis.
fn columns(ranges: &[NudgedRange], len: usize) -> Columns {
    let channels = ranges.len().max(1);
    let parameters: Vec<Parameters> = ranges.iter().map(|range| (*range).into()).collect();
    Columns::new(ChannelLayout { outer: len.div_ceil(channels), channels, inner: 1 }, &parameters)
}

/// Channels with `min = max = 0` differ from the formula where x is not finite only; they are rare and get their own pass.
fn zero_channels(ranges: &[NudgedRange], mut each: impl FnMut(usize)) {
    for (channel, _) in ranges.iter().enumerate().filter(|(_, range)| range.is_zero()) {
        each(channel);
    }
}
