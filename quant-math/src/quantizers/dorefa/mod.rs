//! DoReFa-Net (Zhou et al. 2016), with `n = 2^k − 1` and `quantize_k(x) = rne(n·x) / n` for x in 0 to 1 (equation 5).
//!
//! Bits k are 1 to 8, or 32 for "leave it in float". Weights take their parameters from
//! [`observe`](crate::weights::observe) and become a [`WeightMap`](crate::WeightMap); the rest is here.

mod codes;
mod gradient;
mod noise;

pub use gradient::{gradient_into, weight_gradient_into};
pub use noise::noise;

use codes::weight_codes;

use crate::tanh::tanh;
use crate::{MathError, Quantizer, simd};

/// DoReFa has 1 to 8 bits, and 32 for "leave it in float".
///
/// # Errors
///
/// [`MathError::Bits`] for any other width.
pub fn check_bits(bits: u32) -> Result<(), MathError> {
    super::check_bits(Quantizer::DoReFa, bits)
}

/// `n = 2^k − 1`, for k up to 8.
pub(crate) fn levels(bits: u32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "k is at most 8")]
    let n = ((1_u32 << bits.min(8)) - 1) as f32;
    n
}

/// `rne(n·x)` for x in 0 to 1; what lies outside is limited, NaN becomes 0.
#[inline(always)]
fn code(n: f32, x: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    let x = if x < 1.0 { x } else { 1.0 };
    (n * x).round_ties_even()
}

/// Activations: `y[i] = quantize_k(clip(x[i], 0, 1))` (section 2.4), as far as both reach.
///
/// ```
/// use quant_math::quantizers::dorefa::activations_into;
///
/// let mut y = [0.0; 4];
/// activations_into(2, &[-1.0, 0.3, 0.5, 7.0], &mut y)?;
/// assert_eq!(y, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]);
/// # Ok::<(), quant_math::MathError>(())
/// ```
///
/// # Errors
///
/// [`MathError::Bits`].
pub fn activations_into(bits: u32, x: &[f32], y: &mut [f32]) -> Result<(), MathError> {
    check_bits(bits)?;
    if bits == 32 {
        simd::map(
            x,
            y,
            #[inline(always)]
            |x| x,
        );
        return Ok(());
    }
    let n = levels(bits);
    simd::map(
        x,
        y,
        #[inline(always)]
        |x| code(n, x) / n,
    );
    Ok(())
}

/// The gradient of [`activations_into`]: `dx[i] = g[i]` where `0 ≤ x[i] ≤ 1`, else 0; rounding is straight-through. As far as
/// all reach.
///
/// # Errors
///
/// [`MathError::Bits`].
pub fn activation_gradient_into(bits: u32, g: &[f32], x: &[f32], dx: &mut [f32]) -> Result<(), MathError> {
    check_bits(bits)?;
    let unchanged = bits == 32;
    simd::zip(g, dx, |at, g, dx| {
        let x = x.get(at..).unwrap_or_default();
        simd::run(
            #[inline(always)]
            || {
                for ((g, x), dx) in g.iter().zip(x).zip(dx) {
                    *dx = if unchanged || (0.0 <= *x && *x <= 1.0) { *g } else { 0.0 };
                }
            },
        );
    });
    Ok(())
}

/// `sign(w)` with `sign(0) = +1` (section 2.3, 1 bit).
#[inline(always)]
pub(crate) fn sign(w: f32) -> f32 {
    if w < 0.0 { -1.0 } else { 1.0 }
}

/// `rne(n · (tanh(w) / (2·max|tanh w|) + 1/2))`.
#[inline(always)]
fn weight_code(n: f32, max_abs_tanh: f32, w: f32) -> f32 {
    code(n, tanh(w) / (2.0 * max_abs_tanh) + 0.5)
}

/// `2·quantize_k(tanh(w) / (2·max|tanh w|) + 1/2) − 1` (equation 9).
pub(crate) fn weights_into(bits: u32, max_abs_tanh: f32, w: &[f32], y: &mut [f32]) {
    let n = levels(bits);
    each_weight_code(
        n,
        max_abs_tanh,
        w,
        y,
        #[inline(always)]
        |code| 2.0 * (code / n) - 1.0,
    );
}

#[inline(always)]
pub(crate) fn weight_codes_into<C: Send>(
    bits: u32,
    max_abs_tanh: f32,
    w: &[f32],
    codes: &mut [C],
    convert: impl Fn(i32) -> C + Copy + Sync,
) {
    each_weight_code(
        levels(bits),
        max_abs_tanh,
        w,
        codes,
        #[inline(always)]
        |code| convert(simd::small_int(code)),
    );
}

#[inline(always)]
fn each_weight_code<C: Send>(
    n: f32,
    max_abs_tanh: f32,
    w: &[f32],
    dst: &mut [C],
    finish: impl Fn(f32) -> C + Copy + Sync,
) {
    simd::zip(w, dst, |_, w, dst| {
        simd::run(
            #[inline(always)]
            || weight_codes(n, max_abs_tanh, w, dst, finish),
        );
    });
}

#[cfg(test)]
mod tests;
