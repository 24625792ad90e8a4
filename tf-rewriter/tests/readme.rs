//! The README's first command prints what the README says it prints.

use std::path::Path;
use std::process::Command;

const PREFIX: &str = "$ cargo run --release -p tf-rewriter -- ";

#[test]
fn the_first_session_of_the_readme_is_real() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (_, session) = readme.split_once(PREFIX).unwrap();
    let (line, rest) = session.split_once('\n').unwrap();
    let (session, _) = rest.split_once("```").unwrap();

    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("quantized.pb");
    let words =
        line.split_whitespace().map(|word| if word == "quantized.pb" { output.to_str().unwrap() } else { word });
    let run = Command::new(env!("CARGO_BIN_EXE_tf-rewriter")).args(words).current_dir(root).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(String::from_utf8(run.stdout).unwrap(), session);
    assert!(output.exists());
}
