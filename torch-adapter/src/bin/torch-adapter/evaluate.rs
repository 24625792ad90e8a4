//! `evaluate`: what an archive gives on data.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use quant_cli::{Failure, Files, GlobalArgs, SavedOutputs};
use torch_adapter::run::{self, Evaluating, Watch};

use crate::coded::failure;
use crate::running::{RunningArgs, Samples};

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// An archive that `torch.jit.save` wrote, scripted, traced or frozen
    model: PathBuf,

    /// The reference, for example the model before it was quantized
    #[arg(long, value_name = "MODEL2")]
    against: Option<PathBuf>,

    /// Arrays by the name or the position of `forward`'s arguments, the sample outermost: a .npz, a .npy, or a folder of them
    #[arg(long, value_name = "DATA")]
    data: PathBuf,

    #[command(flatten)]
    running: RunningArgs,

    /// The array with the right classes, counted from 0, for accuracy
    #[arg(long, value_name = "NAME")]
    labels: Option<String>,

    /// k of the top-k agreement
    #[arg(long, value_name = "K", default_value_t = 5)]
    top_k: usize,

    /// Write the model's outputs to a .npz
    #[arg(long, value_name = "OUT.npz")]
    save: Option<PathBuf>,
}

impl EvaluateArgs {
    /// Run the data through the archives and print what came out.
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let files = Files::default().reads("the model", &self.model).may_read("the reference", self.against.as_ref());
        files.reads("the data", &self.data).may_write("the file of outputs", self.save.as_ref()).check()?;
        if let Some(path) = &self.save {
            model_file::atomic::probe(path)?;
        }
        let python = self.running.python.find()?;
        let how = Evaluating {
            running: self.running.running(global, &python, &self.data),
            labels: self.labels.as_deref(),
            top_k: self.top_k,
        };
        let saved = self.save.is_some().then(SavedOutputs::default);
        let mut watch = Watching { progress: Samples::new(global, "evaluating"), saved };
        let found = run::evaluate(&self.model, self.against.as_deref(), &how, &mut watch);
        let Watching { progress, saved } = watch;
        drop(progress);
        let found = found.map_err(failure)?;
        if let (Some(path), Some(saved)) = (&self.save, saved) {
            saved.write(path)?;
        }
        let mut out = global.out();
        if global.json {
            out.json(&found)?;
        } else {
            write!(out, "{}", quant_cli::evaluation(&found))?;
        }
        Ok(out.finish()?)
    }
}

/// The bar, and the outputs where they are kept.
struct Watching<'a> {
    progress: Samples<'a>,
    saved: Option<SavedOutputs>,
}

impl Watch for Watching<'_> {
    fn samples(&mut self, done: u64, all: u64) {
        self.progress.at(done, all);
    }

    fn output(&mut self, name: &str, shape: &[u64], values: &[f32]) {
        if let Some(saved) = &mut self.saved {
            saved.add(name, shape, values);
        }
    }
}
