//! A weight on its way to a file: its bytes, made where they are asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::metrics::{Metrics, MetricsAccumulator};
use crate::weights::{CHUNK, Form, WeightMap};
use crate::{MathError, WeightData};

/// A weight that is quantized while it is written, so that it is never held as a whole.
#[derive(Debug, Clone)]
pub struct WeightStream {
    /// From float to code.
    pub map: Arc<WeightMap>,
    /// What is written of each element.
    pub form: Form,
    /// The number of elements.
    pub elements: usize,
}

impl WeightStream {
    /// Bytes of the whole.
    pub fn len(&self) -> usize {
        self.form.bytes(self.elements)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of so many chunks: a stretch of such a length can be followed by another.
    pub fn chunks(&self, chunks: usize) -> usize {
        self.form.bytes(CHUNK).saturating_mul(chunks)
    }

    /// Make the bytes that stand at `at`, where a chunk begins, to the end of `out`; `data` is the whole weight. Parallel.
    ///
    /// # Errors
    /// Those of [`WeightMap::stored_into`], for codes.
    pub fn fill<D: WeightData + ?Sized>(
        &self,
        data: &D,
        at: usize,
        out: &mut [u8],
        errors: &Errors,
    ) -> Result<(), MathError> {
        // Whole bytes: a chunk is a multiple of the codes that share one.
        let size = self.form.bytes(CHUNK);
        let first = at / size;
        let chunks = out.par_chunks_mut(size).enumerate().map(|(number, out)| (first + number, out));
        let made: Vec<MetricsAccumulator> = chunks
            .map(|(number, out)| {
                let start = number.saturating_mul(CHUNK);
                self.map.store(self.form, data, start..self.elements.min(start.saturating_add(CHUNK)), out)
            })
            .collect::<Result<_, _>>()?;
        errors.add(first, &made);
        Ok(())
    }
}

/// How far the written values of one weight are from its float values. The chunks may come in any order: the sum has one.
#[derive(Debug, Default)]
pub struct Errors(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts {
    /// Over the chunks before `next`.
    sum: MetricsAccumulator,
    next: usize,
    /// By the number of their chunk, those that came too early.
    early: BTreeMap<usize, MetricsAccumulator>,
}

impl Errors {
    fn add(&self, first: usize, made: &[MetricsAccumulator]) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = &mut *guard;
        parts.early.extend(made.iter().enumerate().map(|(number, part)| (first + number, *part)));
        while let Some(part) = parts.early.remove(&parts.next) {
            parts.sum.merge(&part);
            parts.next += 1;
        }
    }

    /// Of all that was written.
    pub fn metrics(&self) -> Metrics {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = parts.sum;
        for part in parts.early.values() {
            sum.merge(part);
        }
        sum.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Settings;
    use crate::weights::{ChannelLayout, Storage, measure, observe};
    use crate::{DType, Quantizer};

    fn stream(form: Form) -> (WeightStream, Vec<f32>) {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let data: Vec<f32> = (0..2 * CHUNK + 7).map(|i| (i as f32 * 0.37).sin()).collect();
        let map = observe(&Settings::new(Quantizer::Naive, 4), ChannelLayout::per_tensor(data.len()), &data[..]);
        (WeightStream { map: Arc::new(map.unwrap()), form, elements: data.len() }, data)
    }

    #[test]
    fn the_order_of_the_stretches_changes_nothing() {
        for form in [Form::Values(DType::F32), Form::Values(DType::F16), Form::Codes(DType::F32, Storage::HALVES)] {
            let (stream, data) = stream(form);
            let (whole, parts) = (Errors::default(), Errors::default());
            let mut at_once = vec![0; stream.len()];
            stream.fill(&data[..], 0, &mut at_once, &whole).unwrap();
            let mut in_parts = vec![0; stream.len()];
            let chunk = stream.chunks(1);
            for at in [2 * chunk, 0, chunk] {
                let end = stream.len().min(at + chunk);
                stream.fill(&data[..], at, &mut in_parts[at..end], &parts).unwrap();
            }
            assert_eq!(at_once, in_parts, "{form:?}");
            assert_eq!(whole.metrics(), parts.metrics(), "{form:?}");
        }
    }

    #[test]
    fn the_error_is_that_of_the_map() {
        let (stream, data) = stream(Form::Values(DType::F32));
        let errors = Errors::default();
        stream.fill(&data[..], 0, &mut vec![0; stream.len()], &errors).unwrap();
        assert_eq!(errors.metrics(), measure(&stream.map, &data[..]));
    }
}
