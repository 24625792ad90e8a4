//! The exponential function with the same bits on every machine; the standard library's comes from the system.

/// `e^x` for `x ≤ 0`; 0 below −708, where float64 has no normal numbers any more.
///
/// With `x = k·ln 2 + r`, `|r| ≤ ln 2 / 2`: `e^x = 2^k·(1 + r + tail(r))`. `k·ln 2` is taken away in two parts, of which the first is exact.
pub(crate) fn exp(x: f64) -> f64 {
    // Adding it leaves the nearest integer in the lowest bits of the mantissa.
    const TO_INTEGER: f64 = 6_755_399_441_055_744.0;
    // The first 32 bits of ln 2, and the rest (fdlibm, e_exp.c).
    const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN_2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    if x < -708.0 {
        return 0.0;
    }
    let shifted = x * std::f64::consts::LOG2_E + TO_INTEGER;
    let k = shifted - TO_INTEGER;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    power * (1.0 + (tail(r) + r))
}

/// `e^r − 1 − r` for small `r`, as `r²·(1/2! + r/3! + r²/4! + …)`: the Taylor series to the 13th power, whose remainder is below 2^−53 of the
/// value for `|r| ≤ ln 2 / 2`. It is never negative.
#[inline(always)]
pub(crate) fn tail(r: f64) -> f64 {
    let mut sum = 1.0 / 6_227_020_800.0;
    for factorial in [479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0] {
        sum = sum * r + 1.0 / factorial;
    }
    (sum * r + 0.5) * (r * r)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_exponential() {
        for i in 0..708_000_u32 {
            let x = -f64::from(i) / 1000.0;
            let expected = x.exp();
            // Roundings of r (2^-53 of at most 0.35), of the series, of the two sums and the product, and the system's own.
            assert!(
                (exp(x) - expected).abs() <= 4.0 * f64::EPSILON * expected,
                "e^{x} = {}, expected {expected}",
                exp(x)
            );
        }
        assert_eq!((exp(0.0).to_bits(), exp(-709.0).to_bits()), (1.0_f64.to_bits(), 0));
    }

    #[test]
    fn its_tail_keeps_what_a_difference_would_lose() {
        // 1.0 − 1.0 is 0 there.
        approx::assert_relative_eq!(tail(1e-9), 5.000_000_001_666_667e-19, max_relative = 4e-16);
        approx::assert_relative_eq!(tail(-0.25), (-0.25_f64).exp() - 0.75, max_relative = 1e-14);
        assert_eq!(tail(0.0).to_bits(), 0);
    }
}
