//! The files of a checkpoint, and what stands there instead where there is none.

use std::path::{Path, PathBuf};

use crate::error::Error;

const PREFIX: &str = "name a checkpoint by what its files have in common: `model.ckpt-100` for `model.ckpt-100.index` and \
     `model.ckpt-100.data-00000-of-00001`";

/// The index file, which is there.
pub(super) fn index_of(prefix: &Path) -> Result<PathBuf, Error> {
    let path = with_end(prefix, ".index");
    if path.is_file() {
        return Ok(path);
    }
    let absent = |message: &str, help: String| Err(Error::Checkpoint { message: message.into(), help }.in_file(prefix));
    let name = prefix.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let shorter = name.strip_suffix(".index").or_else(|| name.rsplit_once(".data-").map(|(name, _)| name));
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
        if with_end(&prefix, ".index").is_file() {
            return format!("give `{}`", prefix.display());
        }
    }
    PREFIX.to_owned()
}

/// Data file `number` of `count`.
pub(super) fn shard_of(prefix: &Path, number: u32, count: u32) -> PathBuf {
    with_end(prefix, &format!(".data-{number:05}-of-{count:05}"))
}

/// Index and data files that are there.
pub(super) fn all_of(prefix: &Path) -> Vec<PathBuf> {
    let folder = prefix.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = prefix.file_name().map(|name| name.to_string_lossy().into_owned()) else { return Vec::new() };
    let (index, data) = (format!("{name}.index"), format!("{name}.data-"));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of_it = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name == index || name.starts_with(&data)
    });
    of_it.map(|entry| entry.path()).collect()
}

fn with_end(prefix: &Path, end: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(end);
    path.into()
}
