//! The files of a command, and that none of them takes the place of another.

use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use model_file::atomic::resolve;

/// What a command reads and what it writes. Links are followed: two names of one file are one file.
#[derive(Debug, Default)]
pub struct Files {
    reads: Vec<(&'static str, Identity)>,
    writes: Vec<(&'static str, PathBuf, Identity)>,
    /// Of `reads`: what an output may replace, and which.
    replaces: Option<(&'static str, &'static str)>,
}

impl Files {
    /// The model of a command, which its output may replace.
    pub fn of_model(path: impl AsRef<Path>) -> Self {
        Self::default().reads("the model", path).may_replace("the output", "the model")
    }

    /// With a file that is read, or a folder whose files are. A dash is standard input, which is no file.
    #[must_use]
    pub fn reads(mut self, what: &'static str, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        if path.is_dir() {
            let files = std::fs::read_dir(path).into_iter().flatten().flatten();
            self.reads.extend(files.filter_map(|file| Some((what, Identity::of(&file.path())?))));
        } else if path.as_os_str() != "-" {
            self.reads.extend(Identity::of(path).map(|identity| (what, identity)));
        }
        self
    }

    /// The same for a file that need not be given.
    #[must_use]
    pub fn may_read(self, what: &'static str, path: Option<impl AsRef<Path>>) -> Self {
        match path {
            Some(path) => self.reads(what, path),
            None => self,
        }
    }

    /// With a file that is written.
    #[must_use]
    pub fn writes(mut self, what: &'static str, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        self.writes.extend(Identity::of(path).map(|identity| (what, path.to_owned(), identity)));
        self
    }

    /// The same for a file that need not be asked for.
    #[must_use]
    pub fn may_write(self, what: &'static str, path: Option<impl AsRef<Path>>) -> Self {
        match path {
            Some(path) => self.writes(what, path),
            None => self,
        }
    }

    /// With leave for the file `what` to take the place of `read`, which is complete before it does.
    #[must_use]
    pub fn may_replace(mut self, what: &'static str, read: &'static str) -> Self {
        self.replaces = Some((what, read));
        self
    }

    /// Refuse a command that would put one of its files in the place of another.
    ///
    /// # Errors
    /// The first two that are one.
    pub fn check(&self) -> Result<(), Failure> {
        for (position, (what, path, identity)) in self.writes.iter().enumerate() {
            let reads = self.reads.iter().filter(|(read, _)| self.replaces != Some((what, read)));
            let others = reads.map(|(read, other)| (read, other));
            let before = self.writes.iter().take(position).map(|(before, _, other)| (before, other));
            if let Some((other, _)) = others.chain(before).find(|(_, other)| *other == identity) {
                let text = format!("{what} would take the place of {other}: they are one file");
                let diagnostic = Diagnostic::error("U0106", text).at(path.display().to_string());
                return Err(Failure::usage(diagnostic.help(format!("choose another name for {what}"))));
            }
        }
        Ok(())
    }
}

/// Which file a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// One that is there.
    #[cfg(unix)]
    Node(u64, u64),
    /// One that is not there yet, or whose system has no better way to say which it is.
    Place(PathBuf),
}

impl Identity {
    /// `None` for what is no file: folders, devices, pipes.
    fn of(path: &Path) -> Option<Self> {
        let path = resolve(path).ok()?;
        match std::fs::metadata(&path) {
            Ok(found) if !found.is_file() => None,
            #[cfg(unix)]
            Ok(found) => {
                use std::os::unix::fs::MetadataExt as _;
                Some(Self::Node(found.dev(), found.ino()))
            }
            #[cfg(not(unix))]
            Ok(_) => Some(Self::Place(path.canonicalize().ok()?)),
            Err(_) => {
                let folder = model_file::atomic::folder_of(&path).canonicalize().ok()?;
                Some(Self::Place(folder.join(path.file_name()?)))
            }
        }
    }
}
