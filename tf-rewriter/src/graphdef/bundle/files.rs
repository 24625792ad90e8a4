//! The files of a checkpoint, and what stands there instead where there is none.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{lacking, state};
use crate::error::Error;

const PREFIX: &str = "name a checkpoint by what its files have in common: `model.ckpt-100` for `model.ckpt-100.index` and \
     `model.ckpt-100.data-00000-of-00001`";
const INDEX: &str = ".index";

/// What the files of the checkpoint that `path` names begin with: `path` itself, or without the end of its index, or what stands in
/// the folder `path` with nothing before the dots, or what its state file says.
pub(super) fn locate(path: &Path) -> Result<PathBuf, Error> {
    if index_of(path).is_file() {
        return Ok(path.to_owned());
    }
    if let Some(prefix) = without_end(path, INDEX).filter(|_| path.is_file()) {
        return Ok(prefix);
    }
    if path.is_dir() {
        // A path that ends in its separator.
        let inside = path.join("");
        if index_of(&inside).is_file() {
            return Ok(inside);
        }
        if let Some(state) = state_of(path) {
            let prefix = state::newest(&state, path)?;
            if index_of(&prefix).is_file() {
                return Ok(prefix);
            }
            let message = format!("it names `{}`, of which there is no index here", prefix.display());
            return Err(lacking(message, "give the prefix of a checkpoint that is there").in_file(&state));
        }
    }
    Err(absent(path))
}

/// The index file.
pub(super) fn index_of(prefix: &Path) -> PathBuf {
    with_end(prefix, INDEX)
}

fn absent(prefix: &Path) -> Error {
    let absent = |message: &str, help: String| lacking(message, help).in_file(prefix);
    let name = prefix.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let shorter = name.strip_suffix(INDEX).or_else(|| name.rsplit_once(".data-").map(|(name, _)| name));
    if let Some(shorter) = shorter {
        let shorter = prefix.with_file_name(shorter);
        return absent(
            "this is one file of a checkpoint, expected their common prefix",
            format!("give `{}`", shorter.display()),
        );
    }
    if prefix.is_dir() {
        return absent("this is a folder, expected the prefix of a checkpoint", in_folder(prefix));
    }
    if prefix.is_file() {
        let help = "restore it and save it again with tf.compat.v1.train.Saver, whose default is version 2";
        return absent("this is one file without an index, as checkpoints of version 1 are", help.to_owned());
    }
    absent("there is no checkpoint with this prefix", PREFIX.to_owned())
}

fn in_folder(folder: &Path) -> String {
    // A SavedModel's folder, and the one inside it.
    for prefix in [folder.join("variables").join("variables"), folder.join("variables")] {
        if index_of(&prefix).is_file() {
            return format!("give `{}`", prefix.display());
        }
    }
    PREFIX.to_owned()
}

/// The state file of a folder of checkpoints.
fn state_of(folder: &Path) -> Option<PathBuf> {
    Some(folder.join("checkpoint")).filter(|path| path.is_file())
}

/// Data file `number` of `count`.
pub(super) fn shard_of(prefix: &Path, number: u32, count: u32) -> PathBuf {
    with_end(prefix, &format!(".data-{number:05}-of-{count:05}"))
}

/// Index and data files that are there, and the state file that led to them.
pub(super) fn all_of(path: &Path) -> Vec<PathBuf> {
    let prefix = locate(path).unwrap_or_else(|_| path.to_owned());
    let state = state_of(path).filter(|_| path.is_dir() && prefix != path.join(""));
    let (folder, name) = parts(&prefix);
    let (index, data) = (format!("{name}{INDEX}"), format!("{name}.data-"));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of_it = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name == index || name.starts_with(&data)
    });
    of_it.map(|entry| entry.path()).chain(state).collect()
}

/// The folder and the start of the files' names, which is empty where the prefix ends in a separator.
fn parts(prefix: &Path) -> (&Path, String) {
    let ends_in_separator =
        prefix.as_os_str().as_encoded_bytes().last().is_none_or(|last| std::path::is_separator(char::from(*last)));
    if ends_in_separator {
        return (prefix, String::new());
    }
    let folder = prefix.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (folder, prefix.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}

/// Of the path's text, not of its file name: a prefix may end in a separator, which `Path` leaves out.
fn with_end(prefix: &Path, end: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(end);
    path.into()
}

fn without_end(path: &Path, end: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(end)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    // With an empty name, the folder and its separator.
    Some(if folder.as_os_str().is_empty() && name.is_empty() {
        Path::new(".").join(OsStr::new(""))
    } else {
        folder.join(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_may_stand_before_the_dot() {
        assert_eq!(index_of(Path::new("a/")), Path::new("a/.index"));
        assert_eq!(without_end(Path::new("a/.index"), INDEX).unwrap().as_os_str(), "a/");
        assert_eq!(without_end(Path::new(".index"), INDEX).unwrap().as_os_str(), "./");
        assert_eq!(without_end(Path::new("m.index"), INDEX).unwrap().as_os_str(), "m");
        assert_eq!(parts(Path::new("a/")), (Path::new("a/"), String::new()));
        assert_eq!(parts(Path::new("a/m")), (Path::new("a"), "m".to_owned()));
        assert_eq!(parts(Path::new("m")), (Path::new("."), "m".to_owned()));
    }
}
