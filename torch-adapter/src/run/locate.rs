//! Where a Python with PyTorch is.
//!
//! Looked at in this order: the interpreter that was named, `QUANT_TORCH_PYTHON`, that of the virtual environment (`VIRTUAL_ENV`), and every
//! `python3` on the path.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::RunError;

/// The variable that names an interpreter.
pub const VARIABLE: &str = "QUANT_TORCH_PYTHON";

const NAME: &str = "python3";

/// One place that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Why it was looked at (`--python`, `VIRTUAL_ENV`, …).
    pub origin: &'static str,
    /// The interpreter, where there was one.
    pub python: Option<PathBuf>,
    /// Why it is not used; `None` where it is.
    pub why_not: Option<String>,
}

/// The interpreter, with every place that was looked at before it was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// In order; only the last can be used.
    pub places: Vec<Place>,
}

impl Search {
    /// Look for an interpreter; one that was named (`--python`) is looked at alone.
    pub fn new(named: Option<&Path>) -> Self {
        let mut search = Self::default();
        if let Some(python) = named {
            search.look("--python", python);
            return search;
        }
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        match variable(VARIABLE) {
            Some(python) => search.look(VARIABLE, Path::new(&python)),
            None => search.nothing(VARIABLE),
        }
        match variable("VIRTUAL_ENV") {
            Some(home) => search.look("VIRTUAL_ENV", &Path::new(&home).join("bin").join(NAME)),
            None => search.nothing("VIRTUAL_ENV"),
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let mut seen: Vec<PathBuf> = Vec::new();
        for python in env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(NAME)) {
            if python.is_file() && !seen.contains(&python) {
                search.look("PATH", &python);
                seen.push(python);
            }
        }
        search
    }

    /// The interpreter that has PyTorch.
    ///
    /// # Errors
    /// [`RunError::NoTorch`].
    pub fn python(&self) -> Result<&Path, RunError> {
        let found = self.places.iter().find(|place| place.why_not.is_none()).and_then(|place| place.python.as_deref());
        found.ok_or_else(|| {
            let told = |place: &Place| {
                let why = place.why_not.as_deref().unwrap_or_default();
                match &place.python {
                    Some(python) => format!("{} (`{}`: {why})", place.origin, python.display()),
                    None => format!("{} ({why})", place.origin),
                }
            };
            RunError::NoTorch { looked: self.places.iter().map(told).collect::<Vec<_>>().join(", ") }
        })
    }

    /// The version of the PyTorch that was found, by importing it.
    ///
    /// # Errors
    /// [`RunError::NoTorch`]; [`RunError::Ended`] where it cannot be imported.
    pub fn version(&self) -> Result<String, RunError> {
        let python = self.python()?;
        let ended = |message: String| RunError::Ended { python: python.to_owned(), message };
        let mut command = Command::new(python);
        command.args(["-c", "import numpy, torch; print(torch.__version__)"]).stdin(Stdio::null());
        let output = command.output().map_err(|error| ended(error.to_string()))?;
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().lines().next_back().unwrap_or_default().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(ended(text(&output.stderr))) }
    }

    fn look(&mut self, origin: &'static str, python: &Path) {
        if self.python().is_err() {
            let why_not = lacks(python.as_os_str());
            self.places.push(Place { origin, python: Some(python.to_owned()), why_not });
        }
    }

    fn nothing(&mut self, origin: &'static str) {
        self.places.push(Place { origin, python: None, why_not: Some("not set".to_owned()) });
    }
}

/// What an interpreter lacks. Packages are found, not imported, which would take seconds.
fn lacks(python: &OsStr) -> Option<String> {
    const FIND: &str =
        "import importlib.util as u; print(*(n for n in ('torch', 'numpy') if not u.find_spec(n)), 'asked')";
    let output = Command::new(python).args(["-c", FIND]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    match output {
        Err(error) => Some(format!("cannot be run: {error}")),
        Ok(output) => match String::from_utf8_lossy(&output.stdout).trim().strip_suffix("asked").map(str::trim) {
            Some("") => None,
            Some(missing) => Some(format!("has no {}", missing.replace(' ', " and no "))),
            None => Some("is no Python 3".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_interpreter_is_looked_at_alone() {
        let search = Search::new(Some(Path::new("no-such-python")));
        assert_eq!(search.places.len(), 1);
        let error = search.python().unwrap_err();
        assert_eq!(error.code(), "T0801");
        assert!(error.to_string().contains("--python (`no-such-python`: cannot be run"), "{error}");
        assert!(error.help().unwrap().contains("--emit observe"));
    }
}
