//! `evaluate`: what a model gives on data.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use quant_cli::{Adapter, Failure, Files, GlobalArgs, Progress, SavedOutputs};
use quant_math::fold::Fold;
use tf_rewriter::run::{EvaluateOptions, Evaluator, Model, labels};

use crate::calibrate::{DataArgs, run_failure};
use crate::library::{Library, LibraryArgs, TargetArgs};
use crate::model::ModelArgs;

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The reference, for example the model before it was quantized
    #[arg(long, value_name = "MODEL2")]
    against: Option<PathBuf>,

    #[command(flatten)]
    data: DataArgs,

    /// The array with the right classes, counted from 0, for accuracy
    #[arg(long, value_name = "NAME")]
    labels: Option<String>,

    /// k of the top-k agreement
    #[arg(long, value_name = "K", default_value_t = 5)]
    top_k: usize,

    /// Compare the tensors inside both models, too, and name where the error enters
    #[arg(long, requires = "against")]
    per_layer: bool,

    /// Write the model's outputs to a .npz
    #[arg(long, value_name = "OUT.npz")]
    save: Option<PathBuf>,

    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}

impl EvaluateArgs {
    /// Run the data through the models and print what came out.
    pub(crate) fn run(&self, global: &GlobalArgs, library: Library) -> Result<(), Failure> {
        let files =
            Files::default().reads("the model", self.model.path()).may_read("the reference", self.against.as_ref());
        files.reads("the data", &self.data.data).may_write("the file of outputs", self.save.as_ref()).check()?;
        if let Some(path) = &self.save {
            model_file::atomic::probe(path)?;
        }
        let graph = self.model.open()?;
        let reference = self.against.as_deref().map(|path| self.model.open_beside(path)).transpose()?;
        library.load(global)?;
        let options = self.target.options(global, &self.data.feeds, Fold::Off);
        let model = Model::new(&graph, &options).map_err(run_failure)?;
        let reference = reference.map(|graph| Model::new(&graph, &options)).transpose().map_err(run_failure)?;
        let wanted = EvaluateOptions { top_k: self.top_k, per_layer: self.per_layer };
        let mut evaluator = Evaluator::new(model, reference, &graph, &wanted).map_err(run_failure)?;
        let mut data = self.data.open(evaluator.model(), self.labels.as_deref())?;
        let mut saved = SavedOutputs::default();
        let batch = self.data.batch_for(global, &data);
        let progress = Progress::new(global, "evaluating", data.samples());
        while let Some(mut next) = data.next(batch).map_err(run_failure)? {
            let classes = self.labels.as_ref().map(|name| labels::take(data.path(), name, &mut next));
            let classes = classes.transpose().map_err(run_failure)?;
            let outputs = evaluator.add(data.path(), &next, classes.as_deref()).map_err(run_failure)?;
            if self.save.is_some() {
                for (output, value) in evaluator.model().outputs().iter().zip(&outputs) {
                    saved.add(array(output), value.shape(), &value.to_f32());
                }
            }
            progress.inc(next.samples);
        }
        drop(progress);
        let evaluation = evaluator.finish().map_err(run_failure)?;
        if let Some(path) = &self.save {
            saved.write(path)?;
        }
        let mut out = global.out();
        if global.json {
            out.json(&evaluation)?;
        } else {
            write!(out, "{}", quant_cli::evaluation(&evaluation))?;
        }
        Ok(out.finish()?)
    }
}

/// An array's name is a file's name in the archive: the port is only told where it is not the first.
fn array(output: &str) -> &str {
    output.strip_suffix(":0").unwrap_or(output)
}
