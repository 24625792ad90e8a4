//! The commands that run graphs, beside TensorFlow in Python and NumPy.
//!
//! The library is the one of the interpreter that `QUANT_TF_PYTHON` names.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, tells its story on stderr, and maps none of its files"
)]

mod bits;
mod calibrate;
mod evaluate;
mod feeds;
mod finetune;
mod interrupted;
mod kept;
#[path = "../../../tests/common/numpy.rs"]
mod numpy;
#[path = "../../../tests/common/oracle.rs"]
#[expect(dead_code, reason = "no test here asks PyTorch")]
mod oracle;
mod reconstruct;
mod sensitivity;
mod signatures;
mod trained;
mod wrong;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use quant_math::ranges::Ranges;
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tf-rewriter");
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits.pb");
/// 697 images, with labels.
const TEST_DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/digits_test.npz");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/tensorflow/run_batches.py");

const FIND: &str = "import importlib.util as u; print(u.find_spec('tensorflow').submodule_search_locations[0])";

/// TensorFlow in Python and its library, with a folder for files.
struct TensorFlow {
    python: PathBuf,
    library: PathBuf,
    folder: TempDir,
}

impl TensorFlow {
    /// `None` where no interpreter was named and none is required.
    fn find() -> Option<Self> {
        let python = oracle::oracle(oracle::Framework::TensorFlow)?;
        let output = Command::new(&python).args(["-c", FIND]).output().unwrap();
        let library = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        assert!(library.is_dir(), "{} has no package `tensorflow`", python.display());
        Some(Self { python, library, folder: TempDir::new().unwrap() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in the folder.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// A config that measures every default op with an observer.
    fn config(&self, observer: &str) -> PathBuf {
        let text = format!(
            "[{{op_types: 'default', quant_types: ['input', 'output'], quant_bits: 8, observer: '{observer}'}}]"
        );
        self.file(&format!("{observer}.json5"), text)
    }

    /// `tf-rewriter COMMAND MODEL`, with the library of the interpreter. Python's and ours compute with the same kernels.
    fn command(&self, command: &str, model: &Path) -> Command {
        let mut program = Command::new(PROGRAM);
        program.arg(command).arg(model).arg("--tensorflow-dir").arg(&self.library).env("TF_ENABLE_ONEDNN_OPTS", "0");
        program
    }

    /// `tf-rewriter COMMAND MODEL` of a command that runs no graph.
    #[expect(clippy::unused_self, reason = "beside `command`")]
    fn plain(&self, command: &str, model: &Path) -> Command {
        let mut program = Command::new(PROGRAM);
        program.arg(command).arg(model);
        program
    }

    fn calibrate(&self, data: &Path, out: &Path) -> Command {
        self.calibrate_model(Path::new(DIGITS), data, out)
    }

    fn calibrate_model(&self, model: &Path, data: &Path, out: &Path) -> Command {
        let mut command = self.command("calibrate", model);
        command.arg("--data").arg(data).arg("-o").arg(out);
        command
    }

    /// The ranges file of a run that must go well, as bytes.
    fn ranges(&self, data: &Path, name: &str, options: &[&str]) -> Vec<u8> {
        let out = self.path(name);
        good(self.calibrate(data, &out).args(options));
        fs::read(out).unwrap()
    }

    fn script(&self, arguments: &[&dyn AsRef<OsStr>]) -> Command {
        let mut python = Command::new(&self.python);
        python.arg(SCRIPT).args(arguments.iter().map(AsRef::as_ref));
        python.env("TF_CPP_MIN_LOG_LEVEL", "3").env("TF_ENABLE_ONEDNN_OPTS", "0").env("PYTHONDONTWRITEBYTECODE", "1");
        python
    }

    /// What the script prints.
    fn ask(&self, arguments: &[&dyn AsRef<OsStr>]) -> Value {
        let output = self.script(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Run what must go well, whatever it warns of: few bits are.
fn runs(command: &mut Command) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{command:?}\n{}", stderr(&output));
}

/// Run what must go well, without a word on standard error; its standard output.
fn good(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whatever TensorFlow has to say, and whatever asks for it: with `--json`, each stream is JSON.
#[test]
fn tensorflows_log_is_not_among_json() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let config = tensorflow.config("minmax");
    let evaluate = ["--data", TEST_DATA, "--json", "-vv"];
    let calibrate = [&evaluate[..], &["-o", "ranges.json", "-c", config.to_str().unwrap()]].concat();
    let missing = ["--data", "missing.npz", "--json", "-v"];
    for (command, arguments) in [("evaluate", &evaluate[..]), ("calibrate", &calibrate), ("evaluate", &missing)] {
        let mut program = tensorflow.command(command, Path::new(DIGITS));
        program.args(arguments).current_dir(tensorflow.folder.path());
        let output = program.env_remove("TF_ENABLE_ONEDNN_OPTS").env("TF_CPP_MIN_LOG_LEVEL", "0").output().unwrap();
        for line in stderr(&output).lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "{command}: {line}");
        }
        if output.status.success() {
            serde_json::from_slice::<Value>(&output.stdout).unwrap();
        } else {
            assert!(output.stdout.is_empty() && !output.stderr.is_empty());
        }
    }
}

/// Run what must fail: exit code 1, this error first, and each of these texts somewhere.
fn fails(command: &mut Command, code: &str, texts: &[&str]) {
    let output = command.output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{command:?}\n{told}");
    assert!(told.starts_with(&format!("error[{code}]: ")), "{command:?}\n{told}");
    for text in texts {
        assert!(told.contains(text), "expected `{text}` in\n{told}");
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(bytes: &[u8]) -> Ranges {
    Ranges::parse(std::str::from_utf8(bytes).unwrap()).unwrap()
}

/// An array of an .npz file.
fn array<T: ndarray_npy::ReadableElement>(path: &Path, name: &str) -> ndarray::ArrayD<T> {
    let mut archive = ndarray_npy::NpzReader::new(fs::File::open(path).unwrap()).unwrap();
    archive.by_name::<ndarray::OwnedRepr<T>, ndarray::IxDyn>(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
