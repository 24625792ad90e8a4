//! One array of a data file, on its way from the file to a batch.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::DeflateDecoder;
use quant_math::Budget;
use zip::{CompressionMethod, ZipArchive};

use super::npy::{Head, swap_bytes, wrong};

/// An array of which samples are taken from the first to the last. Holds no more than a buffer.
pub(crate) struct Array {
    pub(crate) name: String,
    pub(crate) head: Head,
    bytes: Box<dyn Read + Send>,
    left: u64,
    /// Samples that are held at a time are counted against the file's length.
    budget: Budget,
}

impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Array").field("name", &self.name).field("head", &self.head).finish_non_exhaustive()
    }
}

impl Array {
    fn new(name: String, mut bytes: Box<dyn Read + Send>, file: u64) -> io::Result<Self> {
        let head = Head::read(&mut bytes).map_err(|error| wrong_in(&name, &error))?;
        let left = head.samples().unwrap_or(1);
        Ok(Self { name, head, bytes, left, budget: Budget::for_file(file) })
    }

    /// Samples that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Append the next `samples` samples to `to`, as little-endian bytes.
    pub(crate) fn read(&mut self, samples: u64, to: &mut Vec<u8>) -> io::Result<()> {
        let size = self.head.sample_bytes().and_then(|one| one.checked_mul(usize::try_from(samples).ok()?));
        let Some(size) = size.filter(|_| samples <= self.left) else {
            return Err(wrong(format!("`{}` is larger than memory", self.name)));
        };
        let begun = to.len();
        let held = begun.saturating_add(size) as u64;
        self.budget
            .check(held, "the samples of a batch")
            .map_err(|over| wrong(format!("`{}`: {over}: {}", self.name, over.help())))?;
        // What a head claims is not believed before the bytes are there.
        let read =
            self.bytes.by_ref().take(size as u64).read_to_end(to).map_err(|error| wrong_in(&self.name, &error))?;
        if read < size {
            return Err(wrong(format!(
                "`{}` ends early: its head says {} samples, and {} are there",
                self.name,
                self.head.samples().unwrap_or(1),
                self.head.samples().unwrap_or(1) - self.left
            )));
        }
        if self.head.big_endian
            && let Some(new) = to.get_mut(begun..)
        {
            swap_bytes(new, self.head.item_size().unwrap_or(1));
        }
        self.left -= samples;
        if self.left == 0 {
            // Reading to the end checks the sum.
            let mut rest = [0; 1];
            if self.bytes.read(&mut rest).map_err(|error| wrong_in(&self.name, &error))? > 0 {
                return Err(wrong(format!("bytes follow the last sample of `{}`", self.name)));
            }
        }
        Ok(())
    }

    /// Pass over samples.
    pub(crate) fn skip(&mut self, samples: u64) -> io::Result<()> {
        let mut buffer = Vec::new();
        let mut left = samples;
        while left > 0 {
            let now = left.min(64);
            buffer.clear();
            self.read(now, &mut buffer)?;
            left -= now;
        }
        Ok(())
    }
}

fn wrong_in(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{name}`: {error}"))
}

/// The array of a `.npy` file.
pub(crate) fn open_npy(path: &Path, name: &str) -> io::Result<Array> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Array::new(name.to_owned(), Box::new(BufReader::new(file)), length)
}

/// The names of all arrays of a `.npz` file, in the order of the archive.
pub(crate) fn names_of_npz(path: &Path) -> io::Result<Vec<String>> {
    let archive = ZipArchive::new(BufReader::new(File::open(path)?))?;
    Ok(archive.file_names().filter_map(|name| name.strip_suffix(".npy")).map(str::to_owned).collect())
}

/// The arrays of a `.npz` file that are called like one of `names`, in the order of the archive. Others are not opened: each open
/// one holds the file and a window of what it inflates.
pub(crate) fn open_npz(path: &Path, names: &BTreeSet<&str>) -> io::Result<Vec<Array>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut archive = ZipArchive::new(BufReader::new(file))?;
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        let name = entry.name().strip_suffix(".npy").filter(|name| names.contains(name));
        let Some(name) = name.map(str::to_owned) else { continue };
        if entry.encrypted() {
            return Err(wrong(format!("`{name}` is encrypted")));
        }
        let (method, sum, size) = (entry.compression(), entry.crc32(), entry.compressed_size());
        let start = entry.data_start();
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let stored = BufReader::new(file).take(size);
        let bytes: Box<dyn Read + Send> = match method {
            CompressionMethod::Stored => Box::new(Summed::new(stored, sum)),
            CompressionMethod::Deflated => Box::new(Summed::new(DeflateDecoder::new(stored), sum)),
            other => {
                return Err(wrong(format!(
                    "`{name}` is compressed by {other}, expected what `numpy.savez` or `numpy.savez_compressed` write"
                )));
            }
        };
        arrays.push(Array::new(name, bytes, length)?);
    }
    Ok(arrays)
}

/// Checks the sum of what was read when it ends.
struct Summed<R> {
    from: R,
    hasher: crc32fast::Hasher,
    expected: u32,
}

impl<R> Summed<R> {
    fn new(from: R, expected: u32) -> Self {
        Self { from, hasher: crc32fast::Hasher::new(), expected }
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(to)?;
        self.hasher.update(to.get(..read).unwrap_or_default());
        if read == 0 && !to.is_empty() && self.hasher.clone().finalize() != self.expected {
            return Err(wrong("the archive's check sum does not fit: the file is damaged"));
        }
        Ok(read)
    }
}
