//! PyTorch for the commands that run an archive, and `doctor`, which shows where it is.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use quant_cli::{Failure, GlobalArgs};
use torch_adapter::run::{INSTALL, Place, RunError, Search};

use crate::coded::failure;

/// Where PyTorch is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PythonArgs {
    /// The Python whose PyTorch runs the archive [default: QUANT_TORCH_PYTHON, that of VIRTUAL_ENV, `python3`]
    #[arg(long, value_name = "PYTHON", help_heading = "PyTorch")]
    python: Option<PathBuf>,
}

impl PythonArgs {
    /// The interpreter.
    pub(crate) fn find(&self) -> Result<PathBuf, Failure> {
        Ok(Search::new(self.python.as_deref()).python().map_err(run_failure)?.to_owned())
    }
}

pub(crate) fn run_failure(error: RunError) -> Failure {
    failure(error.into())
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    python: PythonArgs,
}

#[derive(serde::Serialize)]
struct Report {
    places: Vec<PlaceReport>,
    version: Option<String>,
    install: Option<&'static str>,
}

#[derive(serde::Serialize)]
struct PlaceReport {
    origin: &'static str,
    python: Option<PathBuf>,
    why_not: Option<String>,
}

impl DoctorArgs {
    /// Show what was looked for and found, and the command that installs PyTorch where it is missing.
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let search = Search::new(self.python.python.as_deref());
        let version = search.version();
        let report = Report {
            places: search.places.iter().map(PlaceReport::new).collect(),
            version: version.as_ref().ok().cloned(),
            install: version.is_err().then_some(INSTALL),
        };
        let mut out = global.out();
        if global.json {
            out.json(&report)?;
        } else {
            for Place { origin, python, why_not } in &search.places {
                match (python, why_not) {
                    (Some(python), None) => writeln!(out, "{origin}: found {}", python.display())?,
                    (Some(python), Some(why)) => writeln!(out, "{origin}: {} {why}", python.display())?,
                    (None, why) => writeln!(out, "{origin}: {}", why.as_deref().unwrap_or_default())?,
                }
            }
            match &report.version {
                Some(version) => writeln!(out, "\nPyTorch {version} is there")?,
                None => writeln!(out, "\nthis installs PyTorch:\n  {INSTALL}")?,
            }
        }
        out.finish()?;
        version.map(drop).map_err(run_failure)
    }
}

impl PlaceReport {
    fn new(place: &Place) -> Self {
        Self { origin: place.origin, python: place.python.clone(), why_not: place.why_not.clone() }
    }
}
