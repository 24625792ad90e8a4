//! The state file of a folder of checkpoints: text that says which is the newest.
//!
//! ```text
//! model_checkpoint_path: "model.ckpt-200"
//! all_model_checkpoint_paths: "model.ckpt-100"
//! ```
//!
//! Source: TensorFlow 2.21, `checkpoint_state.proto` and `checkpoint_management.py`, which writes a path in the folder where the
//! folder was given so, and a whole path else.

use std::path::{Component, Path, PathBuf};

use super::lacking;
use crate::error::Error;
use crate::graphdef::text::unquote;

/// The longest that is read; TensorFlow keeps the paths of five checkpoints.
const MAX_BYTES: u64 = 1 << 20;

/// The prefix of the newest checkpoint of `folder`, by its state file.
pub(super) fn newest(state: &Path, folder: &Path) -> Result<PathBuf, Error> {
    let error = |message: String, help: &str| lacking(message, help).in_file(state);
    let text = crate::graphdef::io::Mapped::open(state, MAX_BYTES)?;
    let path = text.settled(Ok(path_in(&text))).map_err(|error| error.in_file(state))?;
    let path = path.ok_or_else(|| {
        error("there is no `model_checkpoint_path: \"…\"` in it".to_owned(), "give the prefix of a checkpoint")
    })?;
    inside(&path, folder).ok_or_else(|| {
        error(format!("it names `{}`, which is not in its folder", path.display()), "give the prefix of a checkpoint")
    })
}

fn path_in(text: &[u8]) -> Option<PathBuf> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.trim_ascii().strip_prefix(b"model_checkpoint_path")?.trim_ascii_start();
        Some(rest.strip_prefix(b":")?.trim_ascii())
    })?;
    let mut path = Vec::new();
    let quoted = line.len() >= 2 && line.starts_with(b"\"") && line.ends_with(b"\"");
    unquote(line, &mut path).ok().filter(|()| quoted)?;
    Some(String::from_utf8(path).ok()?.into())
}

/// Where that checkpoint is now. A whole path is of the machine that saved it: the files lie beside their state file.
fn inside(path: &Path, folder: &Path) -> Option<PathBuf> {
    if path.is_absolute() {
        return Some(folder.join(path.file_name()?));
    }
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (stays && path.file_name().is_some()).then(|| folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_its_folder() {
        let of = |text: &str| path_in(text.as_bytes()).and_then(|path| inside(&path, Path::new("f")));
        assert_eq!(
            of("model_checkpoint_path: \"m-2\"\nall_model_checkpoint_paths: \"m-1\"\n").unwrap(),
            Path::new("f/m-2")
        );
        assert_eq!(of("  model_checkpoint_path : \"a/m\\055\\x31\"\r\n").unwrap(), Path::new("f/a/m-1"));
        assert_eq!(of("model_checkpoint_path: \"/home/me/m-2\"").unwrap(), Path::new("f/m-2"));
        for wrong in [
            "",
            "model_checkpoint_path: m",
            "model_checkpoint_path: \"",
            "model_checkpoint_path: \"m",
            "model_checkpoint_path: \"\"",
            "model_checkpoint_path: \"../m\"",
            "model_checkpoint_path: \"a/../../m\"",
            "model_checkpoint_path: \"/\"",
            "model_checkpoint_path: \"/..\"",
            "model_checkpoint_path: \"\\q\"",
            "all_model_checkpoint_paths: \"m\"",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
