//! What changes between an archive and its rewritten form.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::error::Error;

/// Makes the bytes of a span, in pieces and from several threads.
pub trait Fill: Sync {
    /// Write the bytes at `at..at + out.len()` of the span into `out`. `source` is what they are made from, as a whole: the bytes that
    /// a patch replaces, or the source of a made record (nothing, where it has none).
    ///
    /// Pieces start at multiples of 1 MiB from the span's start, come once each, and in any order: what a piece holds must depend on
    /// nothing but its position and the source.
    ///
    /// # Errors
    /// What cannot be made; nothing is written then.
    fn fill(&self, source: &[u8], at: u64, out: &mut [u8]) -> Result<(), Error>;
}

impl<F: Fn(&[u8], u64, &mut [u8]) -> Result<(), Error> + Sync> Fill for F {
    fn fill(&self, source: &[u8], at: u64, out: &mut [u8]) -> Result<(), Error> {
        self(source, at, out)
    }
}

/// The data of a record that is new, or new in full.
pub enum Body<'a> {
    /// Bytes that are there.
    Bytes(Cow<'a, [u8]>),
    /// Bytes that are made while they are written.
    Made {
        /// How many.
        len: u64,
        /// A record of the input, and its bytes that they are made from.
        source: Option<(String, Range<u64>)>,
        /// Who makes them.
        fill: Box<dyn Fill + 'a>,
    },
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Made { len, source, .. } => write!(f, "Made({len}, {source:?})"),
        }
    }
}

/// New bytes for a part of a record; its length stays.
pub struct Patch<'a> {
    /// The part, in bytes of the record.
    pub span: Range<u64>,
    /// Who makes the bytes.
    pub fill: Box<dyn Fill + 'a>,
}

impl fmt::Debug for Patch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patch({:?})", self.span)
    }
}

#[derive(Debug)]
pub(super) enum Change<'a> {
    Replace(Body<'a>),
    Patch(Vec<Patch<'a>>),
    Remove,
}

/// Changes to the records of one archive; records without a change are copied.
#[derive(Debug, Default)]
pub struct Edits<'a> {
    pub(super) changes: BTreeMap<String, Change<'a>>,
    pub(super) added: BTreeMap<String, Body<'a>>,
}

impl<'a> Edits<'a> {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.added.is_empty()
    }

    /// Replace the data of `record`; takes the place of every earlier change to it.
    pub fn replace(&mut self, record: impl Into<String>, body: Body<'a>) {
        self.changes.insert(record.into(), Change::Replace(body));
    }

    /// Replace a part of `record`'s data. Parts of one record must not overlap; they may come in any order.
    pub fn patch(&mut self, record: impl Into<String>, patch: Patch<'a>) {
        match self.changes.entry(record.into()).or_insert_with(|| Change::Patch(Vec::new())) {
            Change::Patch(patches) => patches.push(patch),
            other => *other = Change::Patch(vec![patch]),
        }
    }

    /// Leave `record` out.
    pub fn remove(&mut self, record: impl Into<String>) {
        self.changes.insert(record.into(), Change::Remove);
    }

    /// Add a record; it takes its place behind the last record of its folder.
    pub fn add(&mut self, record: impl Into<String>, body: Body<'a>) {
        self.added.insert(record.into(), body);
    }
}
