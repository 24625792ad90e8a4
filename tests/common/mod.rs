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

mod oracle;
pub(crate) mod tf;
pub(crate) mod torch;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use oracle::{Framework, oracle};

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

/// Every site that is left alone says why, with a code in kebab case.
pub(crate) fn assert_reasons(sites: &[quant_math::plan::Site]) {
    for site in sites {
        if let quant_math::plan::Decision::Skip(reason) = &site.decision {
            assert!(!reason.text.is_empty(), "{}", site.op);
            let kebab = reason.code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            assert!(kebab && !reason.code.is_empty(), "{}", reason.code);
        }
    }
}
