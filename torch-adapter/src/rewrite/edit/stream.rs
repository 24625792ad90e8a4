//! Quantized values and codes, made while the archive is written, and how far they are from the float weights.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quant_math::data::LittleEndian;
use quant_math::metrics::{Metrics, MetricsAccumulator};
use quant_math::weights::{self, CHUNK, Storage, WeightMap};
use quant_math::{DType, WeightData};

use crate::error::Error;
use crate::torchscript::contents::Stored;

/// A weight whose values or codes are made while the archive is written.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) stored: Stored,
    pub(crate) map: Arc<WeightMap>,
}

impl Pending {
    pub(crate) fn dtype(&self) -> DType {
        self.stored.dtype
    }
}

/// What is written for an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Its quantized value, in the weight's own type.
    Values,
    /// Its code, stored so.
    Codes(Storage),
}

/// One weight on its way into the archive.
pub(crate) struct Stream<'p> {
    pub(crate) pending: &'p Pending,
    form: Form,
    /// By number of the chunk, so that the sum has one order, whichever thread made which chunk.
    errors: Mutex<BTreeMap<usize, MetricsAccumulator>>,
}

impl<'p> Stream<'p> {
    pub(crate) fn new(pending: &'p Pending, form: Form) -> Self {
        Self { pending, form, errors: Mutex::new(BTreeMap::new()) }
    }

    /// Bytes of an element, and elements that share one.
    fn item(&self) -> (usize, usize) {
        match self.form {
            Form::Values => (self.pending.dtype().size(), 1),
            Form::Codes(storage) => (1, storage.per_byte()),
        }
    }

    /// Bytes of `elements`.
    pub(crate) fn len(&self, elements: u64) -> u64 {
        let (size, shared) = self.item();
        elements.div_ceil(shared as u64).saturating_mul(size as u64)
    }

    /// Write what stands at byte `at` into `out`; `source` is the whole weight.
    pub(crate) fn fill(&self, source: &[u8], at: u64, out: &mut [u8]) -> Result<(), Error> {
        let data = LittleEndian::new(self.pending.dtype(), source);
        let (size, shared) = self.item();
        let first = usize::try_from(at).unwrap_or(usize::MAX) / size * shared;
        for (number, out) in out.chunks_mut(CHUNK / shared * size).enumerate() {
            let offset = first + number * CHUNK;
            let error = self.chunk(&data, offset, out)?;
            self.errors.lock().unwrap_or_else(PoisonError::into_inner).insert(offset / CHUNK, error);
        }
        Ok(())
    }

    fn chunk(&self, data: &LittleEndian<'_>, offset: usize, out: &mut [u8]) -> Result<MetricsAccumulator, Error> {
        let (size, shared) = self.item();
        // The last byte may have room for more codes than there are.
        let end = offset.saturating_add(out.len() / size * shared).min(data.len());
        let form = match self.form {
            Form::Values => weights::Form::Values(data.dtype()),
            // The error counts the values of the codes before any rounding to the weight's type.
            Form::Codes(storage) => weights::Form::Codes(DType::F32, storage),
        };
        let math = |source| Error::Math { tensor: self.pending.stored.record.clone(), source };
        self.pending.map.store(form, data, offset..end, out).map_err(math)
    }

    /// How far what was written is from the float weights.
    pub(crate) fn metrics(&self) -> Metrics {
        let mut sum = MetricsAccumulator::default();
        for part in self.errors.lock().unwrap_or_else(PoisonError::into_inner).values() {
            sum.merge(part);
        }
        sum.finish()
    }
}
