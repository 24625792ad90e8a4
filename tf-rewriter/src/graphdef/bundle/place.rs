//! Where an entry's bytes are in a data file.

use std::ops::Range;

use super::checksum::unmask;
use super::entry::Entry;
use super::shard::Shard;
use super::values::Held;
use super::{damaged, strings};
use crate::error::Error;
use crate::graphdef::io::Mapped;
use crate::graphdef::pb::DataType;

/// Bytes of a data file, all of which are there.
#[derive(Debug, Clone)]
pub(super) struct Place<'b> {
    shard: &'b Shard,
    file: &'b Mapped,
    range: Range<usize>,
}

impl<'b> Place<'b> {
    /// `range` of a data file; `None` where the file is shorter.
    pub(super) fn new(shard: &'b Shard, range: Range<usize>) -> Result<Option<Self>, Error> {
        let file = shard.map()?;
        Ok((range.start <= range.end && range.end <= file.len()).then_some(Self { shard, file, range }))
    }

    pub(super) fn bytes(&self) -> &'b [u8] {
        self.file.get(self.range.clone()).unwrap_or_default()
    }

    /// `part` of these bytes.
    pub(super) fn part(&self, part: Range<usize>) -> Self {
        let start = self.range.start + part.start;
        Self { range: start..start + part.len(), ..self.clone() }
    }

    pub(super) fn held(self) -> Held {
        Held::Mapped { path: self.shard.path().to_owned(), file: self.file.clone(), range: self.range }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.shard.check()
    }

    /// Whether `bytes`, which are those of the entry, have its CRC.
    pub(super) fn verify(&self, bytes: &[u8], entry: &Entry, name: &str) -> Result<(), Error> {
        let error = |found: String, expected: String| {
            let offset = self.range.start as u64;
            damaged(format!("tensor `{name}`"), found, expected, offset).in_file(self.shard.path())
        };
        let crc = if entry.dtype == DataType::DT_STRING {
            let count = entry.count(name)?;
            let Some(strings) = strings::read(bytes, count) else {
                self.check()?;
                return Err(error(format!("{} bytes", bytes.len()), format!("{count} strings")));
            };
            strings.crc
        } else {
            crc32c::crc32c(bytes)
        };
        if crc == unmask(entry.crc) {
            return Ok(());
        }
        self.check()?;
        Err(error(format!("CRC-32C {crc:08x}"), format!("{:08x}", unmask(entry.crc))))
    }
}
