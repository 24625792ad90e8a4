//! The mean absolute value, exact until its very last roundings.

use rayon::prelude::*;

use crate::WeightData;
use crate::simd::{self, CHUNK, chunks};

/// `Σ|w| / len` of finite `data`: the bits of [`AbsSum::mean`], whichever way they are found.
pub(crate) fn mean_abs<D: WeightData + ?Sized>(data: &D) -> f32 {
    quick_mean(data).unwrap_or_else(|| AbsSum::of(data).mean(data.len()))
}

/// Sums that are kept side by side.
const LANES: usize = 16;

/// [`AbsSum::mean`] from sums that round, where every sum that [`AbsSum`] may have found gives the same mean.
///
/// A sum of numbers that are not negative is off by at most a factor `(1 ± 2^-53)^depth`, where no number takes part in more than
/// `depth` additions: here those in a lane, of the lanes and of the chunks, in any order; in [`AbsSum::mean`] one for each of 256
/// exponents and a conversion. Twice both, which is more than the rounding of the ends themselves, are the ends between which the
/// exact way's sum lies; dividing and rounding keep the order of the ends.
fn quick_mean<D: WeightData + ?Sized>(data: &D) -> Option<f32> {
    let sum: f64 = chunks(data.len()).map(|span| rounded_sum(&data.chunk(span))).sum();
    #[expect(clippy::cast_precision_loss, reason = "float64 has the bits to spare that a bound needs")]
    let depth = (CHUNK / LANES + LANES + data.len() / CHUNK + 512) as f64;
    let bound = depth * f64::EPSILON;
    let [low, high] = [sum * (1.0 - bound), sum * (1.0 + bound)].map(|sum| mean(sum, data.len()));
    (low.to_bits() == high.to_bits()).then_some(low)
}

fn rounded_sum(chunk: &[f32]) -> f64 {
    simd::run(
        #[inline(always)]
        || {
            let (blocks, rest) = chunk.as_chunks::<LANES>();
            let mut lanes = [0.0; LANES];
            for block in blocks {
                lanes.iter_mut().zip(block).for_each(|(sum, x)| *sum += f64::from(x.abs()));
            }
            lanes.iter_mut().zip(rest).for_each(|(sum, x)| *sum += f64::from(x.abs()));
            lanes.iter().sum()
        },
    )
}

/// In float64, rounded to float32.
fn mean(sum: f64, len: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 elements")]
    let mean = sum / len as f64;
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
    let mean = mean as f32;
    mean
}

/// `Σ|w|` as one integer per exponent: no addition rounds, so neither the order of the elements nor their grouping into
/// chunks can be seen in the result.
struct AbsSum {
    /// Sums of mantissas; 2^40 elements of 24 bits fit.
    mantissas: [u64; 256],
}

impl AbsSum {
    /// Of finite `data`.
    fn of<D: WeightData + ?Sized>(data: &D) -> Self {
        let zero = || Self { mantissas: [0; 256] };
        chunks(data.len()).fold(zero, |sum, span| sum.add(&data.chunk(span))).reduce(zero, |a, b| a.merge(&b))
    }

    fn add(mut self, chunk: &[f32]) -> Self {
        for x in chunk {
            let bits = x.to_bits();
            let [exponent, _] = ((bits >> 23) as u16).to_le_bytes();
            let mantissa = (bits & 0x7f_ffff) | (u32::from(exponent > 0) << 23);
            if let Some(sum) = self.mantissas.get_mut(usize::from(exponent)) {
                *sum += u64::from(mantissa);
            }
        }
        self
    }

    fn merge(mut self, other: &Self) -> Self {
        self.mantissas.iter_mut().zip(other.mantissas).for_each(|(a, b)| *a += b);
        self
    }

    /// The mean of `len` elements: float64, from the smallest exponent up, then rounded to float32.
    fn mean(&self, len: usize) -> f32 {
        let mut unit = f64::from(f32::from_bits(1));
        let mut sum = 0.0;
        for (exponent, mantissas) in self.mantissas.iter().enumerate() {
            // Subnormal numbers and those of exponent 1 share a unit.
            if exponent > 1 {
                unit *= 2.0;
            }
            #[expect(clippy::cast_precision_loss, reason = "float64 from here on, in a fixed order")]
            let mantissas = *mantissas as f64;
            sum += mantissas * unit;
        }
        mean(sum, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_does_not_depend_on_order() {
        let mut data: Vec<f32> = (0..200_000_u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9) >> 1)).collect();
        data.retain(|x| x.is_finite());
        let forward = AbsSum::of(&data[..]).mean(data.len());
        data.reverse();
        assert_eq!(AbsSum::of(&data[..]).mean(data.len()).to_bits(), forward.to_bits());
    }

    #[test]
    fn both_ways_have_the_same_bits() {
        let float = |i: u32| f32::from_bits(i.wrapping_mul(0x9e37_79b9));
        let any = |i| if float(i).is_finite() { float(i) } else { f32::MAX };
        // The exponents that weights have, then all, then subnormal numbers.
        let kinds: [fn(u32) -> u32; 3] =
            [|bits| bits & 0x83ff_ffff | 0x3800_0000, |bits| bits, |bits| bits & 0x807f_ffff];
        let mut quick = 0;
        for kind in kinds {
            for len in (1..100).chain([4095, 65_536, 65_553, 300_001]) {
                let data: Vec<f32> = (0..len).map(|i| f32::from_bits(kind(any(i + len).to_bits()))).collect();
                let expected = AbsSum::of(&data[..]).mean(data.len());
                assert_eq!(mean_abs(&data[..]).to_bits(), expected.to_bits(), "{len}");
                quick += usize::from(quick_mean(&data[..]).is_some());
            }
        }
        assert!(quick > 200, "{quick} of 309 the quick way");
    }

    #[test]
    fn a_mean_between_two_floats_is_found_the_exact_way() {
        let data = [1.0, 1.0 + f32::EPSILON];
        assert_eq!(quick_mean(&data[..]), None);
        assert_eq!(mean_abs(&data[..]).to_bits(), 1.0_f32.to_bits());
    }

    #[test]
    fn small_sums_are_exact() {
        let mean = |data: &[f32]| mean_abs(data);
        assert_eq!(mean(&[-3.0, 0.0, -0.0, 1.0]).to_bits(), 1.0_f32.to_bits());
        assert_eq!(mean(&[f32::MAX, f32::MAX, -f32::MAX]).to_bits(), f32::MAX.to_bits());
        let tiny = f32::from_bits(6);
        assert_eq!(mean(&[tiny, -tiny]).to_bits(), tiny.to_bits());
        let subnormal = f32::from_bits(f32::MIN_POSITIVE.to_bits() / 2);
        assert_eq!(mean(&[f32::MIN_POSITIVE, 0.0]).to_bits(), subnormal.to_bits());
    }
}
