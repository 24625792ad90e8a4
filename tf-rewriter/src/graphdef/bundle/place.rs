//! Where an entry's bytes are in a data file, and whether they are what was stored there.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::checksum::{sum, unmask};
use super::entry::Entry;
use super::shard::Shard;
use super::{damaged, strings};
use crate::error::Error;
use crate::graphdef::io::Mapped;
use crate::graphdef::pb::DataType;

/// The bytes of an entry, all of which are there. Nobody sees them before their CRC was found right.
#[derive(Debug)]
pub(super) struct Place {
    /// For messages.
    name: String,
    path: PathBuf,
    file: Mapped,
    range: Range<usize>,
    /// How many strings they are, if they are strings.
    strings: Option<usize>,
    crc: u32,
    /// Filled when the CRC was right.
    right: OnceLock<()>,
}

impl Place {
    /// `range` of a data file, where `entry` has its bytes; `None` where the file is shorter.
    pub(super) fn new(shard: &Shard, range: Range<usize>, entry: &Entry, name: &str) -> Result<Option<Self>, Error> {
        let file = shard.map()?;
        if range.start > range.end || range.end > file.len() {
            return Ok(None);
        }
        let strings = (entry.dtype == DataType::DT_STRING).then(|| entry.count(name)).transpose()?;
        let (name, path, crc) = (name.to_owned(), shard.path().to_owned(), unmask(entry.crc));
        Ok(Some(Self { name, path, file: file.clone(), range, strings, crc, right: OnceLock::new() }))
    }

    pub(super) fn file(&self) -> &Mapped {
        &self.file
    }

    /// Where `part` of these bytes is in the file.
    pub(super) fn at(&self, part: &Range<usize>) -> Range<usize> {
        self.range.start + part.start..self.range.start + part.end
    }

    /// The bytes. The CRC is computed once; two threads that ask at the same time may both do it.
    ///
    /// # Errors
    /// [`Error::Wire`] where it is another than the entry has; [`Error::Changed`].
    pub(super) fn bytes(&self) -> Result<&[u8], Error> {
        if self.right.get().is_none() {
            self.verify(self.unchecked())?;
            self.right.get_or_init(|| ());
        }
        Ok(self.unchecked())
    }

    /// A copy of the bytes, of which the CRC was right: no program can change them any more.
    ///
    /// # Errors
    /// Those of [`bytes`](Self::bytes).
    pub(super) fn copy(&self) -> Result<Vec<u8>, Error> {
        let bytes = self.unchecked().to_vec();
        self.verify(&bytes)?;
        Ok(bytes)
    }

    /// Whether the file was the same all the time.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.file.check().map_err(|changed| Error::from(changed).in_file(&self.path))
    }

    fn unchecked(&self) -> &[u8] {
        self.file.get(self.range.clone()).unwrap_or_default()
    }

    /// Whether `bytes` have the CRC of the entry.
    fn verify(&self, bytes: &[u8]) -> Result<(), Error> {
        let error = |found: String, expected: String| {
            let offset = self.range.start as u64;
            damaged(format!("tensor `{}`", self.name), found, expected, offset).in_file(&self.path)
        };
        let crc = if let Some(count) = self.strings {
            let Some(strings) = strings::read(bytes, count) else {
                self.check()?;
                return Err(error(format!("{} bytes", bytes.len()), format!("{count} strings")));
            };
            strings.crc
        } else {
            sum(bytes)
        };
        if crc == self.crc {
            return Ok(());
        }
        self.check()?;
        Err(error(format!("CRC-32C {crc:08x}"), format!("{:08x}", self.crc)))
    }
}
