//! What differs between two models, tensor by tensor.

use serde::{Deserialize, Serialize};

use crate::WeightData;
use crate::metrics::{Metrics, MetricsAccumulator};
use crate::weights::CHUNK;

/// Distinct values are counted up to here; a float tensor has more than any grid of 16 bits.
pub const MAX_LEVELS: usize = 65_536;

/// What `diff` finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Tensors whose values differ, in the order of the first model.
    pub tensors: Vec<TensorDifference>,
    /// Tensors that are the same in both.
    pub same: usize,
    /// Ops and tensors that only the first has, in its order.
    pub only_in_first: Vec<String>,
    /// Ops and tensors that only the second has, in its order.
    pub only_in_second: Vec<String>,
    /// Ops that both have and whose inputs, type or attributes differ.
    pub changed: Vec<String>,
    /// Bytes of the first file.
    pub bytes_first: u64,
    /// Bytes of the second file.
    pub bytes_second: u64,
}

impl Difference {
    /// Nothing, so far, of two files so long.
    pub fn between(bytes_first: u64, bytes_second: u64) -> Self {
        let (only_in_first, only_in_second, changed) = (Vec::new(), Vec::new(), Vec::new());
        Self { tensors: Vec::new(), same: 0, only_in_first, only_in_second, changed, bytes_first, bytes_second }
    }

    /// Compare two tensors of the same shape, and note what was found.
    pub fn hold(
        &mut self,
        tensor: &str,
        shape: &[u64],
        first: &(impl WeightData + ?Sized),
        second: &(impl WeightData + ?Sized),
    ) {
        match compare(tensor, shape, first, second) {
            Some(difference) => self.tensors.push(difference),
            None => self.same += 1,
        }
    }
}

/// One tensor in both models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorDifference {
    /// Its name.
    pub tensor: String,
    /// Its shape; the same in both.
    pub shape: Vec<u64>,
    /// Elements.
    pub elements: u64,
    /// Elements with different values.
    pub differing: u64,
    /// Distinct values in the first; `None`: more than [`MAX_LEVELS`].
    pub levels_first: Option<usize>,
    /// Distinct values in the second.
    pub levels_second: Option<usize>,
    /// The second against the first.
    pub metrics: Metrics,
}

/// Compare two tensors of the same shape; `None` where all values are equal.
pub fn compare(
    tensor: &str,
    shape: &[u64],
    first: &(impl WeightData + ?Sized),
    second: &(impl WeightData + ?Sized),
) -> Option<TensorDifference> {
    let len = first.len().min(second.len());
    let mut sums = MetricsAccumulator::default();
    let mut differing = 0;
    let (mut levels_first, mut levels_second) = (Levels::default(), Levels::default());
    for start in (0..len).step_by(CHUNK) {
        let span = start..len.min(start + CHUNK);
        let (a, b) = (first.chunk(span.clone()), second.chunk(span));
        differing += a.iter().zip(b.iter()).filter(|(a, b)| bits(**a) != bits(**b)).count() as u64;
        sums.update(&a, &b);
        levels_first.add(&a);
        levels_second.add(&b);
    }
    (differing > 0).then(|| TensorDifference {
        tensor: tensor.to_owned(),
        shape: shape.to_vec(),
        elements: len as u64,
        differing,
        levels_first: levels_first.count(),
        levels_second: levels_second.count(),
        metrics: sums.finish(),
    })
}

/// The bit pattern; both zeros are one value.
fn bits(x: f32) -> u32 {
    (x + 0.0).to_bits()
}

/// The distinct values seen, sorted; given up when there are too many.
#[derive(Default)]
struct Levels {
    seen: Vec<u32>,
    too_many: bool,
}

impl Levels {
    fn add(&mut self, chunk: &[f32]) {
        if self.too_many {
            return;
        }
        self.seen.extend(chunk.iter().map(|x| bits(*x)));
        self.seen.sort_unstable();
        self.seen.dedup();
        if self.seen.len() > MAX_LEVELS {
            self.too_many = true;
            self.seen = Vec::new();
        }
    }

    fn count(&self) -> Option<usize> {
        (!self.too_many).then_some(self.seen.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tensors_do_not_differ_and_zeros_have_no_sign() {
        assert_eq!(compare("w", &[2], &[0.0f32, 1.0][..], &[-0.0f32, 1.0][..]), None);
    }

    #[test]
    fn what_differs_is_counted() {
        let found = compare("w", &[4], &[0.1f32, 0.2, 0.3, 0.4][..], &[0.0f32, 0.2, 0.4, 0.4][..]).unwrap();
        assert_eq!((found.elements, found.differing), (4, 2));
        assert_eq!((found.levels_first, found.levels_second), (Some(4), Some(3)));
        // 0.3 and 0.4 as float32: their difference is exact.
        assert_eq!(found.metrics.max_error.to_bits(), f64::from(0.4f32 - 0.3f32).max(f64::from(0.1f32)).to_bits());
    }

    #[test]
    fn more_levels_than_any_grid_are_not_counted() {
        #[expect(clippy::cast_precision_loss, reason = "below 2^24")]
        let ramp: Vec<f32> = (0..200_000).map(|i| i as f32).collect();
        let found = compare("w", &[200_000], ramp.as_slice(), vec![1.0f32; 200_000].as_slice()).unwrap();
        assert_eq!((found.levels_first, found.levels_second), (None, Some(1)));
    }
}
