//! A file's bytes, mapped into memory.

use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::error::Error;

/// The longest graph that TensorFlow loads: a protobuf message is shorter than 2 GiB.
pub const MAX_GRAPH_BYTES: u64 = i32::MAX as u64;

/// The bytes of a file, read-only. Pages are read when they are touched, so a large file costs no memory of its own.
///
/// While it lives, the file must not be changed in place: bytes would change under the reader, and a file that got shorter would
/// end the process with a signal. Replacing it by renaming another file over it is safe, and is all that this project does.
#[derive(Debug)]
pub struct Mapped(Source);

#[derive(Debug)]
enum Source {
    Map(Mmap),
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
            return Ok(Self(Source::Read(Vec::new())));
        }
        map(&file).map(|map| Self(Source::Map(map))).map_err(|source| Error::Io { action: "map the model", source })
    }
}

#[expect(unsafe_code, reason = "the only way to map a file")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is private to this process and read-only, and the bytes are read as `u8`, which has no invalid values; every
    // reader checks lengths against the map, never against the file. What remains is another program that changes the file while
    // it is mapped. No program can rule that out for a file that it does not own. This project never writes into an existing file
    // (outputs are made beside it and renamed), so it cannot happen through us, and `Mapped` documents it for everybody else.
    unsafe { Mmap::map(file) }
}

fn read(file: File, limit: u64) -> Result<Mapped, Error> {
    let mut bytes = Vec::new();
    // One more than allowed tells "too long" from "just fits".
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Io { action: "read the model", source })?;
    let length = bytes.len() as u64;
    if length > limit { Err(Error::TooLarge { bytes: length, limit }) } else { Ok(Mapped(Source::Read(bytes))) }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
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
