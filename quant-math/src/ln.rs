//! The natural logarithm with the same bits on every machine; the standard library's comes from the system.

use std::f64::consts::{LN_2, SQRT_2};

/// `ln(x)` for a positive normal x.
///
/// With `x = m·2^e` and m in [√½, √2): `ln(x) = e·ln 2 + 2·artanh(s)`, s = (m − 1)/(m + 1), |s| ≤ 0.1716. Of the series
/// `artanh(s) = s·(1 + s²/3 + s⁴/5 + …)` eleven terms are taken: the rest is below 0.1716²²/23 < 2^-59 of the sum.
pub(crate) fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let mut mantissa = f64::from_bits(bits & MANTISSA | 1.0_f64.to_bits());
    let mut exponent = (bits >> 52) as i32 - 1023;
    if mantissa >= SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..11).rev().fold(0.0, |sum, i| sum * square + 1.0 / f64::from(2 * i + 1));
    f64::from(exponent) * LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::ln;

    #[test]
    fn it_is_the_logarithm() {
        for i in 1..200_000_u32 {
            for x in [f64::from(i), 1.0 / f64::from(i), f64::from(i) * 1e250, f64::from(i) / 99_999.0] {
                let expected = x.ln();
                // Roundings: three of s and four of the series' last steps and product (each 2^-53 of the artanh term, at
                // most 0.35), ln 2 and its product (2^-53 of the exponent's term each), the sum, and the system's own.
                let bound = f64::EPSILON * (2.0 * expected.abs() + 4.0 * 0.35_f64.min(expected.abs() + 1e-300));
                let bound = bound + f64::EPSILON * (x.log2().abs().min(1.0));
                assert!((ln(x) - expected).abs() <= bound, "ln({x}) = {}, expected {expected}", ln(x));
            }
        }
        assert_eq!(ln(1.0).to_bits(), 0);
    }
}
