//! Reader of TensorFlow checkpoints, format V2 ("tensor bundle"): what `tf.compat.v1.train.Saver`, `tf.train.Checkpoint` and
//! SavedModel write.
//!
//! ```text
//! PREFIX.index                  a LevelDB table: "" ─▶ header, name ─▶ entry (type, shape, shard, offset, size, CRC)
//! PREFIX.data-00000-of-0000n    the tensors' bytes, row-major, little-endian
//! ```
//!
//! The files are mapped: nothing is read but the index, until a tensor is asked for. Every block and every tensor has a CRC-32C,
//! and all that are read are checked; a tensor is copied before, so that no program can change what was checked. Source: TensorFlow 2.21, `tensor_bundle.proto`, `tensor_bundle.h`, and files that it wrote.

mod entry;
mod files;
mod slices;
mod table;

use std::path::{Path, PathBuf};

use quant_math::Budget;

use crate::error::{At, Error};
use crate::graphdef::io::Mapped;
use crate::graphdef::pb::DataType;
use crate::graphdef::tensor::{dtype_name, dtype_size};

use entry::{Entry, Header};
use table::Table;

/// A checkpoint.
#[derive(Debug)]
pub struct Bundle {
    index_path: PathBuf,
    index: Mapped,
    table: Table,
    shards: Vec<(PathBuf, Mapped)>,
    /// Of all data files.
    data_bytes: u64,
}

/// A tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: DataType,
    /// Outermost dimension first.
    pub shape: Vec<u64>,
    /// The elements, row-major, little-endian.
    pub bytes: Vec<u8>,
}

impl Bundle {
    /// Open the checkpoint whose files begin with `prefix` (`model.ckpt-100`, `saved_model/variables/variables`).
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where there is none, or one of a kind that is not read; [`Error::Wire`] for a damaged index;
    /// [`Error::Io`]. All with their file.
    pub fn open(prefix: &Path) -> Result<Self, Error> {
        let index_path = files::index_of(prefix)?;
        let index = Mapped::open(&index_path, u64::MAX)?;
        let in_index = |error: Error| error.in_file(&index_path);
        let table = index.settled(Table::read(&index)).map_err(in_index)?;
        let header = match table.get(b"") {
            Some(value) => Header::read(&index, value).map_err(in_index)?,
            None => return Err(in_index(damaged("the index", "no header", "an entry with the empty key", 0))),
        };
        let shard = |number| {
            let path = files::shard_of(prefix, number, header.shards);
            if !path.is_file() {
                let message =
                    format!("the checkpoint has {} data file(s), and number {number} is missing", header.shards);
                let help = "all files of a checkpoint belong together; copy them again from their source";
                return Err(Error::Checkpoint { message, help: help.into() }.in_file(&path));
            }
            let mapped = Mapped::open(&path, u64::MAX)?;
            Ok((path, mapped))
        };
        let shards: Vec<(PathBuf, Mapped)> = (0..header.shards).map(shard).collect::<Result<_, _>>()?;
        let data_bytes = shards.iter().map(|(_, data)| data.len() as u64).fold(0, u64::saturating_add);
        let bundle = Self { index_path, index, table, shards, data_bytes };
        bundle.check_total()?;
        Ok(bundle)
    }

    /// The files of the checkpoint with this prefix that are there; none where it is no checkpoint.
    pub fn files(prefix: &Path) -> Vec<PathBuf> {
        files::all_of(prefix)
    }

    /// The names of all tensors, sorted by their bytes. Names that are not UTF-8 are not listed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        // A key that begins with 0 belongs to a part of a tensor, whose whole is listed.
        let names = self.table.keys().filter(|key| !key.is_empty() && !key.starts_with(&[0]));
        names.filter_map(|key| std::str::from_utf8(key).ok())
    }

    /// A tensor; `None` if the checkpoint does not have it. The parts of a partitioned variable are put together.
    ///
    /// # Errors
    /// [`Error::Wire`] where the tensor is damaged, [`Error::Checkpoint`] for strings and other elements without a size. Both
    /// with their file.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>, Error> {
        self.index.settled(self.read(name)).map_err(|error| error.in_file(&self.index_path))
    }

    fn read(&self, name: &str) -> Result<Option<Tensor>, Error> {
        let Some(entry) = self.entry(name.as_bytes(), name)? else { return Ok(None) };
        let bytes =
            if entry.slices.is_empty() { self.bytes(&entry, name)? } else { slices::assemble(self, &entry, name)? };
        Ok(Some(Tensor { dtype: entry.dtype, shape: entry.shape, bytes }))
    }

    /// [`tensor`](Self::tensor), where it must be there.
    ///
    /// # Errors
    /// Those of [`tensor`](Self::tensor), and [`Error::NoSuchTensor`].
    pub fn require(&self, name: &str) -> Result<Tensor, Error> {
        self.tensor(name)?.ok_or_else(|| {
            let tensors = self.names().count();
            Error::NoSuchTensor { name: name.to_owned(), tensors }.in_file(&self.index_path)
        })
    }

    fn entry(&self, key: &[u8], name: &str) -> Result<Option<Entry>, Error> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let entry = Entry::read(&self.index, value, name).map_err(|error| error.in_file(&self.index_path))?;
        Ok(Some(entry))
    }

    /// The checked bytes of an entry that has no slices.
    fn bytes(&self, entry: &Entry, name: &str) -> Result<Vec<u8>, Error> {
        let in_index = |found: String, expected: String| {
            damaged(format!("tensor `{name}`"), found, expected, entry.offset_in_index).in_file(&self.index_path)
        };
        let size = entry.bytes(name).map_err(|error| error.in_file(&self.index_path))?;
        if size != entry.size {
            return Err(in_index(format!("a size of {}", entry.size), format!("{size} bytes, by its shape")));
        }
        let shard = usize::try_from(entry.shard).ok().and_then(|number| self.shards.get(number));
        let Some((path, data)) = shard else {
            return Err(in_index(format!("data file number {}", entry.shard), format!("one of {}", self.shards.len())));
        };
        let start = usize::try_from(entry.offset).ok();
        let end = entry.offset.checked_add(entry.size).and_then(|end| usize::try_from(end).ok());
        let Some(bytes) = start.zip(end).and_then(|(start, end)| data.get(start..end)) else {
            let found = format!("{} bytes from {:#x} on", entry.size, entry.offset);
            let error =
                damaged(format!("tensor `{name}`"), found, format!("a file of {} bytes", data.len()), entry.offset);
            return Err(error.in_file(path));
        };
        let bytes = bytes.to_vec();
        let crc = crc32c::crc32c(&bytes);
        if crc != table::unmask(entry.crc) {
            data.check().map_err(|changed| Error::from(changed).in_file(path))?;
            let found = format!("CRC-32C {crc:08x}");
            let expected = format!("{:08x}", table::unmask(entry.crc));
            return Err(damaged(format!("tensor `{name}`"), found, expected, entry.offset).in_file(path));
        }
        Ok(bytes)
    }

    /// Entries can share bytes of the data files: whoever reads every tensor must not get many times what is there.
    fn check_total(&self) -> Result<(), Error> {
        let budget = Budget::for_file(self.data_bytes.saturating_add(self.index.len() as u64));
        for key in self.table.keys().filter(|key| !key.is_empty()) {
            // One that is damaged, or names bytes that are not there, is an error where it is asked for.
            let entry = self.table.get(key).and_then(|value| Entry::read(&self.index, value, "").ok());
            let there = entry.and_then(|entry| {
                let (_, data) = self.shards.get(usize::try_from(entry.shard).ok()?)?;
                (entry.offset.checked_add(entry.size)? <= data.len() as u64).then_some(entry.size)
            });
            let size = there.unwrap_or(0);
            budget.take(size, "the tensors").map_err(|over| Error::from(over).in_file(&self.index_path))?;
        }
        Ok(())
    }
}

impl Entry {
    /// Bytes of the whole tensor, by type and shape.
    fn bytes(&self, name: &str) -> Result<u64, Error> {
        let size = dtype_size(self.dtype).ok_or_else(|| Error::Checkpoint {
            message: format!(
                "tensor `{name}` holds {}, whose elements have no fixed size",
                dtype_name(self.dtype as i32)
            ),
            help: "only numbers and booleans are read from checkpoints".into(),
        })?;
        let elements = self.shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        elements.and_then(|elements| elements.checked_mul(size as u64)).ok_or_else(|| {
            let found = format!("the shape {:?}", self.shape);
            damaged(format!("tensor `{name}`"), found, "less than 2^64 bytes", self.offset_in_index)
        })
    }
}

fn damaged(
    what: impl Into<std::borrow::Cow<'static, str>>,
    found: impl Into<std::borrow::Cow<'static, str>>,
    expected: impl Into<std::borrow::Cow<'static, str>>,
    offset: u64,
) -> Error {
    let at = Box::new(At { offset: Some(offset), ..At::default() });
    Error::Wire { what: what.into(), found: found.into(), expected: expected.into(), at }
}
