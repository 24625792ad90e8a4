//! TensorFlow for the commands that need it, and `doctor`, which shows where it is.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quant_cli::{Failure, GlobalArgs};
use quant_math::fold::Fold;
use tf_rewriter::run::{self, Fixed, Folder, Place, RunError, RunOptions, Search};

use crate::coded::failure;

/// Where TensorFlow is, and how it runs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LibraryArgs {
    /// The folder of TensorFlow's library, or of a Python package `tensorflow` [default: TENSORFLOW_DIR, the loader's path, `python3`]
    #[arg(long, value_name = "DIR", help_heading = "TensorFlow")]
    tensorflow_dir: Option<PathBuf>,
}

/// A cluster to run on.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TargetArgs {
    /// Run on a TensorFlow cluster instead of in this process
    #[arg(long, value_name = "grpc://HOST:PORT", help_heading = "TensorFlow")]
    target: Option<String>,

    /// Seconds that the cluster may take for a batch; one that is gone would be waited for without end
    #[arg(long, value_name = "SECONDS", default_value_t = 60, help_heading = "TensorFlow")]
    timeout: u64,
}

/// Inputs that data does not tell.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FeedArgs {
    /// The value of an input that is the same in every run, as a number or a JSON list (keep_prob=1, is_training=false); may be
    /// repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) feed: Vec<Fixed>,
}

impl TargetArgs {
    /// `fold` where a config says what is measured or trained.
    pub(crate) fn options(&self, global: &GlobalArgs, feeds: &FeedArgs, fold: Fold) -> RunOptions {
        RunOptions {
            target: self.target.clone(),
            threads: global.jobs,
            timeout: Some(Duration::from_secs(self.timeout)),
            fixed: feeds.feed.clone(),
            fold,
        }
    }
}

/// TensorFlow's library as it was looked for before there were threads.
#[derive(Debug)]
pub(crate) struct Library {
    search: Search,
    /// Links that must be there until the library was loaded.
    folder: Result<Folder, RunError>,
}

impl LibraryArgs {
    /// Look for the library, let the `tensorflow` crate find it, and keep TensorFlow's log off standard error unless `-v` asks for it.
    /// With `--json` that is for programs, and nothing asks for it.
    /// Must be called before there are other threads.
    pub(crate) fn prepare(&self, global: &GlobalArgs) -> Library {
        let search = Search::new(self.tensorflow_dir.as_deref());
        let folder = search.folder();
        let level = match global.verbose {
            // What fails is told as our own error.
            _ if global.json => "3",
            0 => "3",
            1 => "1",
            _ => "0",
        };
        #[expect(unsafe_code, reason = "the environment is the only way to tell the library and its loader")]
        // SAFETY: `main` calls this before it starts a thread.
        unsafe {
            if let Ok(folder) = &folder {
                std::env::set_var(run::VARIABLE, folder.path());
            }
            if global.json || std::env::var_os("TF_CPP_MIN_LOG_LEVEL").is_none() {
                std::env::set_var("TF_CPP_MIN_LOG_LEVEL", level);
            }
        }
        Library { search, folder }
    }
}

impl Library {
    /// Load it; returns its version.
    pub(crate) fn load(self, global: &GlobalArgs) -> Result<String, Failure> {
        let folder = self.folder.map_err(|error| failure(error.into()))?;
        let quietly = if global.json || global.verbose == 0 { Quietly::begin().ok() } else { None };
        let version = run::load().map_err(|error| failure(error.into()));
        drop(quietly);
        drop(folder);
        version
    }
}

/// While it lives, standard error goes nowhere: what TensorFlow says while it is loaded, before its log has a level.
#[cfg(unix)]
struct Quietly(std::os::fd::OwnedFd);

#[cfg(unix)]
impl Quietly {
    fn begin() -> std::io::Result<Self> {
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        let kept = rustix::io::dup(std::io::stderr())?;
        rustix::stdio::dup2_stderr(nowhere)?;
        Ok(Self(kept))
    }
}

#[cfg(unix)]
impl Drop for Quietly {
    fn drop(&mut self) {
        // Where it fails, nobody could be told.
        rustix::stdio::dup2_stderr(&self.0).ok();
    }
}

#[cfg(not(unix))]
struct Quietly;

#[cfg(not(unix))]
impl Quietly {
    fn begin() -> std::io::Result<Self> {
        Ok(Self)
    }
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) library: LibraryArgs,
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
    folder: Option<PathBuf>,
    why_not: Option<String>,
    library: Option<PathBuf>,
}

impl DoctorArgs {
    /// Show what was looked for and found, and the command that installs TensorFlow where it is missing.
    pub(crate) fn run(global: &GlobalArgs, library: Library) -> Result<(), Failure> {
        let search = library.search.clone();
        let loaded = library.load(global);
        let report = Report {
            places: search.places.iter().map(PlaceReport::new).collect(),
            version: loaded.as_ref().ok().cloned(),
            install: loaded.is_err().then_some(run::INSTALL),
        };
        let mut out = global.out();
        if global.json {
            out.json(&report)?;
        } else {
            for place in &search.places {
                match (&place.folder, &place.library) {
                    (_, Some(library)) => writeln!(out, "{}: found {}", place.origin, library.display())?,
                    (Ok(folder), None) => writeln!(out, "{}: nothing in {}", place.origin, folder.display())?,
                    (Err(why), None) => writeln!(out, "{}: {why}", place.origin)?,
                }
            }
            match &report.version {
                Some(version) => writeln!(out, "\nTensorFlow {version} is there")?,
                None => writeln!(out, "\nthis installs TensorFlow:\n  {}", run::INSTALL)?,
            }
        }
        out.finish()?;
        loaded.map(drop)
    }
}

impl PlaceReport {
    fn new(place: &Place) -> Self {
        Self {
            origin: place.origin,
            folder: place.folder.clone().ok(),
            why_not: place.folder.clone().err(),
            library: place.library.clone(),
        }
    }
}
