//! TensorFlow checkpoints, format V2 ("tensor bundle"): what `tf.compat.v1.train.Saver`, `tf.train.Checkpoint` and
//! SavedModel write.
//!
//! ```text
//! PREFIX.index                  a LevelDB table: "" ─▶ header, name ─▶ entry (type, shape, shard, offset, size, CRC)
//! PREFIX.data-00000-of-0000n    the tensors' bytes, row-major, little-endian
//! ```
//!
//! Nothing is read but the index, until a tensor is asked for; the data files are mapped when they are first needed. Every block and
//! every tensor has a CRC-32C, and all that are read are checked. [`Bundle::tensor`] copies a tensor before, so that no program can
//! change what was checked; [`Bundle::values`] shows it where it lies, checks it when its bytes are first asked for, and its reader
//! checks afterwards that the file is the same.
//! Source: TensorFlow 2.21, `tensor_bundle.proto`, `tensor_bundle.h`, and files that it wrote.

mod assemble;
mod checksum;
mod entry;
mod files;
mod located;
mod part_key;
mod place;
mod region;
mod shard;
mod slice;
mod snappy;
mod state;
mod strings;
mod table;
mod values;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quant_math::Budget;

use crate::error::{At, Error};
use crate::graphdef::io::Mapped;
use crate::graphdef::pb::DataType;

use entry::Header;
use place::Place;
use region::Region;
use shard::Shard;
use table::Table;
use values::Held;

pub use entry::{Entry, Extent};
pub use located::Located;
pub use values::Values;
pub use write::{BundleWriter, NewValues, TensorPart, WriteValues, patch};

/// A checkpoint.
#[derive(Debug)]
pub struct Bundle {
    prefix: PathBuf,
    index_path: PathBuf,
    index: Mapped,
    table: Table,
    shards: Vec<Shard>,
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
    /// Open a checkpoint, which is named by what its files begin with (`model.ckpt-100`, `saved_model/variables/variables`), by its
    /// index (`model.ckpt-100.index`), or by its folder: the newest one there, by its state file `checkpoint`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where there is none, or one of a kind that is not read; [`Error::Wire`] for a damaged index;
    /// [`Error::Io`]. All with their file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let prefix = files::locate(path)?;
        let index_path = files::index_of(&prefix);
        let index = Mapped::open(&index_path, u64::MAX)?;
        let in_index = |error: Error| error.in_file(&index_path);
        let table = index.settled(Table::read(&index)).map_err(in_index)?;
        let header = match table.get(&index, b"") {
            Some(value) => Header::read(value).map_err(in_index)?,
            None => return Err(in_index(damaged("the index", "no header", "an entry with the empty key", 0))),
        };
        let shards = (0..header.shards).map(|number| Shard::find(&prefix, number, header.shards));
        let shards: Vec<Shard> = shards.collect::<Result<_, _>>()?;
        let data_bytes = shards.iter().map(Shard::bytes).fold(0, u64::saturating_add);
        let bundle = Self { prefix, index_path, index, table, shards, data_bytes };
        bundle.check_total()?;
        Ok(bundle)
    }

    /// The files of the checkpoint that `path` names as for [`open`](Self::open), as far as they are there; none where it is no
    /// checkpoint.
    pub fn files(path: &Path) -> Vec<PathBuf> {
        files::all_of(path)
    }

    /// What the names of its files begin with. It ends in a separator where nothing stands before the dots.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Bytes of all files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.data_bytes.saturating_add(self.index.len() as u64)
    }

    /// The index, which has the checksums of all values.
    pub(crate) fn index_bytes(&self) -> &[u8] {
        &self.index
    }

    /// The names of all tensors, sorted by their bytes. Names that are not UTF-8 are not listed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        // A key that begins with 0 belongs to a part of a tensor, whose whole is listed.
        let names = self.keys().filter(|key| !key.is_empty() && !key.starts_with(&[0]));
        names.filter_map(|key| std::str::from_utf8(key).ok())
    }

    /// All keys of the index in order: the empty one of the header, those of parts, which begin with a 0, and names.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.table.keys()
    }

    /// What the index says of a tensor or a part; `None` if it does not have it.
    ///
    /// # Errors
    /// [`Error::Wire`] where the entry is damaged, with its file.
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        let key = key.as_ref();
        if key.is_empty() {
            return Ok(None);
        }
        let entry = self.entry_named(key, &String::from_utf8_lossy(key));
        self.of_index(entry)
    }

    /// A tensor; `None` if the checkpoint does not have it. The parts of a partitioned variable are put together.
    ///
    /// # Errors
    /// [`Error::Wire`] where the tensor is damaged, [`Error::Checkpoint`] for strings and other elements without a size. Both
    /// with their file.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor>, Error> {
        self.of_index(self.read(name))
    }

    fn read(&self, name: &str) -> Result<Option<Tensor>, Error> {
        let Some(entry) = self.entry_named(name.as_bytes(), name)? else { return Ok(None) };
        let whole = self.whole(&entry, name)?;
        let bytes = if entry.slices.is_empty() {
            self.place(&entry, name)?.copy()?
        } else {
            match assemble::assemble(self, &entry, &whole, name)? {
                Held::Owned(bytes) => bytes,
                held @ Held::Mapped { .. } => {
                    let values = Values { dtype: entry.dtype, shape: Vec::new(), held };
                    let bytes = values.bytes()?.to_vec();
                    values.check()?;
                    bytes
                }
            }
        };
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

    /// A tensor, or the part of it that RestoreV2's `shape_and_slice` names (`"4 5 0,2:-"`; empty: all of it), where it lies in a
    /// data file if its elements lie side by side; `None` if the checkpoint does not have the tensor. What lies there is not read before its
    /// [`bytes`](Values::bytes) are asked for, which checks its CRC.
    ///
    /// # Errors
    /// Those of [`tensor`](Self::tensor), and [`Error::NoSuchPart`].
    pub fn values(&self, name: &str, shape_and_slice: &str) -> Result<Option<Values>, Error> {
        self.of_index(self.part(name, shape_and_slice))
    }

    fn part(&self, name: &str, shape_and_slice: &str) -> Result<Option<Values>, Error> {
        let Some(entry) = self.entry_named(name.as_bytes(), name)? else { return Ok(None) };
        let (_, size) = entry.elements(name).map_err(|error| error.in_file(&self.index_path))?;
        let wanted = slice::region(shape_and_slice, &entry.shape, name);
        let wanted = wanted.map_err(|error| error.in_file(&self.index_path))?;
        let held = if entry.slices.is_empty() {
            let place = self.place(&entry, name)?;
            if let Some(elements) = wanted.contiguous() {
                Held::Mapped { entry: Arc::new(place), range: elements.start * size..elements.end * size }
            } else {
                let all = place.bytes()?;
                let rows = wanted.rows().map(|row| all.get(row.start * size..row.end * size).unwrap_or_default());
                let bytes = rows.collect::<Vec<_>>().concat();
                place.check()?;
                Held::Owned(bytes)
            }
        } else {
            assemble::assemble(self, &entry, &wanted, name)?
        };
        Ok(Some(Values { dtype: entry.dtype, shape: wanted.shape(), held }))
    }

    /// The strings of a tensor; `None` if the checkpoint does not have it.
    ///
    /// # Errors
    /// [`Error::Wire`] where the tensor is damaged, [`Error::Checkpoint`] where it holds something else. Both with their file.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, Error> {
        self.of_index(self.read_strings(name))
    }

    fn read_strings(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let Some(entry) = self.entry_named(name.as_bytes(), name)? else { return Ok(None) };
        if entry.dtype != DataType::DT_STRING {
            let message = format!("tensor `{name}` holds {:?}, expected strings", entry.dtype);
            return Err(lacking(message, "the checkpoint must be of this very model").in_file(&self.index_path));
        }
        let count = entry.count(name).map_err(|error| error.in_file(&self.index_path))?;
        let place = self.place(&entry, name)?;
        let bytes = place.bytes()?;
        let budget = Budget::for_file(self.data_bytes);
        let all = (count as u64).saturating_mul(size_of::<Vec<u8>>() as u64).saturating_add(entry.size);
        budget.take(all, "the strings").map_err(|over| Error::from(over).in_file(&self.index_path))?;
        let spans = strings::read(bytes, count).map(|strings| strings.spans).unwrap_or_default();
        let strings = spans.into_iter().map(|span| bytes.get(span).unwrap_or_default().to_vec()).collect();
        place.check()?;
        Ok(Some(strings))
    }

    /// Whether all files that were read were the same all the time.
    ///
    /// # Errors
    /// [`Error::Changed`], with its file.
    pub fn check(&self) -> Result<(), Error> {
        self.of_index(Ok(()))?;
        self.shards.iter().try_for_each(Shard::check)
    }

    /// `result`, which was made from its bytes: an error where a file has changed meanwhile, whatever else was found.
    ///
    /// # Errors
    /// [`Error::Changed`], or what `result` says.
    pub fn settled<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.check()?;
        result
    }

    /// `result`, which was made from the index.
    fn of_index<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.index.settled(result).map_err(|error| error.in_file(&self.index_path))
    }

    /// The entry of `key`, which is `name` or a part of it.
    fn entry_named(&self, key: &[u8], name: &str) -> Result<Option<Entry>, Error> {
        let Some(value) = self.table.get(&self.index, key) else { return Ok(None) };
        let entry = Entry::read(value, name).map_err(|error| error.in_file(&self.index_path))?;
        Ok(Some(entry))
    }

    /// All of a tensor of elements with a size.
    fn whole(&self, entry: &Entry, name: &str) -> Result<Region, Error> {
        entry.elements(name).map_err(|error| error.in_file(&self.index_path))?;
        slice::region("", &entry.shape, name).map_err(|error| error.in_file(&self.index_path))
    }

    /// Where the bytes of an entry are that has no slices.
    fn place(&self, entry: &Entry, name: &str) -> Result<Place, Error> {
        let in_index = |found: String, expected: String| {
            damaged(format!("tensor `{name}`"), found, expected, entry.offset_in_index).in_file(&self.index_path)
        };
        // How long strings are, they say themselves.
        if entry.dtype != DataType::DT_STRING {
            let (count, size) = entry.elements(name).map_err(|error| error.in_file(&self.index_path))?;
            let size = (count * size) as u64;
            if size != entry.size {
                return Err(in_index(format!("a size of {}", entry.size), format!("{size} bytes, by its shape")));
            }
        }
        let shard = usize::try_from(entry.shard).ok().and_then(|number| self.shards.get(number));
        let Some(shard) = shard else {
            return Err(in_index(format!("data file number {}", entry.shard), format!("one of {}", self.shards.len())));
        };
        let start = usize::try_from(entry.offset).ok();
        let end = entry.offset.checked_add(entry.size).and_then(|end| usize::try_from(end).ok());
        let place = match start.zip(end) {
            Some((start, end)) => Place::new(shard, start..end, entry, name)?,
            None => None,
        };
        place.ok_or_else(|| {
            let found = format!("{} bytes from {:#x} on", entry.size, entry.offset);
            let expected = format!("a file of {} bytes", shard.bytes());
            damaged(format!("tensor `{name}`"), found, expected, entry.offset).in_file(shard.path())
        })
    }

    /// Entries can share bytes of the data files: whoever reads every tensor must not get many times what is there.
    fn check_total(&self) -> Result<(), Error> {
        let budget = Budget::for_file(self.data_bytes.saturating_add(self.index.len() as u64));
        for key in self.keys().filter(|key| !key.is_empty()) {
            // One that is damaged, or names bytes that are not there, is an error where it is asked for.
            let entry = self.table.get(&self.index, key).and_then(|value| Entry::read(value, "").ok());
            let there = entry.and_then(|entry| {
                let shard = self.shards.get(usize::try_from(entry.shard).ok()?)?;
                (entry.offset.checked_add(entry.size)? <= shard.bytes()).then_some(entry.size)
            });
            let size = there.unwrap_or(0);
            budget.take(size, "the tensors").map_err(|over| Error::from(over).in_file(&self.index_path))?;
        }
        Ok(())
    }
}

/// What is no checkpoint, or none that is read.
fn lacking(message: impl Into<String>, help: impl Into<String>) -> Error {
    Error::Checkpoint { message: message.into(), help: help.into() }
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
