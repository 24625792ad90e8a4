//! How far quantized values are from the float ones.

use serde::{Deserialize, Serialize};

use crate::simd;

/// Error of `values` against `reference`, accumulated in float64 in a fixed order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Signal-to-quantization-noise ratio in dB, `10 · log10(Σ x² / Σ (x − y)²)`. `None`: no error at all.
    pub sqnr_db: Option<f64>,
    /// Largest absolute difference.
    pub max_error: f64,
    /// Cosine of the angle between both, 1 where both are all zero.
    pub cosine: f64,
    /// Mean squared error.
    pub mse: f64,
}

impl Metrics {
    /// Of two slices, as far as both reach.
    pub fn of(reference: &[f32], values: &[f32]) -> Self {
        let mut sums = MetricsAccumulator::default();
        for (reference, values) in reference.chunks(simd::CHUNK).zip(values.chunks(simd::CHUNK)) {
            sums.update(reference, values);
        }
        sums.finish()
    }
}

/// Sums that are kept side by side, so that a vector register holds some of them and their order is the same at every width.
const LANES: usize = 16;

/// The sums behind [`Metrics`].
///
/// The result is a function of the sequence of `update` and `merge` calls alone: to have the same bits at every number of
/// threads, make one accumulator for each chunk of a fixed size and merge them in the order of the chunks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MetricsAccumulator {
    count: u64,
    signal: f64,
    noise: f64,
    values: f64,
    product: f64,
    max_error: f64,
}

impl MetricsAccumulator {
    /// Add the elements of a chunk, as far as both slices reach.
    pub fn update(&mut self, reference: &[f32], values: &[f32]) {
        let chunk = simd::run(
            #[inline(always)]
            || Self::of(reference, values),
        );
        self.merge(&chunk);
    }

    /// Add everything that `other` has seen, as if it came after what `self` has seen.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.signal += other.signal;
        self.noise += other.noise;
        self.values += other.values;
        self.product += other.product;
        self.max_error = larger(self.max_error, other.max_error);
    }

    /// The metrics of everything that was added. Of nothing: no error.
    pub fn finish(&self) -> Metrics {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 elements")]
        let count = self.count.max(1) as f64;
        let norms = self.signal.sqrt() * self.values.sqrt();
        let both_zero = self.signal <= 0.0 && self.values <= 0.0;
        Metrics {
            sqnr_db: (self.noise > 0.0).then(|| 10.0 * (self.signal / self.noise).log10()),
            max_error: self.max_error,
            cosine: match norms {
                _ if both_zero => 1.0,
                // One of them is zero: it has no direction.
                norms if norms <= 0.0 => 0.0,
                norms => (self.product / norms).clamp(-1.0, 1.0),
            },
            mse: self.noise / count,
        }
    }

    #[inline(always)]
    fn of(reference: &[f32], values: &[f32]) -> Self {
        let len = reference.len().min(values.len());
        let (blocks, rest) = reference.get(..len).unwrap_or_default().as_chunks::<LANES>();
        let (value_blocks, value_rest) = values.get(..len).unwrap_or_default().as_chunks::<LANES>();
        let mut lanes = [[0.0; LANES]; 5];
        for (x, y) in blocks.iter().zip(value_blocks) {
            add(&mut lanes, x, y);
        }
        // Zeros change no sum.
        let (mut x, mut y) = ([0.0; LANES], [0.0; LANES]);
        x.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        y.iter_mut().zip(value_rest).for_each(|(to, from)| *to = *from);
        add(&mut lanes, &x, &y);
        let [signal, noise, values, product, max_error] = lanes;
        Self {
            count: len as u64,
            signal: signal.iter().sum(),
            noise: noise.iter().sum(),
            values: values.iter().sum(),
            product: product.iter().sum(),
            max_error: max_error.iter().fold(0.0, |a, b| larger(a, *b)),
        }
    }
}

#[inline(always)]
fn add(lanes: &mut [[f64; LANES]; 5], x: &[f32; LANES], y: &[f32; LANES]) {
    let [signal, noise, values, product, max_error] = lanes;
    let sums = signal.iter_mut().zip(noise).zip(values).zip(product).zip(max_error);
    for ((((((signal, noise), values), product), max_error), x), y) in sums.zip(x).zip(y) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        let error = x - y;
        *signal += x * x;
        *noise += error * error;
        *values += y * y;
        *product += x * y;
        *max_error = larger(*max_error, error.abs());
    }
}

#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::width::{Width, with};

    fn ramp(len: u16, step: f32) -> Vec<f32> {
        (0..len).map(|i| (f32::from(i) - 40.0) * step).collect()
    }

    #[test]
    fn small_cases_by_hand() {
        let metrics = Metrics::of(&[3.0, 4.0, 0.0], &[3.0, 4.0, 1.0]);
        // Σ x² = 25, Σ (x − y)² = 1, Σ y² = 26, Σ xy = 25.
        assert_eq!(metrics.max_error.to_bits(), 1.0_f64.to_bits());
        approx::assert_relative_eq!(metrics.sqnr_db.unwrap(), 10.0 * 25.0_f64.log10(), max_relative = 4e-16);
        approx::assert_relative_eq!(metrics.cosine, 25.0 / (5.0 * 26.0_f64.sqrt()), max_relative = 4e-16);
        approx::assert_relative_eq!(metrics.mse, 1.0 / 3.0, max_relative = 4e-16);
    }

    #[test]
    fn no_error_and_no_direction() {
        let nothing = Metrics::of(&[], &[]);
        assert_eq!(nothing, Metrics { sqnr_db: None, max_error: 0.0, cosine: 1.0, mse: 0.0 });
        assert_eq!(Metrics::of(&[0.0; 20], &[0.0; 20]), nothing);
        let same = Metrics::of(&[1.0, -2.0], &[1.0, -2.0]);
        assert_eq!((same.sqnr_db, same.mse), (None, 0.0));
        approx::assert_relative_eq!(same.cosine, 1.0, max_relative = 4e-16);
        let lost = Metrics::of(&[1.0, -2.0], &[0.0, 0.0]);
        assert_eq!((lost.sqnr_db, lost.cosine), (Some(0.0), 0.0));
    }

    #[test]
    fn largest_floats_do_not_overflow() {
        let metrics = Metrics::of(&[f32::MAX; 40], &[f32::MIN; 40]);
        assert!(metrics.sqnr_db.unwrap().is_finite() && metrics.mse.is_finite());
        approx::assert_relative_eq!(metrics.cosine, -1.0, max_relative = 4e-16);
    }

    #[test]
    fn merge_is_the_whole_and_every_width_agrees() {
        for len in 0..70 {
            let (x, y) = (ramp(len, 0.37), ramp(len, 0.36));
            let mut expected = MetricsAccumulator::default();
            expected.update(&x, &y);
            expected.update(&y, &x);
            for width in Width::all() {
                let parts = with(width, || {
                    let mut parts = [MetricsAccumulator::default(); 2];
                    parts[0].update(&x, &y);
                    parts[1].update(&y, &x);
                    parts
                });
                let mut merged = MetricsAccumulator::default();
                for part in &parts {
                    merged.merge(part);
                }
                assert_eq!(merged, expected, "{width:?}, {len} elements");
            }
        }
    }
}
