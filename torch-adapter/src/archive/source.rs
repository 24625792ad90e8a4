//! The bytes of the input file.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use super::sniff::not_a_file;
use crate::error::Error;

/// The whole file, mapped or held.
pub(super) enum Source {
    Mapped(Mmap),
    Held(Vec<u8>),
}

impl Source {
    pub(super) fn map(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { action: "read the archive", source };
        let file = File::open(path).map_err(failed)?;
        let info = file.metadata().map_err(failed)?;
        if info.is_dir() {
            return Err(not_a_file(path).at(0));
        }
        if info.len() == 0 {
            return Ok(Self::Held(Vec::new()));
        }
        #[expect(unsafe_code, reason = "there is no safe way to map a file")]
        // SAFETY: the map is read-only and private. Another process that shortens the file can make a read fail with SIGBUS, which
        // ends this process; our own writers never touch an existing file in place (they write a new one and rename it).
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Ok(Self::Mapped(map))
    }
}

impl Deref for Source {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(bytes) => bytes,
        }
    }
}
