//! The sums behind the moments.

use rayon::prelude::*;

use super::{Inputs, LayerMoments, single};
use crate::{MathError, simd};

/// Rows that are worked on together: with a block of inputs they fit into the second cache.
const ROWS: usize = 64;
/// Rows and columns of the square of products that is kept in registers.
const HIGH: usize = 4;
const WIDE: usize = 8;
/// Rows of products that a thread takes at a time.
const STRIPE: usize = 16 * HIGH;

/// `Σx` and `Σx·xᵀ` over rows `x`, in float64.
#[derive(Debug, Clone)]
pub struct Gram {
    inputs: Inputs,
    rows: u64,
    sums: Vec<f64>,
    /// Of each group and block: a square, its rows as long as [`padded`] says. Above the diagonal stands nothing of use.
    squares: Vec<Vec<f64>>,
}

/// A length in whole registers.
fn padded(side: usize) -> usize {
    side.next_multiple_of(WIDE)
}

impl Gram {
    /// Nothing seen of a layer with these inputs.
    pub fn new(inputs: Inputs) -> Self {
        let squares = (0..inputs.groups).flat_map(|_| inputs.blocks());
        let squares = squares.map(|block| vec![0.0; block.len() * padded(block.len())]).collect();
        Self { inputs, rows: 0, sums: vec![0.0; inputs.len()], squares }
    }

    /// Bytes that one of a layer with these inputs takes.
    pub fn held(inputs: Inputs) -> u64 {
        let squares = inputs.over_blocks(|side| side.saturating_mul(padded(side)));
        let numbers = squares.saturating_add(inputs.inputs).saturating_mul(inputs.groups);
        numbers.saturating_mul(size_of::<f64>()) as u64
    }

    /// The layer's inputs.
    pub fn inputs(&self) -> Inputs {
        self.inputs
    }

    /// The rows that were seen.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Add rows, each the inputs of all groups one after another. Parallel.
    ///
    /// # Errors
    /// [`MathError::Layout`] for a length that is no number of rows, [`MathError::NonFinite`] with the first NaN or infinity. Nothing is added then.
    pub fn add(&mut self, rows: &[f32]) -> Result<(), MathError> {
        let width = self.inputs.len();
        let count = rows.len().checked_div(width).unwrap_or(0);
        if count * width != rows.len() {
            return Err(MathError::Layout { expected: (count + 1) * width, found: rows.len() });
        }
        if let Some((index, value)) = rows.iter().enumerate().find(|(_, x)| !x.is_finite()) {
            return Err(MathError::NonFinite { index, value: f64::from(*value) });
        }
        for slab in rows.chunks(ROWS * width.max(1)) {
            self.add_slab(slab);
        }
        self.rows += count as u64;
        Ok(())
    }

    fn add_slab(&mut self, slab: &[f32]) {
        let Inputs { groups, inputs } = self.inputs;
        let width = self.inputs.len();
        for row in slab.chunks_exact(width) {
            self.sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let blocks = (0..groups).flat_map(|group| self.inputs.blocks().map(move |block| (group * inputs, block)));
        let work: Vec<_> = blocks.zip(&mut self.squares).collect();
        work.into_par_iter().for_each(|((first, block), square)| {
            let side = padded(block.len());
            let mut columns = vec![0.0; slab.len() / width * side];
            for (row, wide) in slab.chunks_exact(width).zip(columns.chunks_exact_mut(side)) {
                let own = row.get(first + block.start..first + block.end).unwrap_or_default();
                wide.iter_mut().zip(own).for_each(|(wide, x)| *wide = f64::from(*x));
            }
            let stripes = square.par_chunks_mut(STRIPE * side).enumerate();
            stripes.for_each(|(stripe, products)| {
                simd::run(
                    #[inline(always)]
                    || add_stripe(stripe * STRIPE, side, &columns, products),
                );
            });
        });
    }

    /// The means over all rows. `None` where none was seen, or a mean is beyond float32.
    pub fn moments(&self) -> Option<LayerMoments> {
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 rows the last ones do not count")]
        let rows = self.rows as f64;
        let mean = self.sums.iter().map(|sum| single(sum / rows)).collect();
        let mut second = Vec::with_capacity(self.inputs.groups * self.inputs.products());
        let blocks = (0..self.inputs.groups).flat_map(|_| self.inputs.blocks());
        for (block, square) in blocks.zip(&self.squares) {
            for (row, products) in square.chunks_exact(padded(block.len())).enumerate() {
                second.extend(products.iter().take(row + 1).map(|sum| single(sum / rows)));
            }
        }
        LayerMoments::new(self.inputs, self.rows, mean, second)
    }
}

/// Add to rows `first..` of a square, `side` long each, the products of `columns`, rows of that length.
#[inline(always)]
fn add_stripe(first: usize, side: usize, columns: &[f64], products: &mut [f64]) {
    for (high, rows) in products.chunks_mut(HIGH * side).enumerate() {
        let high = first + high * HIGH;
        // Whole registers, up to the diagonal.
        for wide in (0..side).step_by(WIDE).take_while(|wide| *wide < high + HIGH) {
            let mut sums = [[0.0; WIDE]; HIGH];
            for (sums, row) in sums.iter_mut().zip(rows.chunks_exact(side)) {
                if let Some(own) = row.get(wide..).and_then(<[f64]>::first_chunk) {
                    *sums = *own;
                }
            }
            for x in columns.chunks_exact(side) {
                let (left, right) = (x.get(high..), x.get(wide..));
                let left = left.and_then(<[f64]>::first_chunk::<HIGH>);
                let (Some(left), Some(right)) = (left, right.and_then(<[f64]>::first_chunk::<WIDE>)) else { break };
                for (sums, a) in sums.iter_mut().zip(left) {
                    for (sum, b) in sums.iter_mut().zip(right) {
                        *sum += *a * *b;
                    }
                }
            }
            for (sums, row) in sums.iter().zip(rows.chunks_exact_mut(side)) {
                if let Some(own) = row.get_mut(wide..).and_then(<[f64]>::first_chunk_mut) {
                    *own = *sums;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::width::{Width, with};

    /// Numbers of float32 that need all of their bits, and differ.
    fn rows(count: usize, width: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(0x3f80_0000 | state >> 9) - 1.4
        };
        (0..count * width).map(|_| next()).collect()
    }

    #[test]
    fn sums_are_those_of_the_definition_bit_for_bit_in_batches_of_any_size() {
        for (groups, inputs) in [(1, 1), (1, 5), (3, 9), (1, 67), (2, 130), (1, LARGE)] {
            let inputs = Inputs { groups, inputs };
            let data = rows(150, inputs.len());
            let mut whole = Gram::new(inputs);
            whole.add(&data).unwrap();
            let moments = whole.moments().unwrap();
            for width in Width::all() {
                let mut parts = Gram::new(inputs);
                with(width, || {
                    for part in data.chunks(inputs.len() * 37) {
                        parts.add(part).unwrap();
                    }
                });
                assert_eq!(parts.moments().unwrap(), moments, "{inputs:?} {width:?}");
            }
            let mut expected = Vec::new();
            for group in 0..groups {
                for block in inputs.blocks() {
                    for i in block.clone() {
                        for j in block.start..=i {
                            let at = |row: &[f32], k: usize| f64::from(row[group * inputs.inputs + k]);
                            let products = data.chunks(inputs.len()).map(|row| at(row, i) * at(row, j));
                            expected.push(single(products.fold(0.0, |sum, product| sum + product) / 150.0));
                        }
                    }
                }
            }
            assert_eq!(moments.second(), expected, "{inputs:?}");
            assert_eq!(moments.rows(), 150);
        }
    }

    /// More than one block.
    const LARGE: usize = super::super::LARGEST_BLOCK + 20;

    #[test]
    fn what_is_no_row_is_refused_and_leaves_nothing_behind() {
        let mut gram = Gram::new(Inputs { groups: 1, inputs: 2 });
        assert_eq!(gram.add(&[1.0, 2.0, 3.0]), Err(MathError::Layout { expected: 4, found: 3 }));
        let error = gram.add(&[1.0, 2.0, 3.0, f32::INFINITY]);
        assert_eq!(error, Err(MathError::NonFinite { index: 3, value: f64::INFINITY }));
        assert_eq!(gram.moments(), None);
        gram.add(&[1.0, 2.0, 3.0, 0.0]).unwrap();
        let moments = gram.moments().unwrap();
        assert_eq!((moments.mean(), moments.second()), (&[2.0, 1.0][..], &[5.0, 1.0, 2.0][..]));
    }

    #[test]
    fn memory_is_told_before_it_is_taken() {
        let inputs = Inputs { groups: 3, inputs: 70 };
        let gram = Gram::new(inputs);
        let held = (gram.sums.len() + gram.squares.iter().map(Vec::len).sum::<usize>()) * 8;
        assert_eq!(Gram::held(inputs), held as u64);
        assert_eq!(Gram::held(Inputs { groups: usize::MAX, inputs: usize::MAX }), usize::MAX as u64);
    }
}
