//! Elements of a tensor that stand outside of the graph's own bytes.

use quant_math::DType;
use quant_math::fold::{Factors, Scaled};

use crate::error::Error;

/// Where such elements lie.
pub(crate) trait Source: std::fmt::Debug + Sync {
    /// How many bytes they have. None of them is read.
    fn len(&self) -> usize;

    /// The elements, as they lie in memory (little endian).
    ///
    /// # Errors
    /// What is not what was stored.
    fn bytes(&self) -> Result<&[u8], Error>;
}

/// Elements as they are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'a> {
    pub(crate) source: &'a dyn Source,
    /// What they are multiplied by first, and their type.
    pub(crate) by: Option<(DType, &'a Factors)>,
}

impl<'a> Elements<'a> {
    /// The bytes that they take.
    pub(crate) fn len(self) -> usize {
        self.source.len()
    }

    /// What lies there, as it is.
    ///
    /// # Errors
    /// What is not what was stored.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Error> {
        self.source.bytes()
    }

    /// `work(bytes)` for stretches of them in order, of at most `most` bytes or one element.
    ///
    /// # Errors
    /// What is not what was stored; what `work` says.
    pub(crate) fn stretches(self, most: usize, mut work: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let bytes = self.bytes()?;
        let Some((dtype, by)) = self.by else { return bytes.chunks(most).try_for_each(work) };
        let scaled = Scaled::new(dtype, bytes, by);
        let (all, step) = (bytes.len() / dtype.size(), (most / dtype.size()).max(1));
        (0..all).step_by(step).try_for_each(|start| work(&scaled.stored(start..all.min(start + step))))
    }
}
