//! The mean absolute value, exact until its very last rounding.

use rayon::prelude::*;

use crate::WeightData;
use crate::simd::chunks;

/// `Σ|w|` as one integer per exponent: no addition rounds, so neither the order of the elements nor their grouping into
/// chunks can be seen in the result.
pub(crate) struct AbsSum {
    /// Sums of mantissas; 2^40 elements of 24 bits fit.
    mantissas: [u64; 256],
}

impl AbsSum {
    /// Of finite `data`.
    pub(crate) fn of<D: WeightData + ?Sized>(data: &D) -> Self {
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
    pub(crate) fn mean(&self, len: usize) -> f32 {
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
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 elements")]
        let mean = sum / len as f64;
        #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
        let mean = mean as f32;
        mean
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
    fn small_sums_are_exact() {
        let mean = |data: &[f32]| AbsSum::of(data).mean(data.len());
        assert_eq!(mean(&[-3.0, 0.0, -0.0, 1.0]).to_bits(), 1.0_f32.to_bits());
        assert_eq!(mean(&[f32::MAX, f32::MAX, -f32::MAX]).to_bits(), f32::MAX.to_bits());
        let tiny = f32::from_bits(6);
        assert_eq!(mean(&[tiny, -tiny]).to_bits(), tiny.to_bits());
        let subnormal = f32::from_bits(f32::MIN_POSITIVE.to_bits() / 2);
        assert_eq!(mean(&[f32::MIN_POSITIVE, 0.0]).to_bits(), subnormal.to_bits());
    }
}
