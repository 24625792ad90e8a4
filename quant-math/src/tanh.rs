//! A hyperbolic tangent with the same bits on every CPU.

use crate::exp::tail;

/// `tanh(x)`, rounded to float32 from a float64 computation of a few additions, multiplications and one division, which IEEE
/// 754 defines to the last bit; within 1 ulp of the true value, odd, and monotone.
///
/// With `y = 2·|x|`: `tanh|x| = (e^y − 1) / (e^y + 1)`, where `e^y − 1 = 2^k·(e^r − 1) + (2^k − 1)` for `y = k·ln 2 + r`.
/// `e^r − 1` is the Taylor series to the 13th power: for `|r| ≤ ln 2 / 2` its remainder is below 2^−56 of the value.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // 1 − tanh(10) is far below half an ulp of 1.
    const LIMIT: f64 = 10.0;
    // Adding it leaves the nearest integer in the lowest bits of the mantissa.
    const TO_INTEGER: f64 = 6_755_399_441_055_744.0;
    let magnitude = f64::from(x.abs());
    // Written so that NaN passes through.
    let y = 2.0 * if magnitude > LIMIT { LIMIT } else { magnitude };
    let shifted = y * std::f64::consts::LOG2_E + TO_INTEGER;
    let r = y - (shifted - TO_INTEGER) * std::f64::consts::LN_2;
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    let e_minus_1 = power * (tail(r) + r) + (power - 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
    let tanh = (e_minus_1 / (e_minus_1 + 2.0)) as f32;
    tanh.copysign(x)
}
