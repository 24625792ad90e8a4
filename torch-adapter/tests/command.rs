//! The binary where the system or the config stands against it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_torch-adapter");
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits_script.pt");

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn no_space_left() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.pt");
    quant_cli::atomic::write(&out, b"old").unwrap();
    // A limit on the size of files stands for a full disk: the write fails in the middle. The unit is 512 bytes.
    let mut shell = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 32; exec \"$0\" compress \"$1\" -o \"$2\" -Q naive";
    let output = shell.args(["-c", script, PROGRAM, DIGITS]).arg(&out).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("error[O0104]: cannot write `{}`", out.display())), "{said}");
    assert!(said.contains("\n  help: free some space"), "{said}");
    assert_eq!(names(folder.path()), ["out.pt"]);
    assert_eq!(fs::read(&out).unwrap(), b"old");
}

#[test]
fn an_observer_that_training_cannot_follow() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let plan = |observer: &str| {
        let entry = format!("[{{op_types: 'default', quant_types: ['output'], quant_bits: 8{observer}}}]");
        quant_cli::atomic::write(&config, entry.as_bytes()).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["plan", DIGITS, "-Q", "qat", "--emit", "training", "--json", "-c"]).arg(&config);
        command.output().unwrap()
    };
    let refused = plan(", observer: 'percentile'");
    assert!(!refused.status.success());
    let said = format!("{}{}", String::from_utf8_lossy(&refused.stdout), stderr(&refused));
    assert!(said.contains("\"T0501\"") && said.contains("config_list[0].observer asks for `percentile`"), "{said}");
    for (observer, learnt) in [("", "\"observer\":\"ema\""), (", observer: 'minmax'", "\"observer\":\"minmax\"")] {
        let output = plan(observer);
        let said = String::from_utf8_lossy(&output.stdout).replace([' ', '\n'], "");
        assert!(output.status.success() && said.contains(learnt), "{said}{}", stderr(&output));
    }
}
