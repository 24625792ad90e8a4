//! The commands that run archives, beside PyTorch's own observers.
//!
//! PyTorch is that of the interpreter that `QUANT_TORCH_PYTHON` names.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, tells its story on stderr, and maps none of its files"
)]

mod archives;
mod calibrate;
mod evaluate;
#[path = "../../../tests/common/numpy.rs"]
mod numpy;
#[path = "../../../tests/common/oracle.rs"]
#[expect(dead_code, reason = "no test here asks TensorFlow")]
mod oracle;
mod sensitivity;
mod wrong;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use quant_math::ranges::Ranges;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_torch-adapter");
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits_script.pt");
const TRACED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits_traced.pt");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/torch/calibrated.py");

/// PyTorch in Python, with a folder for files.
struct Torch {
    python: PathBuf,
    folder: TempDir,
}

impl Torch {
    /// `None` where no interpreter was named and none is required.
    fn find() -> Option<Self> {
        Some(Self { python: oracle::oracle(oracle::Framework::Torch)?, folder: TempDir::new().unwrap() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `tests/torch/calibrated.py` prints.
    fn script(&self, arguments: &[&OsStr]) -> String {
        let output = Command::new(&self.python).arg(SCRIPT).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Images of the digits.
    fn data(&self, name: &str, first: usize, last: usize) -> PathBuf {
        let path = self.path(name);
        let (first, last) = (first.to_string(), last.to_string());
        self.script(&["data".as_ref(), path.as_ref(), first.as_ref(), last.as_ref()]);
        path
    }

    /// A config that measures every default op with an observer.
    fn config(&self, observer: &str) -> PathBuf {
        let path = self.path(&format!("{observer}.json5"));
        let text = format!(
            "[{{op_types: 'default', quant_types: ['input', 'output'], quant_bits: 8, observer: '{observer}'}}]"
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// `torch-adapter ARGUMENTS`, with this Python.
    fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a OsStr>) -> Command {
        let mut program = Command::new(PROGRAM);
        program.args(arguments).env("QUANT_TORCH_PYTHON", &self.python);
        program
    }

    /// `torch-adapter calibrate MODEL --data DATA -o OUT`.
    fn calibrate(&self, model: &Path, data: &Path, out: &str) -> Command {
        let arguments: [&OsStr; 4] = ["calibrate".as_ref(), model.as_ref(), "--data".as_ref(), data.as_ref()];
        let mut command = self.command(arguments);
        command.arg("-o").arg(self.path(out));
        command
    }

    fn ranges(&self, name: &str) -> Ranges {
        Ranges::parse(&fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }
}

/// What a command prints that ends well.
fn told(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
