//! Samples in memory, so that they can be taken in any order.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::super::data::{Batch, Data};
use super::super::labels::take;
use super::super::value::Value;
use super::super::{RunError, session};

/// All samples of a data set.
#[derive(Debug)]
pub(super) struct Samples {
    arrays: Vec<Array>,
    labels: Option<Vec<i64>>,
    count: usize,
}

#[derive(Debug)]
struct Array {
    descr: String,
    shape: Vec<u64>,
    bytes: Vec<u8>,
    sample_bytes: usize,
}

impl Samples {
    /// Read all of `data`, whose first arrays are the inputs of `model`; a further one, called `labels`, is the right classes.
    ///
    /// # Errors
    /// Damaged files, NaN or infinity, labels that are no classes.
    pub(super) fn read(model: &session::Model, data: &mut Data, labels: Option<&str>) -> Result<Self, RunError> {
        const AT_ONCE: u64 = 256;
        let mut arrays = Vec::new();
        for position in 0..model.inputs().len() {
            let Some((descr, shape)) = data.sample(position) else { continue };
            arrays.push(Array { descr: descr.to_owned(), shape: shape.to_vec(), bytes: Vec::new(), sample_bytes: 0 });
        }
        let mut classes = labels.map(|_| Vec::new());
        let mut count = 0usize;
        while let Some(mut batch) = data.next(AT_ONCE)? {
            if let (Some(name), Some(classes)) = (labels, &mut classes) {
                classes.extend(take(data, name, &mut batch)?);
            }
            session::check_finite(model, data, &batch, count as u64)?;
            for (array, value) in arrays.iter_mut().zip(&batch.values) {
                let bytes = value.bytes();
                array.sample_bytes = bytes.len() / usize::try_from(batch.samples).unwrap_or(usize::MAX).max(1);
                array.bytes.extend_from_slice(&bytes);
            }
            count += usize::try_from(batch.samples).unwrap_or(0);
        }
        Ok(Self { arrays, labels: classes, count })
    }

    pub(super) fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// The samples with these numbers, as a batch, and their labels.
    pub(super) fn gather(&self, numbers: &[usize]) -> (Batch, Option<Vec<i64>>) {
        let values = self.arrays.iter().filter_map(|array| {
            let one = |number: &usize| array.bytes.get(number * array.sample_bytes..(number + 1) * array.sample_bytes);
            let bytes: Vec<u8> = numbers.iter().filter_map(one).flatten().copied().collect();
            let shape: Vec<u64> = std::iter::once(numbers.len() as u64).chain(array.shape.iter().copied()).collect();
            Value::from_bytes(&array.descr, &shape, &bytes)
        });
        let labels = self
            .labels
            .as_ref()
            .map(|labels| numbers.iter().filter_map(|number| labels.get(*number).copied()).collect());
        (Batch { samples: numbers.len() as u64, values: values.collect() }, labels)
    }

    /// Numbers of samples to train on, and of samples to validate with.
    pub(super) fn split(&self, validation: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
        let mut numbers: Vec<usize> = (0..self.count).collect();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count"
        )]
        let aside = (self.count as f64 * validation).ceil() as usize;
        if aside == 0 {
            return (numbers, Vec::new());
        }
        shuffle(&mut numbers, seed, u64::MAX);
        let mut train = numbers.split_off(aside.min(self.count));
        train.sort_unstable();
        numbers.sort_unstable();
        (train, numbers)
    }
}

/// Put numbers in an order that depends on the seed and the epoch alone.
pub(super) fn shuffle(numbers: &mut [usize], seed: u64, epoch: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(epoch);
    numbers.shuffle(&mut random);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_differ_by_seed_and_epoch_and_come_back() {
        let order = |seed, epoch| {
            let mut numbers: Vec<usize> = (0..100).collect();
            shuffle(&mut numbers, seed, epoch);
            numbers
        };
        assert_eq!(order(1, 2), order(1, 2));
        assert_ne!(order(1, 2), order(1, 3));
        assert_ne!(order(1, 2), order(2, 2));
        let mut sorted = order(5, 5);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_split_loses_nothing() {
        let samples = Samples { arrays: Vec::new(), labels: None, count: 95 };
        let (train, validation) = samples.split(0.1, 3);
        assert_eq!((train.len(), validation.len()), (85, 10));
        let mut all = [train, validation].concat();
        all.sort_unstable();
        assert_eq!(all, (0..95).collect::<Vec<_>>());
        assert_eq!(samples.split(0.0, 3).0.len(), 95);
        assert_eq!(samples.split(1.0, 3).0.len(), 0);
    }
}
