//! A file's bytes, mapped into memory.

use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use model_file::{Changed, MappedFile};

use crate::error::Error;

/// The longest graph that TensorFlow loads: a protobuf message is shorter than 2 GiB.
pub const MAX_GRAPH_BYTES: u64 = i32::MAX as u64;

/// The bytes of a file, read-only. Pages are read when they are touched, so a large file costs no memory of its own.
///
/// Another program may change the file in place meanwhile; [`Mapped::check`] tells, and what was made from the bytes counts only after
/// it. Replacing the file by renaming another one over it is safe, and is all that this project does.
#[derive(Debug, Clone)]
pub struct Mapped(Arc<Source>);

#[derive(Debug)]
enum Source {
    Map(MappedFile),
    Read(Vec<u8>),
}

impl Mapped {
    /// Maps the file; what cannot be mapped (a pipe) is read.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses, [`Error::TooLarge`] for more than `limit` bytes, before any of them is read. Both
    /// with the path.
    pub fn open(path: &Path, limit: u64) -> Result<Self, Error> {
        Self::open_file(path, limit).map_err(|error| error.in_file(path))
    }

    fn open_file(path: &Path, limit: u64) -> Result<Self, Error> {
        let io = |source| Error::Io { action: "open the model", source };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.len() > limit {
            return Err(Error::TooLarge { bytes: metadata.len(), limit });
        }
        if !metadata.is_file() {
            return read(file, limit);
        }
        if metadata.len() == 0 {
            return Ok(Self::of(Source::Read(Vec::new())));
        }
        MappedFile::new(file)
            .map(|map| Self::of(Source::Map(map)))
            .map_err(|source| Error::Io { action: "map the model", source })
    }

    /// Bytes that are in memory.
    pub(crate) fn in_memory(bytes: Vec<u8>) -> Self {
        Self::of(Source::Read(bytes))
    }

    fn of(source: Source) -> Self {
        Self(Arc::new(source))
    }

    /// `result`, which was made from the bytes: an error where the file has changed meanwhile, whatever else was found.
    ///
    /// # Errors
    /// [`Error::Changed`], or what `result` says.
    pub fn settled<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.check()?;
        result
    }

    /// Whether the file was the same all the time.
    ///
    /// # Errors
    /// What happened to it.
    pub fn check(&self) -> Result<(), Changed> {
        match &*self.0 {
            Source::Map(map) => map.check(),
            Source::Read(_) => Ok(()),
        }
    }
}

fn read(file: File, limit: u64) -> Result<Mapped, Error> {
    let mut bytes = Vec::new();
    // One more than allowed tells "too long" from "just fits".
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Io { action: "read the model", source })?;
    let length = bytes.len() as u64;
    if length > limit { Err(Error::TooLarge { bytes: length, limit }) } else { Ok(Mapped::of(Source::Read(bytes))) }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Source::Map(map) => map,
            Source::Read(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_file_is_its_bytes_and_may_be_empty() {
        assert_eq!(*Mapped::open(file(b"graph").path(), 5).unwrap(), *b"graph");
        assert_eq!(*Mapped::open(file(b"").path(), 5).unwrap(), *b"");
    }

    #[test]
    fn a_file_over_the_limit_is_refused_unread() {
        let sparse = file(b"");
        sparse.as_file().set_len(MAX_GRAPH_BYTES + 1).unwrap();
        let error = Mapped::open(sparse.path(), MAX_GRAPH_BYTES).unwrap_err();
        assert_eq!(error.code(), "E0103");
        assert_eq!(error.to_string(), "the graph is 2147483648 bytes long, expected at most 2147483647");
        sparse.as_file().set_len(MAX_GRAPH_BYTES).unwrap();
        assert_eq!(Mapped::open(sparse.path(), MAX_GRAPH_BYTES).unwrap().len() as u64, MAX_GRAPH_BYTES);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Mapped::open(Path::new("no/such/model.pb"), 5).unwrap_err();
        assert_eq!((error.code(), error.location()), ("E0101", Some("no/such/model.pb".to_owned())));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_read_up_to_the_limit() {
        assert_eq!(*Mapped::open(Path::new("/dev/null"), 5).unwrap(), *b"");
        assert_eq!(Mapped::open(Path::new("/dev/zero"), 5).unwrap_err().code(), "E0103");
    }
}
