//! A data file, mapped when it is first read.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use model_file::Changed;

use super::{files, lacking};
use crate::error::Error;
use crate::graphdef::io::Mapped;

/// A data file, which was there when the checkpoint was opened.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    /// Its length then.
    bytes: u64,
    map: OnceLock<Mapped>,
}

impl Shard {
    /// Data file `number` of `count`.
    pub(super) fn find(prefix: &Path, number: u32, count: u32) -> Result<Self, Error> {
        let path = files::shard_of(prefix, number, count);
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => Ok(Self { path, bytes: found.len(), map: OnceLock::new() }),
            _ => {
                let message = format!("the checkpoint has {count} data file(s), and number {number} is missing");
                Err(lacking(message, "all files of a checkpoint belong together; copy them again from their source")
                    .in_file(&path))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its bytes.
    pub(super) fn map(&self) -> Result<&Mapped, Error> {
        if let Some(map) = self.map.get() {
            return Ok(map);
        }
        let map = Mapped::open(&self.path, u64::MAX)?;
        if map.len() as u64 != self.bytes {
            let changed = Changed::Length { before: self.bytes, now: map.len() as u64 };
            return Err(Error::from(changed).in_file(&self.path));
        }
        Ok(self.map.get_or_init(|| map))
    }

    /// Whether the file was the same all the time, if it was read.
    pub(super) fn check(&self) -> Result<(), Error> {
        let checked = self.map.get().map_or(Ok(()), Mapped::check);
        checked.map_err(|changed| Error::from(changed).in_file(&self.path))
    }
}
