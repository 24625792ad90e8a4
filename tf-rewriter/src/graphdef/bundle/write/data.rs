//! A data file as it is written.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use model_file::AtomicFile;

use crate::error::Error;
use crate::graphdef::io::Mapped;

/// Tensors can be tiny. What comes in whole pieces, each for another place in the file, is not copied once more.
const BUFFER: usize = model_file::WRITE;

/// A data file under its temporary name.
#[derive(Debug)]
pub(super) struct DataFile {
    out: BufWriter<AtomicFile>,
    at: u64,
}

/// A file that is complete and waits for its name.
#[derive(Debug)]
pub(super) struct Finished(AtomicFile);

impl DataFile {
    pub(super) fn create(target: &Path) -> Result<Self, Error> {
        Ok(Self { out: BufWriter::with_capacity(BUFFER, AtomicFile::create(target)?), at: 0 })
    }

    /// Where the next byte will stand.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Write on from `at`.
    pub(super) fn go_to(&mut self, at: u64) -> io::Result<()> {
        if at != self.at {
            self.out.seek(SeekFrom::Start(at))?;
            self.at = at;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Finished, Error> {
        Ok(Finished(self.out.into_inner().map_err(|error| Error::writing(error.into_error()))?))
    }
}

impl Write for DataFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Finished {
    /// What was written, read back.
    pub(super) fn map(&self) -> Result<Mapped, Error> {
        Mapped::open(self.0.path(), u64::MAX)
    }
}

/// Give all files their names, in this order: the index, which makes a checkpoint of the others, is last. Where one fails, those that
/// are new are taken away again; what was replaced before stays, and its CRCs do not fit the index that is still there.
pub(super) fn persist(data: Vec<Finished>, index: AtomicFile) -> Result<(), Error> {
    let mut new = Vec::new();
    let all = || {
        for file in data.into_iter().map(|file| file.0).chain([index]) {
            let target = file.target().to_owned();
            let is_new = !target.exists();
            file.persist()?;
            if is_new {
                new.push(target);
            }
        }
        Ok(())
    };
    let done = all();
    if done.is_err() {
        for path in new {
            // The error that is told is the first one.
            drop(std::fs::remove_file(path));
        }
    }
    done
}
