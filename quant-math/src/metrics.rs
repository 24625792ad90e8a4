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
        let mut lanes = Lanes::default();
        lanes.add(reference, values);
        self.merge(&lanes.sums());
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
}

/// The sums of a chunk that is still being added to.
///
/// The lanes are in two halves: the sums of one fit into 16 vector registers of 4 float64.
#[derive(Default)]
pub(crate) struct Lanes {
    count: u64,
    halves: [Sums; 2],
}

impl Lanes {
    /// Elements that are added at a time, a multiple of [`LANES`]: few enough that they stay in the nearest cache, and that a CPU works
    /// on the values of a piece and on the sums of the one before side by side.
    const PIECE: usize = 256;

    /// Add a part of the chunk, as far as both slices reach. Every part but the last is a multiple of [`LANES`].
    pub(crate) fn add(&mut self, reference: &[f32], values: &[f32]) {
        let len = reference.len().min(values.len());
        let (x, x_rest) = reference.get(..len).unwrap_or_default().as_chunks::<{ Self::PIECE }>();
        let (y, y_rest) = values.get(..len).unwrap_or_default().as_chunks();
        simd::run_fused(
            #[inline(always)]
            |fused| {
                for (x, y) in x.iter().zip(y) {
                    self.add_piece(fused, x, y);
                }
                self.add_rest(fused, x_rest, y_rest);
            },
        );
        self.count += len as u64;
    }

    /// [`add`](Self::add) with the values that `make(position, x, y)` puts into `y` for the elements `x`, which start at `position` of
    /// `reference`; `y` may have room for more. `keep(position, y)` gets them, too.
    #[inline(always)]
    pub(crate) fn add_made(
        &mut self,
        reference: &[f32],
        make: impl Fn(usize, &[f32], &mut [f32]),
        keep: &mut dyn FnMut(usize, &[f32]),
    ) {
        let (pieces, rest) = reference.as_chunks::<{ Self::PIECE }>();
        simd::run_fused(
            #[inline(always)]
            |fused| {
                let mut values = [0.0; Self::PIECE];
                for (number, x) in pieces.iter().enumerate() {
                    make(number * Self::PIECE, x, &mut values);
                    self.add_piece(fused, x, &values);
                    keep(number * Self::PIECE, &values);
                }
                let position = reference.len() - rest.len();
                make(position, rest, &mut values);
                self.add_rest(fused, rest, &values);
                keep(position, values.get(..rest.len()).unwrap_or_default());
            },
        );
        self.count += reference.len() as u64;
    }

    #[inline(always)]
    fn add_piece(&mut self, fused: bool, reference: &[f32; Self::PIECE], values: &[f32; Self::PIECE]) {
        self.add_blocks(fused, blocks(reference), blocks(values));
    }

    /// Zeros fill the last block: they change no sum.
    #[inline(always)]
    fn add_rest(&mut self, fused: bool, reference: &[f32], values: &[f32]) {
        for (x, y) in reference.chunks(LANES).zip(values.chunks(LANES)) {
            self.add_blocks(fused, &[padded(x)], &[padded(y.get(..x.len()).unwrap_or_default())]);
        }
    }

    #[inline(always)]
    fn add_blocks(&mut self, fused: bool, reference: &[Block], values: &[Block]) {
        let [low, high] = &mut self.halves;
        low.add(fused, reference, values, |[low, _]| low);
        high.add(fused, reference, values, |[_, high]| high);
    }

    /// The sums of all lanes, in their order.
    pub(crate) fn sums(&self) -> MetricsAccumulator {
        let sum = |of: fn(&Sums) -> &Half| self.halves.iter().flat_map(of).sum();
        let max_squares = self.halves.iter().flat_map(|sums| &sums.max_square);
        MetricsAccumulator {
            count: self.count,
            signal: sum(|sums| &sums.signal),
            noise: sum(|sums| &sums.noise),
            values: sum(|sums| &sums.values),
            product: sum(|sums| &sums.product),
            max_error: max_squares.fold(0.0, |a, b| larger(a, *b)).sqrt(),
        }
    }
}

/// One element for each lane, in halves.
type Block = [[f32; LANES / 2]; 2];
type Half = [f64; LANES / 2];

/// The sums of half of the lanes.
#[derive(Default, Clone, Copy)]
struct Sums {
    signal: Half,
    noise: Half,
    values: Half,
    product: Half,
    /// Of the squares of the errors. The root of the square of a float64 is that number to the bit, where the square neither overflows
    /// nor underflows (Boldo 2015, "Stupid is as stupid does"): differences of float32 are far from both.
    max_square: Half,
}

impl Sums {
    /// Add one half of each block. Where `fused`, exact products are added in one operation, which rounds once, as the addition alone
    /// does: those of float32 are exact, the square of a difference is not.
    #[inline(always)]
    fn add(&mut self, fused: bool, x: &[Block], y: &[Block], half: impl Fn(&Block) -> &[f32; LANES / 2]) {
        let add_product = |sum: &mut f64, a: f64, b: f64| *sum = if fused { a.mul_add(b, *sum) } else { *sum + a * b };
        // A copy, which the compiler keeps in registers.
        let Self { mut signal, mut noise, mut values, mut product, mut max_square } = *self;
        for (x, y) in x.iter().zip(y) {
            let sums = signal.iter_mut().zip(&mut noise).zip(&mut values).zip(&mut product).zip(&mut max_square);
            for ((((((signal, noise), values), product), max_square), x), y) in sums.zip(half(x)).zip(half(y)) {
                let (x, y) = (f64::from(*x), f64::from(*y));
                add_product(signal, x, x);
                add_product(values, y, y);
                add_product(product, x, y);
                let square = (x - y) * (x - y);
                *noise += square;
                *max_square = larger(*max_square, square);
            }
        }
        *self = Self { signal, noise, values, product, max_square };
    }
}

#[inline(always)]
fn blocks(elements: &[f32]) -> &[Block] {
    elements.as_chunks().0.as_chunks().0
}

fn padded(rest: &[f32]) -> Block {
    let mut block = Block::default();
    block.as_flattened_mut().iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    block
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

    /// One operation after another, in the order that the sums are defined in.
    fn plain(x: &[f32], y: &[f32]) -> MetricsAccumulator {
        let mut lanes = [[0.0_f64; 5]; LANES];
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            let (x, y) = (f64::from(*x), f64::from(*y));
            let [signal, noise, values, product, max_error] = &mut lanes[i % LANES];
            *signal += x * x;
            *noise += (x - y) * (x - y);
            *values += y * y;
            *product += x * y;
            *max_error = larger(*max_error, (x - y).abs());
        }
        let sum = |of: usize| lanes.iter().map(|lane| lane[of]).sum();
        MetricsAccumulator {
            count: x.len() as u64,
            signal: sum(0),
            noise: sum(1),
            values: sum(2),
            product: sum(3),
            max_error: lanes.iter().fold(0.0, |max, lane| larger(max, lane[4])),
        }
    }

    #[test]
    fn sums_have_the_bits_of_their_definition() {
        let number = |i: u32| match i % 11 {
            0 => f32::MAX,
            1 => -f32::from_bits(i),
            2 => -0.0,
            3 => f32::MIN_POSITIVE,
            // Every exponent, of either sign.
            _ => f32::from_bits(i.wrapping_mul(0x9e37_79b9)),
        };
        let finite: Vec<f32> = (0..900).map(number).filter(|x| x.is_finite()).collect();
        let moderate: Vec<f32> =
            finite.iter().map(|x| f32::from_bits(x.to_bits() & 0x83ff_ffff | 0x3c00_0000)).collect();
        let values: Vec<f32> = moderate.iter().map(|x| (x * 64.0).round_ties_even() / 64.0).collect();
        let reversed: Vec<f32> = finite.iter().rev().copied().collect();
        for (x, y) in [(&finite, &reversed), (&finite, &moderate), (&moderate, &values)] {
            for len in (0..2 * LANES).chain((2 * LANES..x.len()).step_by(37)).chain([512, 528]) {
                let expected = plain(&x[..len], &y[..len]);
                for width in Width::all() {
                    let mut found = MetricsAccumulator::default();
                    with(width, || found.update(&x[..len], &y[..len]));
                    assert_eq!(found, expected, "{width:?}, {len} elements");
                }
            }
        }
        let mut odd = MetricsAccumulator::default();
        odd.update(&[1.0, f32::NAN, f32::INFINITY], &[1.5, 0.0, 0.0]);
        assert!(odd.noise.is_nan() && odd.max_error.is_infinite(), "NaN is no largest error: {odd:?}");
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
