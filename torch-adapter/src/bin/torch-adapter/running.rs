//! What every command takes that runs data through an archive.

use std::num::NonZeroU64;
use std::path::Path;

use clap::Args;
use quant_cli::{GlobalArgs, Progress};
use torch_adapter::run::Running;

use crate::python::PythonArgs;

/// How data is run through an archive.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunningArgs {
    /// Samples that run at once
    #[arg(long, value_name = "N", default_value = "32")]
    batch: NonZeroU64,

    /// The value of an argument of `forward` that is the same in every run, as JSON (training=false); may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = feed)]
    feed: Vec<(String, serde_json::Value)>,

    #[command(flatten)]
    pub(crate) python: PythonArgs,
}

/// `NAME=VALUE`.
fn feed(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value = serde_json::from_str(value).map_err(|error| format!("the value is no JSON: {error}"))?;
    Ok((name.to_owned(), value))
}

impl RunningArgs {
    /// The same for the library.
    pub(crate) fn running<'a>(&'a self, global: &GlobalArgs, python: &'a Path, data: &'a Path) -> Running<'a> {
        Running {
            python,
            data,
            batch: self.batch.get(),
            feeds: &self.feed,
            threads: global.jobs.map(Into::into),
            verbose: global.verbose > 0 && !global.json,
        }
    }
}

/// Progress over samples, whose number shows when the first have run.
pub(crate) struct Samples<'a> {
    global: &'a GlobalArgs,
    what: &'static str,
    progress: Option<Progress>,
}

impl<'a> Samples<'a> {
    pub(crate) fn new(global: &'a GlobalArgs, what: &'static str) -> Self {
        Self { global, what, progress: None }
    }

    /// So many of all have run.
    pub(crate) fn at(&mut self, done: u64, all: u64) {
        let progress = self.progress.get_or_insert_with(|| Progress::new(self.global, self.what, all));
        progress.inc(done.saturating_sub(progress.done()));
    }
}
