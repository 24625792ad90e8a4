//! What made bytes are made from: a part of a record of the input.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::{Archive, Method};
use crate::error::Error;

/// Bytes of the input.
pub(super) enum Source<'e> {
    /// None.
    Nothing,
    /// Bytes that lie in the file as they are.
    Stored(&'e [u8]),
    /// Bytes of a deflated record, there from their first use until [`release`](Self::release).
    Deflated { archive: &'e Archive, record: String, span: Range<usize>, held: Mutex<Option<Arc<Vec<u8>>>> },
}

/// A view of a source.
pub(super) enum View<'e> {
    Stored(&'e [u8]),
    Held(Arc<Vec<u8>>, Range<usize>),
}

impl<'e> Source<'e> {
    /// The bytes `span` of `record`; `None` where they are not in it.
    pub(super) fn new(archive: &'e Archive, record: &str, span: &Range<u64>) -> Option<Self> {
        let entry = archive.entry(record)?;
        let span = usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?;
        if span.start > span.end || span.end as u64 > entry.size() {
            return None;
        }
        Some(match entry.method() {
            Method::Stored => Self::Stored(archive.stored(entry).get(span)?),
            Method::Deflated => Self::Deflated { archive, record: record.to_owned(), span, held: Mutex::new(None) },
        })
    }

    pub(super) fn view(&self) -> Result<View<'e>, Error> {
        Ok(match self {
            Self::Nothing => View::Stored(&[]),
            Self::Stored(bytes) => View::Stored(bytes),
            Self::Deflated { archive, record, span, held } => {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                let bytes = match &*held {
                    Some(bytes) => Arc::clone(bytes),
                    None => Arc::clone(held.insert(Arc::new(archive.read(record)?.into_owned()))),
                };
                View::Held(bytes, span.clone())
            }
        })
    }

    /// Let go of what was inflated.
    pub(super) fn release(&self) {
        if let Self::Deflated { held, .. } = self {
            held.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

impl View<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Stored(bytes) => bytes,
            Self::Held(bytes, span) => bytes.get(span.clone()).unwrap_or_default(),
        }
    }
}
