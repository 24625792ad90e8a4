//! The bytes of the input file.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use model_file::MappedFile;

use super::sniff::not_a_file;
use crate::error::Error;

/// The whole file, mapped or held.
#[derive(Clone)]
pub(crate) enum Source {
    Mapped(Arc<MappedFile>),
    Held(Arc<Vec<u8>>),
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
            return Ok(Self::Held(Arc::default()));
        }
        Ok(Self::Mapped(Arc::new(MappedFile::new(file).map_err(failed)?)))
    }

    /// `result`, which was made from the bytes: an error where the file has changed meanwhile, whatever else was found.
    pub(crate) fn settled<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Self::Mapped(map) = self {
            map.check()?;
        }
        result
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
