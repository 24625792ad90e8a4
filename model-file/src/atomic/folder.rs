//! Folders that are complete or absent, as a whole.
//!
//! ```text
//! create: a folder beside the target ──▶ files ──▶ persist: fsync, what others have put into the target, exchange of the names
//! ```
//!
//! Where the system can exchange two names, a reader finds the old folder or the new one at every moment. Elsewhere the old one is put aside for the
//! time between two renames, and put back if the second fails.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{AtomicError, Unfinished, abandoned, folder_of, resolve};

/// A folder that takes its name only when it is complete. Dropped before [`persist`](Self::persist), it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFolder {
    temp: TempDir,
    unfinished: Unfinished,
    target: PathBuf,
}

impl AtomicFolder {
    /// Begin a folder that will be `target`, which may be there and stays as it is until then. A symbolic link is followed.
    ///
    /// # Errors
    /// [`AtomicError::NotAFolder`] for a target that is a file, [`AtomicError::Path`] for one without a name, [`AtomicError::Folder`] where no
    /// folder can be made beside it.
    pub fn create(target: &Path) -> Result<Self, AtomicError> {
        let target = resolve(target)?;
        if fs::metadata(&target).is_ok_and(|found| !found.is_dir()) {
            return Err(AtomicError::NotAFolder { path: target });
        }
        let Some(name) = target.file_name() else { return Err(AtomicError::Path { path: target }) };
        let beside = folder_of(&target).to_owned();
        let make = || {
            abandoned::builder(name, |builder| {
                #[cfg(unix)]
                if !target.exists() {
                    use std::os::unix::fs::PermissionsExt as _;
                    // What a plainly created folder gets; the process's umask takes its part. One that takes the place of another is its
                    // maker's alone until it has that one's permissions.
                    builder.permissions(fs::Permissions::from_mode(0o777));
                }
                builder.tempdir_in(&beside)
            })
        };
        match Unfinished::make(make, TempDir::path) {
            Ok((temp, unfinished)) => Ok(Self { temp, unfinished, target }),
            Err(source) => Err(AtomicError::Folder { folder: beside, source: super::plain(source) }),
        }
    }

    /// Where the files are until [`persist`](Self::persist).
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// The final name, symbolic links resolved.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Bring the files to the disk and give the folder its name. What the target holds and `replaced` does not name (by its path in the folder) is
    /// in the new one too. On an error the old folder is as it was.
    ///
    /// # Errors
    /// [`AtomicError::Write`].
    pub fn persist(self, replaced: &dyn Fn(&Path) -> bool) -> Result<(), AtomicError> {
        let failed = |source| AtomicError::Write { path: self.target.clone(), source };
        let is_there = self.target.is_dir();
        if is_there {
            keep_others(&self.target, self.temp.path(), replaced).map_err(failed)?;
            if let Ok(found) = fs::metadata(&self.target) {
                fs::set_permissions(self.temp.path(), found.permissions()).map_err(failed)?;
            }
        }
        for path in below(self.temp.path()).map_err(failed)? {
            // A folder is flushed like a file; not every file system can.
            match File::open(&path).and_then(|file| file.sync_all()) {
                Err(error) if !path.is_dir() => return Err(failed(error)),
                _ => {}
            }
        }
        if is_there {
            exchange(self.temp.path(), &self.target).map_err(failed)?;
        } else {
            fs::rename(self.temp.path(), &self.target).map_err(failed)?;
        }
        if let Ok(folder) = File::open(folder_of(&self.target)) {
            drop(folder.sync_all());
        }
        // After an exchange, the old folder has the temp folder's name, and goes with it.
        drop(self.temp);
        drop(self.unfinished);
        Ok(())
    }
}

/// Everything below a folder, folders after what is in them, and the folder itself.
fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
        found.push(next);
    }
    Ok(found)
}

/// Put the files of `old` that are not `replaced`, and not in `new` already, into `new`: as a second name of the same file where that can be.
fn keep_others(old: &Path, new: &Path, replaced: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for path in below(old)? {
        let Ok(inner) = path.strip_prefix(old) else { continue };
        if replaced(inner) || inner.as_os_str().is_empty() || !seen.insert(inner.to_owned()) {
            continue;
        }
        let place = new.join(inner);
        if path.is_dir() && !path.is_symlink() {
            fs::create_dir_all(&place)?;
            continue;
        }
        if fs::symlink_metadata(&place).is_ok() {
            continue;
        }
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        if fs::hard_link(&path, &place).is_err() {
            fs::copy(&path, &place)?;
        }
    }
    Ok(())
}

/// Let two folders change their names.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        // A file system that cannot do it says so, and the slower way is taken.
        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    let mut aside = new.as_os_str().to_owned();
    aside.push(".old");
    let aside = PathBuf::from(aside);
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create_new(path).unwrap();
        io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_there_when_it_is_complete() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("model");
        let folder = AtomicFolder::create(&target).unwrap();
        put(&folder.path().join("a"), "1");
        assert!(!target.exists());
        folder.persist(&|_| true).unwrap();
        assert_eq!((names(&target), names(place.path())), (vec!["a".to_owned()], vec!["model".to_owned()]));
        drop(AtomicFolder::create(&target).unwrap());
        assert_eq!(names(place.path()), ["model"]);
    }

    #[test]
    fn what_others_put_there_survives() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("model");
        put(&target.join("a"), "old");
        put(&target.join("old"), "old");
        put(&target.join("notes/mine"), "mine");
        let folder = AtomicFolder::create(&target).unwrap();
        put(&folder.path().join("a"), "new");
        folder.persist(&|path| path == Path::new("a") || path == Path::new("old")).unwrap();
        assert_eq!(names(&target), ["a", "notes"]);
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "new");
        assert_eq!(fs::read_to_string(target.join("notes/mine")).unwrap(), "mine");
        assert_eq!(names(place.path()), ["model"]);
    }

    #[test]
    fn a_file_is_no_folder() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("model");
        put(&target, "file");
        assert_eq!(AtomicFolder::create(&target).unwrap_err().code(), "O0105");
        assert_eq!(AtomicFolder::create(&place.path().join("no/model")).unwrap_err().code(), "O0101");
    }

    #[test]
    fn names_are_exchanged_without_the_systems_help_too() {
        let place = tempfile::tempdir().unwrap();
        let (new, old) = (place.path().join("new"), place.path().join("old"));
        put(&new.join("a"), "new");
        put(&old.join("a"), "old");
        exchange(&new, &old).unwrap();
        assert_eq!(fs::read_to_string(old.join("a")).unwrap(), "new");
        assert_eq!(fs::read_to_string(new.join("a")).unwrap(), "old");
    }
}
