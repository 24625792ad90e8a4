//! Temp files that a killed process left beside its target.
//!
//! A temp file is locked (`flock`) by the process that writes it, for as long as this has it open: the system lets go of the lock however
//! the process ends. So a file with a temp file's name that nobody has locked is of no use to anybody. Where the file system has no
//! locks, nothing is removed. Only Unix: elsewhere a lock would keep the file from being read back.

use std::ffi::{OsStr, OsString};
#[cfg(unix)]
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// What stands between the target's name and the end of a temp file's.
const RANDOM: usize = 6;
const END: &str = ".tmp";

/// A builder of temp files for the target `name`.
pub(super) fn builder<R>(name: &OsStr, with: impl FnOnce(&mut tempfile::Builder<'_, '_>) -> R) -> R {
    let start = start(name);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&start).suffix(END).rand_bytes(RANDOM);
    with(&mut builder)
}

fn start(name: &OsStr) -> OsString {
    let mut start = OsString::from(".");
    start.push(name);
    start.push(".");
    start
}

/// A new temp file that this process has locked.
#[cfg(unix)]
pub(super) fn locked(make: impl Fn() -> io::Result<NamedTempFile>) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::MetadataExt as _;
    /// Only a run that clears the folder in the very moment between making and locking is in the way.
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let temp = make()?;
        match temp.as_file().try_lock() {
            Err(fs::TryLockError::WouldBlock) => continue,
            // A file system without locks.
            Err(fs::TryLockError::Error(_)) => return Ok(temp),
            Ok(()) => {}
        }
        // It may have been cleared away before it was locked.
        if temp.as_file().metadata()?.nlink() > 0 {
            return Ok(temp);
        }
    }
    Err(io::Error::other("another process removes every temporary file at once"))
}

#[cfg(not(unix))]
pub(super) fn locked(make: impl Fn() -> io::Result<NamedTempFile>) -> io::Result<NamedTempFile> {
    make()
}

/// Remove the temp files for the target `name` that nobody works on. One that cannot be removed stays: it is in nobody's way.
#[cfg(unix)]
pub(super) fn clear(folder: &Path, name: &OsStr) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let start = start(name);
    for entry in entries.flatten().filter(|entry| is_temp(&entry.file_name(), &start)) {
        let path = entry.path();
        let plain = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        let file = OpenOptions::new().write(true).open(&path).ok().filter(|_| plain);
        // It is removed while it is locked: whoever has just made it then sees that it must make another one.
        if file.as_ref().is_some_and(|file: &File| file.try_lock().is_ok()) {
            drop(fs::remove_file(&path));
        }
    }
}

#[cfg(not(unix))]
pub(super) fn clear(_: &Path, _: &OsStr) {}

#[cfg(unix)]
fn is_temp(name: &OsStr, start: &OsStr) -> bool {
    let between = name.as_encoded_bytes().strip_prefix(start.as_encoded_bytes());
    let random = between.and_then(|rest| rest.strip_suffix(END.as_bytes()));
    random.is_some_and(|random| random.len() == RANDOM && random.iter().all(u8::is_ascii_alphanumeric))
}
