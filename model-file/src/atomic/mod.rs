//! Output files that are complete or absent.
//!
//! ```text
//! create: temp file beside the target ──▶ write ──▶ (read back and check) ──▶ persist: fsync, rename
//! ```
//!
//! Until [`AtomicFile::persist`] the target is untouched, so it may be the very file that is being read, even through a memory map.
//! A program that calls for it removes temp files when a signal ends it; what a killed process left is removed by the next one that
//! writes the same target. Nothing here knows of command lines or terminals.

mod abandoned;
mod folder;
mod unfinished;
mod writeback;

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use writeback::Writeback;

pub use folder::AtomicFolder;
pub use unfinished::Unfinished;

pub use unfinished::remove_all as remove_unfinished;

/// Why an output file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AtomicError {
    /// The folder does not exist, or nothing may be written there.
    #[error("cannot create a file in `{}`", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The target is there and is no regular file.
    #[error("`{}` is {what}, expected a file or nothing", path.display())]
    NotAFile {
        /// The target.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The target is there and is no folder.
    #[error("`{}` is a file, expected a folder or nothing", path.display())]
    NotAFolder {
        /// The target.
        path: PathBuf,
    },
    /// The target's path leads nowhere: no file name, or a chain of symbolic links without end.
    #[error("`{}` is not the path of a file", path.display())]
    Path {
        /// The target.
        path: PathBuf,
    },
    /// The bytes could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl AtomicError {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "O0101",
            Self::NotAFile { .. } => "O0102",
            Self::Path { .. } => "O0103",
            Self::Write { .. } => "O0104",
            Self::NotAFolder { .. } => "O0105",
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<&'static str> {
        let kind = match self {
            Self::Folder { source, .. } | Self::Write { source, .. } => source.kind(),
            Self::NotAFile { .. } => {
                return Some("the output replaces a file as a whole; name a file, or `-` for standard output");
            }
            Self::NotAFolder { .. } => return Some("the output is a folder; name one, or a file that ends in `.pb`"),
            Self::Path { .. } => return None,
        };
        match kind {
            ErrorKind::NotFound => Some("create the folder first"),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Some("the output is written beside its final name, so its folder must be writable; choose another one")
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Some("free some space or choose another folder; the old output, if there was one, is as it was")
            }
            _ => None,
        }
    }
}

/// A file that takes its name only when it is complete. Dropped before [`persist`](Self::persist), it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    temp: NamedTempFile,
    unfinished: Unfinished,
    target: PathBuf,
    /// Those of the file that is replaced.
    permissions: Option<Permissions>,
    writeback: Writeback,
}

impl AtomicFile {
    /// Begin a file that will be `target`. A symbolic link is followed: what it points to will be replaced, not the link.
    ///
    /// # Errors
    /// [`AtomicError::NotAFile`] for a target that is a folder, a device or a pipe, [`AtomicError::Path`] for one without a name,
    /// [`AtomicError::Write`] where no temp file can be made beside it.
    pub fn create(target: &Path) -> Result<Self, AtomicError> {
        let target = resolve(target)?;
        let permissions = match fs::metadata(&target) {
            Ok(found) if found.is_file() => Some(found.permissions()),
            Ok(found) => {
                let what = if found.is_dir() { "a folder" } else { "a device or pipe" };
                return Err(AtomicError::NotAFile { path: target, what });
            }
            Err(_) => None,
        };
        let Some(name) = target.file_name() else { return Err(AtomicError::Path { path: target }) };
        let folder = folder_of(&target);
        abandoned::clear(folder, name);
        match temp(folder, name) {
            Ok((temp, unfinished)) => {
                Ok(Self { temp, unfinished, target, permissions, writeback: Writeback::default() })
            }
            // The crate adds the folder to the message; ours has it already.
            Err(source) => Err(AtomicError::Folder { folder: folder.to_owned(), source: plain(source) }),
        }
    }

    /// The file while it is written.
    pub fn file(&self) -> &File {
        self.temp.as_file()
    }

    /// Where the bytes are until [`persist`](Self::persist), for reading them back.
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// The final name, symbolic links resolved.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Bring the bytes to the disk and give the file its name. On an error the old file is as it was.
    ///
    /// # Errors
    /// [`AtomicError::Write`].
    pub fn persist(mut self) -> Result<(), AtomicError> {
        let failed = |source| AtomicError::Write { path: self.target.clone(), source };
        self.temp.flush().map_err(failed)?;
        if let Some(permissions) = self.permissions.take() {
            self.temp.as_file().set_permissions(permissions).map_err(failed)?;
        }
        self.writeback.finish().map_err(failed)?;
        self.temp.as_file().sync_all().map_err(failed)?;
        self.temp.persist(&self.target).map_err(|error| failed(error.error))?;
        drop(self.unfinished);
        // The rename itself reaches the disk with the folder. Not every file system can do that on demand, and the file is complete
        // either way, so this is no reason to fail.
        if let Ok(folder) = File::open(folder_of(&self.target)) {
            drop(folder.sync_all());
        }
        Ok(())
    }

    fn named(&self, source: io::Error) -> io::Error {
        io::Error::new(source.kind(), AtomicError::Write { path: self.target.clone(), source })
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.temp.as_file_mut().write(bytes).map_err(|error| self.named(error))?;
        self.writeback.wrote(self.temp.as_file(), written);
        Ok(written)
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let written = self.temp.as_file_mut().write_vectored(bytes).map_err(|error| self.named(error))?;
        self.writeback.wrote(self.temp.as_file(), written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temp.as_file_mut().flush().map_err(|error| self.named(error))
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.temp.as_file_mut().seek(to).map_err(|error| self.named(error))
    }
}

/// Refuse a target that cannot be made, before hours of work are done for it. Nothing is left there.
///
/// # Errors
/// Those of [`AtomicFile::create`].
pub fn probe(target: &Path) -> Result<(), AtomicError> {
    AtomicFile::create(target).map(drop)
}

/// Write `bytes` as the whole of `target`.
///
/// # Errors
/// Those of [`AtomicFile::create`] and [`AtomicFile::persist`].
pub fn write(target: &Path, bytes: &[u8]) -> Result<(), AtomicError> {
    let mut file = AtomicFile::create(target)?;
    let written = file.temp.as_file_mut().write_all(bytes);
    written.map_err(|source| AtomicError::Write { path: file.target.clone(), source })?;
    file.persist()
}

/// A temp file for the target `name`, locked and listed.
fn temp(folder: &Path, name: &std::ffi::OsStr) -> io::Result<(NamedTempFile, Unfinished)> {
    let make = || {
        abandoned::builder(name, |builder| {
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                // What a plainly created file gets; the process's umask takes its part.
                builder.permissions(Permissions::from_mode(0o666));
            }
            builder.tempfile_in(folder)
        })
    };
    Unfinished::make(|| abandoned::locked(make), NamedTempFile::path)
}

/// The folder in which a target lies; `.` for a bare name.
pub fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The system's error without the text that was put around it.
fn plain(error: io::Error) -> io::Error {
    match error.raw_os_error().or_else(|| raw_below(&error)) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error,
    }
}

fn raw_below(error: &io::Error) -> Option<i32> {
    let mut source = error.get_ref().and_then(|inner| inner.source());
    while let Some(inner) = source {
        if let Some(code) = inner.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        source = inner.source();
    }
    None
}

/// The target behind symbolic links, which are followed by hand, since what the last one points to need not exist.
///
/// # Errors
/// A chain of links without end.
pub fn resolve(target: &Path) -> Result<PathBuf, AtomicError> {
    /// As many as Linux follows.
    const LONGEST_CHAIN: usize = 40;
    let mut path = target.to_owned();
    for _ in 0..LONGEST_CHAIN {
        match fs::read_link(&path) {
            // An absolute link replaces the whole path.
            Ok(link) => path = folder_of(&path).join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(AtomicError::Path { path: target.to_owned() })
}
