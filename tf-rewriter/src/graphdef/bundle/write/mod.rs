//! Writers of checkpoints: a new one, tensor by tensor, and one that exists with other values in their places.
//!
//! Values are streamed: no tensor is ever held whole. All files are written under temporary names and read back; the data files take their names
//! before the index, so that a new checkpoint is complete or absent. One that is replaced is not for the moment between two renames: then
//! its CRCs tell.

mod data;
mod message;
mod patch;
mod spread;
mod table;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use model_file::AtomicFile;

use super::checksum::{mask, unmask};
use super::entry::Entry;
use super::files;
use crate::error::Error;
use crate::graphdef::pb::DataType;
use crate::graphdef::wire::put_varint;
use data::{DataFile, Finished};
use message::Written;
use table::TableWriter;

pub use patch::{NewValues, WriteValues, patch};
pub use spread::TensorPart;

/// Writes a checkpoint that was not there.
#[derive(Debug)]
pub struct BundleWriter {
    prefix: PathBuf,
    shards: u32,
    /// Data files that are complete.
    finished: Vec<Finished>,
    data: DataFile,
    /// By their keys.
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl BundleWriter {
    /// Begin a checkpoint whose files begin with `prefix`, with `shards` data files (at least one).
    ///
    /// # Errors
    /// [`Error::Output`] where nothing can be written there.
    pub fn create(prefix: &Path, shards: u32) -> Result<Self, Error> {
        let shards = shards.max(1);
        let data = DataFile::create(&files::shard_of(prefix, 0, shards))?;
        let entries = BTreeMap::from([(Vec::new(), message::header(shards))]);
        Ok(Self { prefix: prefix.to_owned(), shards, finished: Vec::new(), data, entries })
    }

    /// Write what follows to the next data file. In the last one, nothing happens.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn next_shard(&mut self) -> Result<(), Error> {
        let number = self.shard() + 1;
        if number < self.shards {
            let next = DataFile::create(&files::shard_of(&self.prefix, number, self.shards))?;
            self.finished.push(std::mem::replace(&mut self.data, next).finish()?);
        }
        Ok(())
    }

    /// Which data file is written to. No more were begun than there are.
    fn shard(&self) -> u32 {
        u32::try_from(self.finished.len()).unwrap_or(u32::MAX)
    }

    /// Add a tensor, whose elements (row-major, little-endian) `values` writes.
    ///
    /// # Errors
    /// [`Error::NewValues`] where they are not as many bytes as type and shape say, or the name was there; what `values` says;
    /// [`Error::Output`].
    pub fn tensor(
        &mut self,
        name: &str,
        dtype: DataType,
        shape: &[u64],
        values: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let wrong = |found: String, expected: String| Error::NewValues { name: name.to_owned(), found, expected };
        self.check_new(name)?;
        let shown = Entry::of(dtype, shape.to_vec());
        let (count, size) = shown.elements(name)?;
        let offset = self.data.at();
        let mut out = Summed { out: &mut self.data, crc: 0 };
        values(&mut out)?;
        let crc = out.crc;
        let written = Written { shard: self.shard(), offset, size: self.data.at() - offset, crc };
        if written.size != (count * size) as u64 {
            return Err(wrong(format!("{} bytes", written.size), format!("{} bytes, by its shape", count * size)));
        }
        self.entries.insert(name.as_bytes().to_vec(), message::entry(dtype, shape, written));
        Ok(())
    }

    /// Add a tensor of strings.
    ///
    /// # Errors
    /// [`Error::NewValues`] where there are not as many as the shape says, or the name was there; [`Error::Output`].
    pub fn strings<S: AsRef<[u8]>>(&mut self, name: &str, shape: &[u64], strings: &[S]) -> Result<(), Error> {
        self.check_new(name)?;
        let count = Entry::of(DataType::DT_STRING, shape.to_vec()).count(name)?;
        if strings.len() != count {
            let (found, expected) = (format!("{} strings", strings.len()), format!("{count}, by its shape"));
            return Err(Error::NewValues { name: name.to_owned(), found, expected });
        }
        // See `strings` for the layout, and of which bytes the CRCs are.
        let (mut lengths, mut crc) = (Vec::new(), 0);
        for string in strings.iter().map(AsRef::as_ref) {
            let length = string.len() as u64;
            put_varint(&mut lengths, length);
            crc = match u32::try_from(length) {
                Ok(short) => crc32c::crc32c_append(crc, &short.to_le_bytes()),
                Err(_) => crc32c::crc32c_append(crc, &length.to_le_bytes()),
            };
        }
        let stored = mask(crc).to_le_bytes();
        let offset = self.data.at();
        self.data.write_all(&lengths).map_err(Error::writing)?;
        let mut out = Summed { out: &mut self.data, crc };
        out.write_all(&stored).map_err(Error::writing)?;
        for string in strings {
            out.write_all(string.as_ref()).map_err(Error::writing)?;
        }
        let crc = out.crc;
        let written = Written { shard: self.shard(), offset, size: self.data.at() - offset, crc };
        self.entries.insert(name.as_bytes().to_vec(), message::entry(DataType::DT_STRING, shape, written));
        Ok(())
    }

    /// Write the index, read all back, and give the files their names.
    ///
    /// # Errors
    /// [`Error::Output`]; [`Error::Verify`] where what is read is not what was written.
    pub fn finish(mut self) -> Result<(), Error> {
        while self.shard() + 1 < self.shards {
            self.next_shard()?;
        }
        self.finished.push(self.data.finish()?);
        self.entries.iter().filter(|(key, _)| !key.is_empty()).try_for_each(|(key, entry)| {
            let name = String::from_utf8_lossy(key);
            let entry = Entry::read((entry, 0), &name)?;
            let number = usize::try_from(entry.shard).unwrap_or(usize::MAX);
            let file = self.finished.get(number).ok_or_else(|| wrong(&name, "no data file"))?.map()?;
            check_crc(&file, &entry, &name)
        })?;
        let index = write_index(&files::index_of(&self.prefix), &self.entries.iter().map(|(k, v)| (&k[..], &v[..])))?;
        data::persist(self.finished, index)
    }

    fn check_new(&self, name: &str) -> Result<(), Error> {
        let error = |found: &str, expected: &str| {
            Err(Error::NewValues { name: name.to_owned(), found: found.to_owned(), expected: expected.to_owned() })
        };
        // The empty key is the header's, and one that begins with 0 a part's.
        if name.is_empty() || name.starts_with('\0') {
            return error("a name that is empty or begins with 0", "another one");
        }
        if self.entries.contains_key(name.as_bytes()) {
            return error("a tensor of that name", "each name once");
        }
        Ok(())
    }
}

/// An index under its temporary name, read back.
fn write_index<'a>(
    target: &Path,
    entries: &(impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone),
) -> Result<AtomicFile, Error> {
    let mut table = TableWriter::new(io::BufWriter::new(AtomicFile::create(target)?));
    for (key, value) in entries.clone() {
        table.put(key, value).map_err(Error::writing)?;
    }
    let out = table.finish().map_err(Error::writing)?;
    let file = out.into_inner().map_err(|error| Error::writing(error.into_error()))?;
    let written = crate::graphdef::io::Mapped::open(file.path(), u64::MAX)?;
    let read = super::table::Table::read(&written).map_err(|error| wrong("the index", &error.to_string()))?;
    let same = read.keys().eq(entries.clone().map(|(key, _)| key))
        && entries.clone().all(|(key, value)| read.get(&written, key).is_some_and(|(found, _)| found == value));
    if same { Ok(file) } else { Err(wrong("the index", "other entries than were written")) }
}

/// Whether the bytes of an entry in the file that was written have its CRC.
fn check_crc(file: &[u8], entry: &Entry, name: &str) -> Result<(), Error> {
    let start = usize::try_from(entry.offset).ok();
    let end = entry.offset.checked_add(entry.size).and_then(|end| usize::try_from(end).ok());
    let bytes = start.zip(end).and_then(|(start, end)| file.get(start..end)).ok_or_else(|| wrong(name, "its end"))?;
    let crc = if entry.dtype == DataType::DT_STRING {
        super::strings::read(bytes, entry.count(name)?).map(|strings| strings.crc)
    } else {
        Some(crc32c::crc32c(bytes))
    };
    if crc == Some(unmask(entry.crc)) { Ok(()) } else { Err(wrong(name, "other bytes than were written")) }
}

fn wrong(what: &str, found: &str) -> Error {
    Error::Verify { message: format!("in the checkpoint, {what}: found {found}") }
}

/// Counts the CRC of what passes.
struct Summed<W> {
    out: W,
    crc: u32,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
