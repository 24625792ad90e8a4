//! What must not outlive the process: files and folders that are there only while something is being made.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static ALL: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn all() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A path that a signal removes before it ends the process, for as long as this lives.
#[derive(Debug)]
pub struct Unfinished(PathBuf);

impl Unfinished {
    /// Make something with a path; no signal comes between its making and its listing.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn make<T>(make: impl FnOnce() -> io::Result<T>, path: impl FnOnce(&T) -> &Path) -> io::Result<(T, Self)> {
        let mut all = all();
        let thing = make()?;
        let path = path(&thing).to_owned();
        all.insert(path.clone());
        Ok((thing, Self(path)))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        all().remove(&self.0);
    }
}

/// Remove everything that is listed, before the process ends. Nothing new can be made until `then` is done.
pub fn remove_all(then: impl FnOnce()) {
    let all = all();
    for path in all.iter() {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        // What has just got its final name is not there, and nobody could be told of what stays.
        drop(removed);
    }
    then();
}
