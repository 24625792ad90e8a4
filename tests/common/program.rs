//! A program as a user calls it.

use std::path::Path;
use std::process::{Command, Output};

/// Run `program` in `folder` with these words, in which `EXAMPLES` is the folder of that name.
pub(crate) fn run(program: &str, folder: &Path, words: &str) -> Output {
    let words = words.replace("EXAMPLES", concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"));
    Command::new(program).current_dir(folder).args(words.split_whitespace()).output().unwrap()
}

/// The same, which must succeed.
#[track_caller]
pub(crate) fn succeeds(program: &str, folder: &Path, words: &str) -> Output {
    let output = run(program, folder, words);
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
