//! The zip layer: every record of an archive, checked; see [`write`](write()) for the other direction.
//!
//! Reads every zip that torch writes (stored and deflated records, data descriptors, 64-bit sizes, dates of 0) and writes
//! torch's own layout. A record's CRC is checked when the record is first read.

mod end;
mod entry;
mod fields;
mod inflate;
mod kind;
mod name;
mod sniff;
mod source;
mod verify;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::error::ArchiveFault;
pub use entry::{Entry, Method};
pub use write::{Body, Edits, Fill, Patch, write};

use model_file::Format;
use quant_math::Budget;
use rayon::prelude::*;

use crate::error::Error;
use crate::limits::Limits;
use source::Source;

/// A TorchScript archive, open for reading.
///
/// Records are named without the archive's prefix: `data.pkl`, `data/0`, `code/__torch__.py`, ….
pub struct Archive {
    source: Source,
    limits: Limits,
    /// What is made of the archive is counted against its length.
    budget: Budget,
    prefix: String,
    entries: Vec<Entry>,
    /// Record name → position in `entries`.
    index: BTreeMap<String, usize>,
    /// By position in `entries`: the CRC was found right.
    verified: Vec<AtomicBool>,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, entries, .. } = self;
        f.debug_struct("Archive").field("prefix", prefix).field("entries", entries).finish_non_exhaustive()
    }
}

impl Archive {
    /// The archive in the file `path`, mapped into memory; errors name the file.
    ///
    /// # Errors
    /// The file cannot be read, or is no sound archive.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let open = |source: Source| source.settled(Self::read_source(source.clone(), limits));
        Source::map(path).and_then(open).map_err(|error| error.in_file(path))
    }

    /// The archive that `bytes` hold.
    ///
    /// # Errors
    /// Bytes that are no sound archive.
    pub fn from_bytes(bytes: Vec<u8>, limits: &Limits) -> Result<Self, Error> {
        Self::read_source(Source::Held(bytes.into()), limits)
    }

    fn read_source(source: Source, limits: &Limits) -> Result<Self, Error> {
        if !source.starts_with(b"PK\x03\x04") {
            return Err(sniff::not_an_archive(Format::of(&source)).at(0));
        }
        let directory = end::find(&source)?;
        let entries = entry::read_all(&source, &directory)?;
        verify::no_overlap(&entries, directory.span.start)?;
        let budget = Budget::for_file(source.len() as u64);
        verify::no_bomb(&entries, limits, &budget)?;
        let prefix = prefix(&entries);
        let index = index(&entries, &prefix)?;
        let verified = entries.iter().map(|_| AtomicBool::new(false)).collect();
        let archive = Self { source, limits: *limits, budget, prefix, entries, index, verified };
        kind::check(&archive)?;
        Ok(archive)
    }

    /// Bytes of the whole file.
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether the file has no bytes; never true for an open archive.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.source
    }

    /// `result`, which was made from the archive's bytes: an error where its file has changed meanwhile, whatever else was found.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`], or what `result` says.
    pub fn settled<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.source.settled(result)
    }

    /// Its bytes, for what outlives it.
    pub(crate) fn source(&self) -> Source {
        self.source.clone()
    }

    /// The limits it was opened with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The folder that all records are in: the file's stem, or `archive`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Every entry, in the order of the directory.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The names of all records, sorted.
    pub fn records(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Whether there is a record of this name.
    pub fn has(&self, record: &str) -> bool {
        self.index.contains_key(record)
    }

    /// The entry of a record, if there is one.
    pub fn entry(&self, record: &str) -> Option<&Entry> {
        self.entries.get(*self.index.get(record)?)
    }

    /// The name of an entry's record; entries outside the prefix have none.
    pub fn record_name<'e>(&self, entry: &'e Entry) -> Option<&'e str> {
        entry.name.strip_prefix(self.prefix.as_str())?.strip_prefix('/').filter(|name| !name.is_empty())
    }

    /// The entry of a record and its position in the directory.
    fn position(&self, record: &str) -> Option<(usize, &Entry)> {
        let position = *self.index.get(record)?;
        Some((position, self.entries.get(position)?))
    }

    /// The data of a stored record, its CRC not checked; everything else as [`read`](Self::read) gives it.
    ///
    /// For a first look at data that is read again while it is written, where its CRC is checked.
    pub(crate) fn peek(&self, record: &str) -> Result<Cow<'_, [u8]>, Error> {
        match self.entry(record) {
            Some(entry) if entry.method == Method::Stored => Ok(Cow::Borrowed(self.stored(entry))),
            _ => self.read(record),
        }
    }

    /// A record's data, decoded, its CRC checked.
    ///
    /// # Errors
    ///
    /// [`ArchiveFault::Missing`], [`ArchiveFault::Crc`], [`ArchiveFault::Inflate`].
    pub fn read(&self, record: &str) -> Result<Cow<'_, [u8]>, Error> {
        let missing = || ArchiveFault::Missing { name: record.to_owned() }.at(0);
        let (position, entry) = self.position(record).ok_or_else(missing)?;
        let stored = self.stored(entry);
        let data = match entry.method {
            Method::Stored => Cow::Borrowed(stored),
            Method::Deflated => Cow::Owned(inflate::all(stored, entry.size).map_err(|fault| fault.in_record(record))?),
        };
        let checked = self.verified.get(position);
        if !checked.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            verify::crc(&data, entry.crc).map_err(|fault| fault.in_record(record))?;
            if let Some(flag) = checked {
                flag.store(true, Ordering::Relaxed);
            }
        }
        Ok(data)
    }

    /// A record that is text.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read), and [`ArchiveFault::NotText`].
    pub fn text(&self, record: &str) -> Result<Cow<'_, str>, Error> {
        let fault = |_| ArchiveFault::NotText.in_record(record);
        Ok(match self.read(record)? {
            Cow::Borrowed(bytes) => Cow::Borrowed(str::from_utf8(bytes).map_err(fault)?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|error| fault(error.utf8_error()))?),
        })
    }

    /// Check the CRC of every record that was not read yet.
    ///
    /// # Errors
    ///
    /// [`ArchiveFault::Crc`], [`ArchiveFault::Inflate`].
    pub fn check_all(&self) -> Result<(), Error> {
        self.entries.par_iter().zip(&self.verified).try_for_each(|(entry, flag)| {
            if flag.load(Ordering::Relaxed) {
                return Ok(());
            }
            let stored = self.stored(entry);
            let checked = match entry.method {
                Method::Stored => verify::crc(stored, entry.crc),
                Method::Deflated => inflate::crc(stored, entry.size).and_then(|found| verify::same(found, entry.crc)),
            };
            checked.map_err(|fault| fault.in_record(self.record_name(entry).unwrap_or(&entry.name)))?;
            flag.store(true, Ordering::Relaxed);
            Ok(())
        })
    }

    /// An entry's data as it lies in the file, unchecked.
    pub(crate) fn stored(&self, entry: &Entry) -> &[u8] {
        self.source.get(entry.data.clone()).unwrap_or_default()
    }

    /// Whether the CRC of the entry at `position` is known to be right.
    fn is_verified(&self, position: usize) -> bool {
        self.verified.get(position).is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// The first folder of the first entry, as torch takes it.
fn prefix(entries: &[Entry]) -> String {
    let first = entries.first().map(|entry| entry.name.as_str()).unwrap_or_default();
    first.split_once('/').map_or(first, |(prefix, _)| prefix).to_owned()
}

fn index(entries: &[Entry], prefix: &str) -> Result<BTreeMap<String, usize>, Error> {
    let mut names = BTreeMap::new();
    for (position, entry) in entries.iter().enumerate() {
        if names.insert(entry.name.as_str(), position).is_some() {
            return Err(ArchiveFault::Duplicate { name: entry.name.clone() }.at(entry.header));
        }
    }
    let record = |(name, position): (&str, usize)| {
        let name = name.strip_prefix(prefix)?.strip_prefix('/')?;
        (!name.is_empty() && !name.ends_with('/')).then(|| (name.to_owned(), position))
    };
    Ok(names.into_iter().filter_map(record).collect())
}
