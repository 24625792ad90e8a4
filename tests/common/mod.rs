//! What the tests against the real frameworks share.
//!
//! Such a test asks [`oracle`] for a Python interpreter that has the framework and returns early where there is none:
//!
//! * `QUANT_TF_PYTHON` and `QUANT_TORCH_PYTHON` name the interpreters;
//! * without them the test says on stderr that it was left out;
//! * with `QUANT_REQUIRE_ORACLES=1` it fails instead.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking and tells its story on stderr"
)]
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod tf;
pub(crate) mod torch;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A framework whose own arithmetic is the measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framework {
    /// TensorFlow 2.
    TensorFlow,
    /// PyTorch.
    Torch,
}

impl Framework {
    fn variable(self) -> &'static str {
        match self {
            Self::TensorFlow => "QUANT_TF_PYTHON",
            Self::Torch => "QUANT_TORCH_PYTHON",
        }
    }
}

/// The Python interpreter that has `framework`, or `None` where none was named and none is required.
pub(crate) fn oracle(framework: Framework) -> Option<PathBuf> {
    let variable = framework.variable();
    if let Some(python) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
        return Some(python.into());
    }
    let required = std::env::var_os("QUANT_REQUIRE_ORACLES").is_some_and(|value| value == "1");
    assert!(
        !required,
        "{variable} is not set, expected a Python interpreter with {framework:?}: `cargo xtask test` sets it"
    );
    eprintln!("left out: comparison with {framework:?} ({variable} is not set; `cargo xtask test` runs it)");
    None
}

/// A file or folder of the repository, by its path from the root.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Run a Python script of the repository with `input` on its standard input; its standard output.
pub(crate) fn run_python<A: AsRef<OsStr>>(python: &Path, script: &str, arguments: &[A], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(python)
        .arg(repository(script))
        .args(arguments)
        .env("TF_CPP_MIN_LOG_LEVEL", "3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", python.display()));
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    let output = std::thread::scope(|scope| {
        // The script may answer before it has read everything, so both pipes must move at the same time. One that ends
        // early is reported by its exit status below.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("the script's output")
    });
    assert!(
        output.status.success(),
        "{script} failed with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
