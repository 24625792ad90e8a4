//! `tanh` over float32: every number in a release build, every 251st in a debug build.

use quant_math::tanh::tanh;
use rayon::prelude::*;

/// A step that is prime to every power of two, so that all mantissas get their turn.
const STEP: usize = if cfg!(debug_assertions) { 251 } else { 1 };

/// The true value to about 2^-52 of itself.
fn reference(x: f32) -> f64 {
    let x = f64::from(x);
    if x < 1.0 / 4096.0 {
        // The next term of the series is below 2^-72 of the value.
        let square = x * x;
        x * (1.0 - square / 3.0 + square * square * (2.0 / 15.0))
    } else {
        x.tanh()
    }
}

/// The distance of neighbouring float32 at `x`, which is at most 1 in size.
fn ulp(x: f64) -> f64 {
    let exponent = (x.to_bits() >> 52).max(1023 - 126) - 23;
    f64::from_bits(exponent << 52)
}

#[test]
fn within_one_ulp_and_monotone() {
    let infinity = f32::INFINITY.to_bits();
    let worst = (0..infinity)
        .into_par_iter()
        .step_by(STEP)
        .map(|bits| {
            let x = f32::from_bits(bits);
            let found = tanh(x);
            let next = tanh(f32::from_bits(bits + 1));
            assert!(found <= next, "tanh({x:e}) = {found:e} is more than the {next:e} of the next number");
            assert_eq!(tanh(-x).to_bits(), (-found).to_bits(), "tanh(-{x:e})");
            let expected = reference(x);
            (f64::from(found) - expected).abs() / ulp(expected)
        })
        .reduce(|| 0.0, f64::max);
    // Half an ulp is the rounding to float32; the float64 computation before it is good to 2^-47, 2^-23 ulp.
    assert!(worst <= 0.5 + 1.0 / f64::from(1 << 22), "{worst} ulp");
}

#[test]
fn ends_and_special_numbers() {
    assert_eq!(tanh(0.0).to_bits(), 0);
    assert_eq!(tanh(-0.0).to_bits(), 0x8000_0000);
    for x in [10.0, f32::MAX, f32::INFINITY] {
        assert_eq!((tanh(x).to_bits(), tanh(-x).to_bits()), (1.0_f32.to_bits(), (-1.0_f32).to_bits()));
    }
    let smallest = f32::from_bits(1);
    assert_eq!(tanh(smallest).to_bits(), 1);
    assert!(tanh(f32::NAN).is_nan());
}
