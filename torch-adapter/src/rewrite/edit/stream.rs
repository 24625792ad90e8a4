//! Quantized values and codes, made while the archive is written.

use std::sync::Arc;

use quant_math::weights::{Errors, Form, WeightStream};

use crate::error::Error;
use crate::rewrite::weights::Observed;
use crate::torchscript::contents::Stored;

/// A weight whose values or codes are made while the archive is written.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) stored: Stored,
    pub(crate) stream: WeightStream,
    /// By which its sites find its error.
    pub(crate) number: usize,
}

impl Pending {
    /// What is written for a weight.
    pub(crate) fn new(observed: &Observed, form: Form) -> Self {
        let elements = usize::try_from(observed.stored.dense.len()).unwrap_or(usize::MAX);
        let stream = WeightStream { map: Arc::clone(&observed.map), form, elements };
        Self { stored: observed.stored.clone(), stream, number: observed.number }
    }

    /// Write what stands at byte `at` into `out`; `source` is the whole weight.
    pub(crate) fn fill(&self, source: &[u8], at: u64, out: &mut [u8], errors: &Errors) -> Result<(), Error> {
        let data = self.stored.data(source);
        let filled = self.stream.fill(&data, usize::try_from(at).unwrap_or(usize::MAX), out, errors);
        filled.map_err(|source| Error::Math { tensor: self.stored.record.clone(), source })
    }
}
