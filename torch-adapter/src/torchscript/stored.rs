//! The bytes of a tensor, and what they are to be where the tensor gets other values than it has.

use std::borrow::Cow;
use std::ops::Range as Span;
use std::sync::Arc;

use quant_math::data::LittleEndian;
use quant_math::fold::{Factors, Scaled};
use quant_math::{DType, WeightData};

use super::archive::Archive;
use super::tensors::Dense;
use crate::error::Error;

/// The bytes of a tensor that fills a stretch of its storage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    /// The record.
    pub(crate) record: String,
    /// The element type.
    pub(crate) dtype: DType,
    /// Bytes of the record.
    pub(crate) span: Span<u64>,
    pub(crate) dense: Dense,
    /// What its values are to be, where those are others.
    pub(crate) change: Option<Arc<Change>>,
}

/// Other values for a tensor.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    /// Its own, multiplied by the factors of their channels.
    Scaled(Factors),
    /// These, in its own type.
    Values(Vec<u8>),
}

/// A tensor's values as they are to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Data<'a> {
    Plain(LittleEndian<'a>),
    Scaled(Scaled<'a>),
}

impl Stored {
    /// The tensor's bytes, as they lie in the archive.
    pub(crate) fn bytes<'a>(&self, archive: &'a Archive) -> Result<Cow<'a, [u8]>, Error> {
        self.cut(archive.read(&self.record)?)
    }

    /// The same, where their checksum is looked at later.
    pub(crate) fn peek<'a>(&self, archive: &'a Archive) -> Result<Cow<'a, [u8]>, Error> {
        self.cut(archive.peek(&self.record)?)
    }

    fn cut<'a>(&self, record: Cow<'a, [u8]>) -> Result<Cow<'a, [u8]>, Error> {
        let short = || Error::Plan { message: format!("record `{}` is too short", self.record) };
        let span = usize::try_from(self.span.start).ok().zip(usize::try_from(self.span.end).ok());
        let (start, end) = span.ok_or_else(short)?;
        Ok(match record {
            Cow::Borrowed(record) => Cow::Borrowed(record.get(start..end).ok_or_else(short)?),
            Cow::Owned(mut record) => {
                record.truncate(end);
                if record.len() < end {
                    return Err(short());
                }
                record.drain(..start);
                Cow::Owned(record)
            }
        })
    }

    /// The values of the tensor with these bytes, as they are to be.
    pub(crate) fn data<'a>(&'a self, bytes: &'a [u8]) -> Data<'a> {
        match self.change.as_deref() {
            None => Data::Plain(LittleEndian::new(self.dtype, bytes)),
            Some(Change::Values(values)) => Data::Plain(LittleEndian::new(self.dtype, values)),
            Some(Change::Scaled(by)) => Data::Scaled(Scaled::new(self.dtype, bytes, by)),
        }
    }

    /// Write what is to stand at byte `at` into `out`; `source` is the whole tensor. `at` and the length of `out` are those of whole elements.
    #[expect(clippy::unnecessary_wraps, reason = "what fills a record may fail")]
    pub(crate) fn fill(&self, source: &[u8], at: u64, out: &mut [u8]) -> Result<(), Error> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let span = start..start.saturating_add(out.len());
        let made = match self.change.as_deref() {
            None => source.get(span).map(Cow::Borrowed),
            Some(Change::Values(values)) => values.get(span).map(Cow::Borrowed),
            Some(Change::Scaled(by)) => {
                let size = self.dtype.size();
                Some(Cow::Owned(Scaled::new(self.dtype, source, by).stored(span.start / size..span.end / size)))
            }
        };
        if let Some(made) = made.filter(|made| made.len() == out.len()) {
            out.copy_from_slice(&made);
        }
        Ok(())
    }
}

impl WeightData for Data<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Plain(data) => data.len(),
            Self::Scaled(data) => data.len(),
        }
    }

    fn chunk(&self, span: Span<usize>) -> Cow<'_, [f32]> {
        match self {
            Self::Plain(data) => data.chunk(span),
            Self::Scaled(data) => data.chunk(span),
        }
    }

    fn pieces(&self, span: Span<usize>, work: &mut dyn FnMut(usize, &[f32])) {
        match self {
            Self::Plain(data) => data.pieces(span, work),
            Self::Scaled(data) => data.pieces(span, work),
        }
    }
}
