//! The codes of weights, most of them without their tangent: an estimate tells which code it is wherever it cannot be another.

use super::weight_code;

/// Elements that are estimated together; one that the estimate leaves open sends all of them the exact way.
const BLOCK: usize = 32;

/// `dst[i] = finish(weight_code(n, max_abs_tanh, w[i]))` for `n` of at most 255, as far as both reach.
#[inline(always)]
pub(super) fn weight_codes<C>(
    n: f32,
    max_abs_tanh: f32,
    w: &[f32],
    dst: &mut [C],
    finish: impl Fn(f32) -> C + Copy + Sync,
) {
    let exact = |w: &[f32], dst: &mut [C]| {
        w.iter().zip(dst).for_each(|(w, y)| *y = finish(weight_code(n, max_abs_tanh, *w)));
    };
    let len = w.len().min(dst.len());
    let (Some(w), Some(dst)) = (w.get(..len), dst.get_mut(..len)) else { return };
    let Some(estimate) = Estimate::new(n, max_abs_tanh) else { return exact(w, dst) };
    let (blocks, rest) = w.as_chunks::<BLOCK>();
    let (outs, tail) = dst.as_chunks_mut::<BLOCK>();
    for (w, dst) in blocks.iter().zip(outs) {
        let mut codes = [0.0; BLOCK];
        let mut open = 0_u32;
        for (w, code) in w.iter().zip(&mut codes) {
            let certain;
            (*code, certain) = estimate.code(*w);
            open |= u32::from(!certain);
        }
        if open == 0 {
            codes.iter().zip(dst).for_each(|(code, y)| *y = finish(*code));
        } else {
            exact(w, dst);
        }
    }
    exact(rest, tail);
}

/// `n·(tanh(w) / (2M) + 1/2)` in float32, near enough to tell its integer. With `z = w²` and Lambert's continued fraction (1768)
/// cut off after its ninth term:
///
/// ```text
/// tanh w ≈ w · (1 + 7/51·z + 1/255·z² + 2/69615·z³ + z⁴/34459425) / (1 + 8/17·z + 7/255·z² + 4/9945·z³ + z⁴/765765)
/// ```
///
/// Errors in units of `n·2^-24`, for `|w|` up to 4. Relative ones of the product `tanh(w)·n/(2M)`, which is at most `n/2` where
/// nothing is limited: 0.7 for what was cut off; 0.5 for z, on which `tanh(w)/w` depends with an exponent from −1/2 to 0; 4.1 and
/// 5.1 for numerator and denominator, which grow with z; 2 for `n/(2M)`; 3 for two products and the division; half of which is
/// 7.7. The sum adds 1. The exact way has tanh within 2 and the division within 1, half of which is 1.5, and rounds a sum
/// (0.5) and a product (1). That is 11.7 between both ways, and `TOLERANCE` is 16.
#[derive(Clone, Copy)]
struct Estimate {
    n: f32,
    /// `n / (2M)`.
    gain: f32,
    /// How far from an integer a certain estimate is at most.
    reach: f32,
}

impl Estimate {
    const TOLERANCE: f32 = 16.0 / 16_777_216.0;

    /// `None` where `M` is so small, or so odd, that the bound does not hold.
    #[inline(always)]
    fn new(n: f32, max_abs_tanh: f32) -> Option<Self> {
        let usual = (1e-30..=1.0).contains(&max_abs_tanh);
        usual.then(|| Self { n, gain: n / (2.0 * max_abs_tanh), reach: 0.5 - n * Self::TOLERANCE })
    }

    /// The code, and whether it is certain.
    #[inline(always)]
    fn code(self, w: f32) -> (f32, bool) {
        let z = w * w;
        let above = (((z * (1.0 / 69_615.0 / 495.0) + 2.0 / 69_615.0) * z + 1.0 / 255.0) * z + 7.0 / 51.0) * z + 1.0;
        let below = (((z * (1.0 / 765_765.0) + 4.0 / 9_945.0) * z + 7.0 / 255.0) * z + 8.0 / 17.0) * z + 1.0;
        let scaled = (w * above) * self.gain / below + 0.5 * self.n;
        let scaled = if scaled > 0.0 { scaled } else { 0.0 };
        let scaled = if scaled < self.n { scaled } else { self.n };
        let code = scaled.round_ties_even();
        // NaN is in no range. Zeros lie between two codes, but both ways have the same numbers for them.
        (code, w.abs() <= 4.0 && (scaled - code).abs() <= self.reach || w == 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantizers::dorefa::levels;
    use crate::tanh::tanh;

    const STRIDE: usize = if cfg!(debug_assertions) { 2039 } else { 31 };

    /// The tolerance is for every number; this looks at some of each size.
    #[test]
    fn a_certain_code_is_the_exact_one() {
        for (bits, largest) in [(2, 4.0_f32), (4, 0.7), (8, 0.05), (8, 1.0), (8, 4.0)] {
            let (n, max_abs_tanh) = (levels(bits), tanh(largest));
            let estimate = Estimate::new(n, max_abs_tanh).unwrap();
            for magnitude in (0.0_f32.to_bits()..=4.5_f32.to_bits()).step_by(STRIDE) {
                for w in [f32::from_bits(magnitude), -f32::from_bits(magnitude)] {
                    let (code, is_certain) = estimate.code(w);
                    let exact = weight_code(n, max_abs_tanh, w);
                    assert!(!is_certain || code.to_bits() == exact.to_bits(), "{bits} bits, {largest}: {w:e}");
                }
            }
        }
    }

    #[test]
    fn nearly_every_code_of_usual_weights_is_certain() {
        for bits in 2..=8 {
            for largest in [0.01_f32, 0.3, 1.0, 4.0] {
                let estimate = Estimate::new(levels(bits), tanh(largest)).unwrap();
                let weights = (-5000..=5000_i16).map(|i| f32::from(i) / 5000.0 * largest);
                let open = weights.filter(|w| !estimate.code(*w).1).count();
                // Of each step 2·255·2^-20 are open, which is 5 of 10,001 for 8 bits.
                assert!(open <= 20, "{bits} bits, {largest}: {open} of 10,001 are open");
            }
        }
    }

    #[test]
    fn both_ways_have_the_same_bits() {
        let mut data: Vec<f32> = (0..40_000_u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9))).collect();
        data.extend((0..40_000_u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9) & 0x83ff_ffff | 0x3c00_0000)));
        for max_abs_tanh in [0.0, 1e-40, 1e-30, 0.01, 0.9, 1.0, 3.0, f32::INFINITY, f32::NAN, -0.5] {
            for bits in 2..=8 {
                let n = levels(bits);
                let mut codes = vec![f32::NAN; data.len()];
                weight_codes(n, max_abs_tanh, &data, &mut codes, |code| code);
                for (w, code) in data.iter().zip(&codes) {
                    let exact = weight_code(n, max_abs_tanh, *w);
                    assert_eq!(code.to_bits(), exact.to_bits(), "{bits} bits, {max_abs_tanh:e}: {w:e}");
                }
            }
        }
    }
}
