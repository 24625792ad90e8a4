//! Samples in memory, so that they can be taken in any order.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::super::RunError;
use super::super::data::Batch;
use super::super::feeds::Feeds;
use super::super::labels::take;
use super::super::value::Value;

/// All samples of a data set.
#[derive(Debug)]
pub(super) struct Samples {
    arrays: Vec<Array>,
    /// What is the same in every run.
    whole: Vec<(String, Value)>,
    labels: Option<Vec<i64>>,
    count: usize,
    /// How many samples a run takes, where the model says it.
    exact: Option<u64>,
}

#[derive(Debug)]
struct Array {
    name: String,
    descr: &'static str,
    /// Of a sample.
    shape: Vec<u64>,
    /// Whether a run takes one sample, without the dimension that counts them.
    single: bool,
    bytes: Vec<u8>,
    sample_bytes: usize,
}

/// How inputs are fed, by name.
struct Inputs {
    whole: BTreeSet<String>,
    single: BTreeSet<String>,
}

impl Samples {
    /// Read all of the data.
    ///
    /// # Errors
    /// Damaged files, NaN or infinity, labels that are no classes.
    pub(super) fn read(feeds: &mut Feeds) -> Result<Self, RunError> {
        const AT_ONCE: u64 = 256;
        let labels = feeds.labels().map(str::to_owned);
        let mut samples = Self {
            arrays: Vec::new(),
            whole: Vec::new(),
            labels: labels.as_ref().map(|_| Vec::new()),
            count: 0,
            exact: feeds.exact(),
        };
        let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
        let inputs = Inputs { whole: owned(feeds.whole()), single: owned(feeds.single()) };
        let mut positions = BTreeMap::new();
        while let Some(mut batch) = feeds.next(AT_ONCE)? {
            if let (Some(name), Some(all)) = (&labels, &mut samples.labels) {
                all.extend(take(feeds.path(), name, &mut batch)?);
            }
            let count = usize::try_from(batch.samples).unwrap_or(usize::MAX);
            for (name, value) in batch.arrays {
                samples.add((&inputs, &mut positions), name, value, count);
            }
            samples.count += count;
        }
        Ok(samples)
    }

    fn add(
        &mut self,
        (inputs, positions): (&Inputs, &mut BTreeMap<String, usize>),
        name: String,
        value: Value,
        count: usize,
    ) {
        if inputs.whole.contains(&name) {
            if self.count == 0 {
                self.whole.push((name, value));
            }
            return;
        }
        let bytes = value.bytes();
        if let Some(known) = positions.get(&name).and_then(|position| self.arrays.get_mut(*position)) {
            known.bytes.extend_from_slice(&bytes);
            return;
        }
        let single = inputs.single.contains(&name);
        positions.insert(name.clone(), self.arrays.len());
        let shape = value.shape().get(usize::from(!single)..).unwrap_or_default().to_vec();
        let sample_bytes = bytes.len() / count.max(1);
        let descr = Value::descr(value.dtype()).unwrap_or_default();
        self.arrays.push(Array { name, descr, shape, single, bytes: bytes.into_owned(), sample_bytes });
    }

    /// How many samples a run takes, where the model says it.
    pub(super) fn exact(&self) -> Option<usize> {
        self.exact.and_then(|exact| usize::try_from(exact).ok())
    }

    /// The number of samples.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Numbers of samples as batches of `size`; where the model says how many a run takes, what is left over is left out.
    pub(super) fn batches<'o>(&self, numbers: &'o [usize], size: usize) -> impl Iterator<Item = &'o [usize]> + use<'o> {
        let exact = self.exact();
        let size = exact.unwrap_or(size).max(1);
        numbers.chunks(size).filter(move |chunk| exact.is_none_or(|exact| chunk.len() == exact))
    }

    pub(super) fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// The samples with these numbers, as a batch, and their labels.
    pub(super) fn gather(&self, numbers: &[usize]) -> (Batch, Option<Vec<i64>>) {
        let arrays = self.arrays.iter().filter_map(|array| {
            let one = |number: &usize| array.bytes.get(number * array.sample_bytes..(number + 1) * array.sample_bytes);
            let bytes: Vec<u8> = numbers.iter().filter_map(one).flatten().copied().collect();
            let rows = (!array.single).then_some(numbers.len() as u64);
            let shape: Vec<u64> = rows.into_iter().chain(array.shape.iter().copied()).collect();
            Some((array.name.clone(), Value::from_bytes(array.descr, &shape, &bytes)?))
        });
        let arrays = arrays.chain(self.whole.iter().cloned()).collect();
        let labels = self
            .labels
            .as_ref()
            .map(|labels| numbers.iter().filter_map(|number| labels.get(*number).copied()).collect());
        (Batch { samples: numbers.len() as u64, arrays }, labels)
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
        let samples = Samples { arrays: Vec::new(), whole: Vec::new(), labels: None, count: 95, exact: None };
        let (train, validation) = samples.split(0.1, 3);
        assert_eq!((train.len(), validation.len()), (85, 10));
        let mut all = [train, validation].concat();
        all.sort_unstable();
        assert_eq!(all, (0..95).collect::<Vec<_>>());
        assert_eq!(samples.split(0.0, 3).0.len(), 95);
        assert_eq!(samples.split(1.0, 3).0.len(), 0);
    }
}
