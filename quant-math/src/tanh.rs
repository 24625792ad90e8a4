//! A hyperbolic tangent with the same bits on every CPU.

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
    let e_minus_1 = power * exp_m1(r) + (power - 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
    let tanh = (e_minus_1 / (e_minus_1 + 2.0)) as f32;
    tanh.copysign(x)
}

/// `e^r − 1` for small `r`, as `r + r²·(1/2! + r/3! + r²/4! + …)`.
#[inline(always)]
fn exp_m1(r: f64) -> f64 {
    let mut sum = 1.0 / 6_227_020_800.0;
    for factorial in [479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0] {
        sum = sum * r + 1.0 / factorial;
    }
    (sum * r + 0.5) * (r * r) + r
}
