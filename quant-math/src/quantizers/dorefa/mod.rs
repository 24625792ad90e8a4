//! DoReFa-Net (Zhou et al. 2016), with `n = 2^k − 1` levels and `quantize_k(x) = rne(n·x) / n` (equation 5).

use crate::tanh::tanh;
use crate::{MathError, simd};

/// DoReFa has 1 to 8 bits, and 32 for "leave it in float".
pub fn check_bits(bits: u32) -> Result<(), MathError> {
    if matches!(bits, 1..=8 | 32) {
        Ok(())
    } else {
        Err(MathError::Bits { bits, what: "the DoReFa quantizer", expected: "1 to 8, or 32" })
    }
}

/// `n = 2^k − 1`.
pub(crate) fn levels(bits: u32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "k is at most 8")]
    let n = ((1_u32 << bits.min(8)) - 1) as f32;
    n
}

/// `sign(w)` with `sign(0) = +1` (section 2.3, 1 bit).
#[inline(always)]
pub(crate) fn sign(w: f32) -> f32 {
    if w < 0.0 { -1.0 } else { 1.0 }
}

/// `rne(n · (tanh(w) / (2·max|tanh w|) + 1/2))`, kept in `0..=n`.
#[inline(always)]
fn weight_code(n: f32, max_abs_tanh: f32, w: f32) -> f32 {
    let u = tanh(w) / (2.0 * max_abs_tanh) + 0.5;
    let code = (n * u).round_ties_even();
    let code = if code > 0.0 { code } else { 0.0 };
    if code < n { code } else { n }
}

/// `2·quantize_k(tanh(w) / (2·max|tanh w|) + 1/2) − 1` (equation 9).
pub(crate) fn weights_into(bits: u32, max_abs_tanh: f32, src: &[f32], dst: &mut [f32]) {
    let n = levels(bits);
    simd::map(
        src,
        dst,
        #[inline(always)]
        |w| 2.0 * (weight_code(n, max_abs_tanh, w) / n) - 1.0,
    );
}

#[inline(always)]
pub(crate) fn weight_codes_into<C: Send>(
    bits: u32,
    max_abs_tanh: f32,
    src: &[f32],
    dst: &mut [C],
    code: impl Fn(i32) -> C + Copy + Sync,
) {
    let n = levels(bits);
    simd::map(
        src,
        dst,
        #[inline(always)]
        |w| code(simd::small_int(weight_code(n, max_abs_tanh, w))),
    );
}
