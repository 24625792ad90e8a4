//! Quantized values and codes, made while the archive is written, and how far they are from the float weights.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quant_math::data::{LittleEndian, write_little_endian};
use quant_math::metrics::{Metrics, MetricsAccumulator};
use quant_math::weights::{CHUNK, Storage, WeightMap};
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
        let map = &self.pending.map;
        let (size, shared) = self.item();
        // The last byte may have room for more codes than there are.
        let end = offset.saturating_add(out.len() / size * shared).min(data.len());
        let source = data.chunk(offset..end);
        let mut error = MetricsAccumulator::default();
        if self.form == Form::Values && data.dtype() == DType::F32 && cfg!(target_endian = "little") {
            // In place, where the buffer happens to be aligned, as large ones are.
            if let Ok(values) = bytemuck::try_cast_slice_mut(out) {
                map.values_into(offset, &source, values);
                error.update(&source, values);
                return Ok(error);
            }
        }
        let mut values = vec![0.0; source.len()];
        map.values_into(offset, &source, &mut values);
        let values = match self.form {
            Form::Values => {
                write_little_endian(data.dtype(), &values, out);
                // The error counts what is stored, after rounding to a narrower type.
                LittleEndian::new(data.dtype(), out).chunk(0..values.len()).into_owned()
            }
            Form::Codes(storage) => {
                let math = |source| Error::Math { tensor: self.pending.stored.record.clone(), source };
                map.stored_into(storage, offset, &source, out).map_err(math)?;
                values
            }
        };
        error.update(&source, &values);
        Ok(error)
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
