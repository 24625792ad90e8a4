//! PyTorch 1.13 and 2.x, CPU: `fake_quantize_per_tensor_affine`, `fake_quantize_per_channel_affine`, their gradients, and the
//! min-max observers.
//!
//! ```text
//! inv = 1 / s;  q = rne(x·inv) + z;  y = (clamp(q, quant_min, quant_max) − z)·s;  dx = g·[quant_min ≤ q ≤ quant_max]
//! ```
//!
//! NaN in `x` comes out as the value of `quant_min`, with gradient 0. Where `|q|` passes 2^63 the code saturates, as in 2.x;
//! 1.13 overflows an integer there and answers with `quant_min` for both signs.
//!
//! ```
//! use quant_math::kernels::torch::{FakeQuantize, fake_quantize_per_tensor_affine};
//!
//! let int8 = FakeQuantize::new(0.5, 0, -128, 127)?;
//! let mut y = [0.0; 4];
//! fake_quantize_per_tensor_affine(int8, &[0.25, 0.75, -1.0, 1000.0], &mut y);
//! assert_eq!(y, [0.0, 1.0, -1.0, 63.5]);
//! # Ok::<(), quant_math::MathError>(())
//! ```

mod observers;

pub use observers::{
    CodeType, MinMaxObserver, MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver, QParams, Scheme,
};

use crate::MathError;
use crate::columns::{Columns, Parameters};
use crate::layout::ChannelLayout;
use crate::simd;

/// The arguments of the `fake_quantize` ops for one tensor or one channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FakeQuantize {
    scale: f32,
    inv_scale: f32,
    zero_point: f32,
    quant_min: f32,
    quant_max: f32,
}

impl FakeQuantize {
    /// `scale` is positive and has a finite inverse, and `quant_min ≤ zero_point ≤ quant_max`, all below 2^24 in size;
    /// PyTorch checks some of this.
    ///
    /// # Errors
    ///
    /// [`MathError::Parameters`].
    pub fn new(scale: f32, zero_point: i32, quant_min: i32, quant_max: i32) -> Result<Self, MathError> {
        const EXACT: i32 = 1 << 24;
        let inv_scale = 1.0 / scale;
        let ok = scale > 0.0
            && scale.is_finite()
            && inv_scale.is_finite()
            && -EXACT < quant_min
            && quant_min <= zero_point
            && zero_point <= quant_max
            && quant_max < EXACT;
        if !ok {
            return Err(MathError::Parameters { scale, zero_point, quant_min, quant_max });
        }
        #[expect(clippy::cast_precision_loss, reason = "below 2^24")]
        let [zero_point, quant_min, quant_max] = [zero_point, quant_min, quant_max].map(|q| q as f32);
        Ok(Self { scale, inv_scale, zero_point, quant_min, quant_max })
    }

    /// The code before it is limited to the grid.
    #[inline(always)]
    fn unlimited(self, x: f32) -> f32 {
        (x * self.inv_scale).round_ties_even() + self.zero_point
    }

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        let q = self.unlimited(x);
        // NaN becomes `quant_min`.
        let q = if q > self.quant_min { q } else { self.quant_min };
        let q = if q < self.quant_max { q } else { self.quant_max };
        (q - self.zero_point) * self.scale
    }

    /// 1 where the gradient passes, else 0.
    #[inline(always)]
    fn mask(self, x: f32) -> f32 {
        let q = self.unlimited(x);
        if self.quant_min <= q && q <= self.quant_max { 1.0 } else { 0.0 }
    }
}

impl From<FakeQuantize> for Parameters {
    fn from(q: FakeQuantize) -> Self {
        [q.scale, q.inv_scale, q.zero_point, q.quant_min, q.quant_max]
    }
}

impl From<Parameters> for FakeQuantize {
    #[inline(always)]
    fn from([scale, inv_scale, zero_point, quant_min, quant_max]: Parameters) -> Self {
        Self { scale, inv_scale, zero_point, quant_min, quant_max }
    }
}

/// `fake_quantize_per_tensor_affine`: `y[i]` from `x[i]`, as far as both reach.
pub fn fake_quantize_per_tensor_affine(parameters: FakeQuantize, x: &[f32], y: &mut [f32]) {
    simd::map(
        x,
        y,
        #[inline(always)]
        |x| parameters.value(x),
    );
}

/// The gradient of [`fake_quantize_per_tensor_affine`] (the op ends in `_cachemask_backward`): `dx[i]` from `g[i]` and `x[i]`,
/// as far as all reach.
pub fn fake_quantize_per_tensor_affine_gradient(parameters: FakeQuantize, g: &[f32], x: &[f32], dx: &mut [f32]) {
    dx.iter_mut().zip(g).for_each(|(dx, g)| *dx = *g);
    per_tensor(parameters, g.len()).update(
        0,
        x.get(..g.len().min(x.len())).unwrap_or_default(),
        dx,
        #[inline(always)]
        |parameters, x, dx| *dx *= FakeQuantize::from(parameters).mask(x),
    );
}

/// `fake_quantize_per_channel_affine`: `y[i]` from `x[i]`, as far as both reach.
///
/// # Errors
///
/// [`MathError::Layout`] where `parameters` has another length than `layout` has channels.
pub fn fake_quantize_per_channel_affine(
    layout: ChannelLayout,
    parameters: &[FakeQuantize],
    x: &[f32],
    y: &mut [f32],
) -> Result<(), MathError> {
    per_channel(layout, parameters)?.update(
        0,
        x,
        y,
        #[inline(always)]
        |parameters, x, y| *y = FakeQuantize::from(parameters).value(x),
    );
    Ok(())
}

/// The gradient of [`fake_quantize_per_channel_affine`]: `dx[i]` from `g[i]` and `x[i]`, as far as all reach. Its errors.
///
/// # Errors
/// [`MathError::Layout`] where the layout is not of `x`'s length, or `parameters` are not as many as its channels.
pub fn fake_quantize_per_channel_affine_gradient(
    layout: ChannelLayout,
    parameters: &[FakeQuantize],
    g: &[f32],
    x: &[f32],
    dx: &mut [f32],
) -> Result<(), MathError> {
    let columns = per_channel(layout, parameters)?;
    dx.iter_mut().zip(g).for_each(|(dx, g)| *dx = *g);
    columns.update(
        0,
        x.get(..g.len().min(x.len())).unwrap_or_default(),
        dx,
        #[inline(always)]
        |parameters, x, dx| *dx *= FakeQuantize::from(parameters).mask(x),
    );
    Ok(())
}

fn per_tensor(parameters: FakeQuantize, len: usize) -> Columns {
    Columns::new(ChannelLayout::per_tensor(len), &[parameters.into()])
}

fn per_channel(layout: ChannelLayout, parameters: &[FakeQuantize]) -> Result<Columns, MathError> {
    if parameters.len() != layout.channels {
        return Err(MathError::Layout { expected: layout.channels, found: parameters.len() });
    }
    let parameters: Vec<Parameters> = parameters.iter().map(|q| (*q).into()).collect();
    Ok(Columns::new(layout, &parameters))
}
