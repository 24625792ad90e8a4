//! The frameworks that the parity tests compare with, and the Python interpreters that have them.
//!
//! TensorFlow lives in a virtual environment under `target/oracles/tf`, pinned. PyTorch is whatever an interpreter on this
//! machine imports, else the distribution's package, else the one from the Python package index in the same environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::apt;
use crate::run::{note, probe, python, root, run_aside, say};

/// Names the interpreter whose `import tensorflow` the tests use.
pub(crate) const TENSORFLOW_VAR: &str = "QUANT_TF_PYTHON";
/// Names the interpreter whose `import torch` the tests use.
pub(crate) const TORCH_VAR: &str = "QUANT_TORCH_PYTHON";
/// Set to 1: a test fails instead of leaving out what needs a framework that is not there.
pub(crate) const REQUIRE_VAR: &str = "QUANT_REQUIRE_ORACLES";

/// The pip requirements of the environment. The CPU-only package exists for x86-64; elsewhere the general one has no GPU parts.
const REQUIREMENTS: [&str; 2] = if cfg!(target_arch = "x86_64") {
    ["tensorflow-cpu==2.21.*", "scikit-learn>=1.3,<2"]
} else {
    ["tensorflow==2.21.*", "scikit-learn>=1.3,<2"]
};
/// Keras 2, in which some of the tests' models are made. What it asks for is left out: TensorFlow, which it knows by another name.
const KERAS_2: &str = "tf_keras==2.21.*";
/// The Python versions that the pinned TensorFlow has wheels for.
const MINORS: std::ops::RangeInclusive<u32> = 10..=13;

const ENVIRONMENT: &str = "target/oracles/tf";
/// Written last, so that a half-made environment is never taken for a good one.
const STAMP: &str = "oracle.txt";

const IMPORT_TENSORFLOW: &str = "import tensorflow, sklearn; print(tensorflow.__version__)";
/// Loading TensorFlow takes seconds; that the packages are where they were is seen in a tenth.
const FIND_TENSORFLOW: &str = "
import importlib.metadata, importlib.util, sys
if not all(map(importlib.util.find_spec, ['tensorflow', 'sklearn', 'keras', 'numpy'])): sys.exit(1)
dists = {d.name.lower().replace('_', '-'): d.version for d in importlib.metadata.distributions()}
print(dists.get('tensorflow-cpu') or dists['tensorflow'])";
const IMPORT_TORCH: &str = "import numpy, torch; print(torch.__version__)";

/// The interpreters.
#[derive(Debug)]
pub(crate) struct Oracles {
    /// Imports TensorFlow and scikit-learn.
    pub(crate) tensorflow: PathBuf,
    /// Imports PyTorch.
    pub(crate) torch: PathBuf,
}

impl Oracles {
    /// Tells a child process where they are.
    pub(crate) fn set<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(TENSORFLOW_VAR, &self.tensorflow).env(TORCH_VAR, &self.torch)
    }
}

/// Prints what a shell needs so that `cargo test` alone uses them.
pub(crate) fn print() -> Result<()> {
    let Oracles { tensorflow, torch } = bring()?;
    for (variable, interpreter) in [(TENSORFLOW_VAR, tensorflow), (TORCH_VAR, torch)] {
        say(&format!("export {variable}='{}'", interpreter.display()))?;
    }
    Ok(())
}

/// Finds or installs both, and says where they are.
pub(crate) fn bring() -> Result<Oracles> {
    Ok(Oracles { tensorflow: tensorflow()?, torch: torch()? })
}

/// Finds or installs TensorFlow, and says where it is.
pub(crate) fn tensorflow() -> Result<PathBuf> {
    if let Some(given) = given(TENSORFLOW_VAR, IMPORT_TENSORFLOW)? {
        return Ok(found("TensorFlow", given));
    }
    let folder = root().join(ENVIRONMENT);
    let interpreter = folder.join("bin/python");
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS.join("\n"))
        && let Some(version) = probe(python(&interpreter).args(["-c", FIND_TENSORFLOW]))
    {
        keras_2(&interpreter)?;
        return Ok(found("TensorFlow", (interpreter, version)));
    }
    if folder.exists() {
        note(&format!("making {ENVIRONMENT} anew: it is incomplete, broken or of other versions"));
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {ENVIRONMENT}"))?;
    }
    let base = base_interpreter()?;
    note(&format!("installing {} into {ENVIRONMENT} with {}", REQUIREMENTS.join(" "), base.display()));
    run_aside(python(&base).args(["-m", "venv"]).arg(&folder))?;
    pip_install(&interpreter, &REQUIREMENTS)?;
    let Some(version) = probe(python(&interpreter).args(["-c", IMPORT_TENSORFLOW])) else {
        bail!("TensorFlow was installed into {ENVIRONMENT}, but `import tensorflow, sklearn` fails there");
    };
    keras_2(&interpreter)?;
    // The stamp belongs to us alone and nobody maps it.
    #[expect(clippy::disallowed_methods, reason = "a plain new file; its absence or a half of it means: make anew")]
    fs::write(&stamp, REQUIREMENTS.join("\n")).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(found("TensorFlow", (interpreter, version)))
}

/// The folder of that TensorFlow's own library.
pub(crate) fn tensorflow_library() -> Result<PathBuf> {
    const FIND: &str = "import importlib.util as u; print(u.find_spec('tensorflow').submodule_search_locations[0])";
    let interpreter = tensorflow()?;
    let found = probe(python(&interpreter).args(["-c", FIND]));
    Ok(found.with_context(|| format!("{} has no package `tensorflow`", interpreter.display()))?.into())
}

/// Finds or installs PyTorch, and says where it is.
pub(crate) fn torch() -> Result<PathBuf> {
    if let Some(given) = given(TORCH_VAR, IMPORT_TORCH)? {
        return Ok(found("PyTorch", given));
    }
    let environment = root().join(ENVIRONMENT).join("bin/python");
    let import = |interpreter: &Path| probe(python(interpreter).args(["-c", IMPORT_TORCH]));
    let distribution = Path::new("/usr/bin/python3");
    for candidate in [Path::new("python3"), distribution, &environment] {
        if let Some(version) = import(candidate) {
            return Ok(found("PyTorch", (candidate.to_owned(), version)));
        }
    }
    if apt::may_install() {
        match apt::install(&["python3-torch", "python3-numpy"]) {
            Ok(()) => {
                if let Some(version) = import(distribution) {
                    return Ok(found("PyTorch", (distribution.to_owned(), version)));
                }
                note("the distribution's PyTorch was installed, but `import torch` fails");
            }
            Err(error) => note(&format!("the distribution has no PyTorch for us: {error:#}")),
        }
    }
    note(&format!("installing torch into {ENVIRONMENT}"));
    pip_install(&environment, &["torch"])?;
    match import(&environment) {
        Some(version) => Ok(found("PyTorch", (environment, version))),
        None => bail!("PyTorch was installed into {ENVIRONMENT}, but `import torch` fails there"),
    }
}

/// The interpreter that the variable names, which must do what is asked of it.
fn given(variable: &str, import: &str) -> Result<Option<(PathBuf, String)>> {
    let Some(interpreter) = std::env::var_os(variable).filter(|value| !value.is_empty()) else { return Ok(None) };
    match probe(python(&interpreter).args(["-c", import])) {
        Some(version) => Ok(Some((interpreter.into(), version))),
        None => bail!("{variable} names `{}`, where `{import}` fails", interpreter.display()),
    }
}

fn found(name: &str, (interpreter, version): (PathBuf, String)) -> PathBuf {
    note(&format!("{name} {version}: {}", interpreter.display()));
    interpreter
}

/// A Python that can make an environment which the pinned TensorFlow installs into.
fn base_interpreter() -> Result<PathBuf> {
    let names = ["python3".to_owned(), "/usr/bin/python3".to_owned()];
    let names = names.into_iter().chain(MINORS.rev().map(|minor| format!("python3.{minor}")));
    let mut seen = Vec::new();
    let mut without_venv = None;
    for name in names {
        let Some(minor) = probe(python(&name).args(["-c", "import sys; print(*sys.version_info[:2])"])) else {
            continue;
        };
        seen.push(format!("{name} {}", minor.replace(' ', ".")));
        let fits = minor.strip_prefix("3 ").and_then(|minor| minor.parse().ok()).is_some_and(|m| MINORS.contains(&m));
        if !fits {
            continue;
        }
        if probe(python(&name).args(["-c", "import ensurepip, venv"])).is_some() {
            return Ok(name.into());
        }
        without_venv = without_venv.or(Some(name));
    }
    let range = format!("3.{} to 3.{}", MINORS.start(), MINORS.end());
    let Some(name) = without_venv else {
        bail!("no Python {range} was found, which TensorFlow needs (found: {})", seen.join(", "));
    };
    if apt::may_install() {
        // Debian keeps `ensurepip` in a package of its own.
        apt::install(&["python3-venv"])?;
        for name in ["/usr/bin/python3", &name] {
            if probe(python(name).args(["-c", "import ensurepip, venv"])).is_some() {
                return Ok(name.into());
            }
        }
    }
    bail!(
        "`{name}` has no `ensurepip`, so it cannot make a virtual environment; on Debian: apt-get install python3-venv"
    )
}

/// Finds or installs Keras 2 beside TensorFlow.
fn keras_2(interpreter: &Path) -> Result<()> {
    const FIND: &str = "import importlib.util, sys; sys.exit(importlib.util.find_spec('tf_keras') is None)";
    if probe(python(interpreter).args(["-c", FIND])).is_some() {
        return Ok(());
    }
    note(&format!("installing {KERAS_2} into {ENVIRONMENT}"));
    pip_install(interpreter, &["--no-deps", KERAS_2])
}

fn pip_install(interpreter: &Path, requirements: &[&str]) -> Result<()> {
    let options = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
    run_aside(python(interpreter).args(options).args(requirements))
}
