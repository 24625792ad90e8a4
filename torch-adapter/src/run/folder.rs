//! Files that are there while an archive is run.

use std::fs::File;
use std::path::PathBuf;

use model_file::atomic::Unfinished;
use tempfile::TempDir;

use crate::error::RunError;

/// A folder of files for a run, which goes with it, also where a signal ends it.
#[derive(Debug)]
pub(super) struct Folder {
    folder: TempDir,
    _unfinished: Unfinished,
}

impl Folder {
    /// A new one, among the system's temporary files.
    pub(super) fn new() -> Result<Self, RunError> {
        let make = || tempfile::Builder::new().prefix("torch-adapter-").tempdir();
        let failed = |source: std::io::Error| RunError::Io {
            action: "make a folder in".to_owned(),
            path: std::env::temp_dir(),
            message: source.to_string(),
        };
        let (folder, unfinished) = Unfinished::make(make, TempDir::path).map_err(failed)?;
        Ok(Self { folder, _unfinished: unfinished })
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Make a file in it.
    pub(super) fn create(&self, name: &str) -> Result<File, RunError> {
        let path = self.file(name);
        let made = File::options().write(true).create_new(true).open(&path);
        made.map_err(|source| RunError::Io { action: "write".to_owned(), path, message: source.to_string() })
    }
}
