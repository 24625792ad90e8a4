//! `evaluate`: what a model gives on data.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use quant_cli::{Adapter, Failure, Files, GlobalArgs, Progress, rows_text};
use quant_math::fold::Fold;
use tf_rewriter::run::{EvaluateOptions, Evaluation, Evaluator, Model, Value, labels};

use crate::calibrate::{DataArgs, run_failure};
use crate::library::{Library, LibraryArgs, TargetArgs};
use crate::model::ModelArgs;
use crate::npz::NpzWriter;

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
        let mut saved = Saved::new(evaluator.model());
        let batch = self.data.batch_for(global, &data);
        let progress = Progress::new(global, "evaluating", data.samples());
        while let Some(mut next) = data.next(batch).map_err(run_failure)? {
            let classes = self.labels.as_ref().map(|name| labels::take(data.path(), name, &mut next));
            let classes = classes.transpose().map_err(run_failure)?;
            let outputs = evaluator.add(data.path(), &next, classes.as_deref()).map_err(run_failure)?;
            if self.save.is_some() {
                saved.add(&outputs);
            }
            progress.inc(next.samples);
        }
        drop(progress);
        let evaluation = evaluator.finish().map_err(run_failure)?;
        if let Some(path) = &self.save {
            model_file::atomic::write(path, &saved.npz()?)?;
        }
        let mut out = global.out();
        if global.json {
            out.json(&evaluation)?;
        } else {
            write!(out, "{}", told(&evaluation))?;
        }
        Ok(out.finish()?)
    }
}

/// Outputs on their way to a .npz.
struct Saved {
    outputs: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl Saved {
    fn new(model: &Model) -> Self {
        // An array's name is a file's name in the archive: the port is only told where it is not the first.
        let name = |output: &String| output.strip_suffix(":0").unwrap_or(output).to_owned();
        Self { outputs: model.outputs().iter().map(|output| (name(output), Vec::new(), Vec::new())).collect() }
    }

    fn add(&mut self, values: &[Value]) {
        for ((_, shape, data), value) in self.outputs.iter_mut().zip(values) {
            let dims: Vec<usize> =
                value.shape().iter().map(|dim| usize::try_from(*dim).unwrap_or(usize::MAX)).collect();
            match (shape.first_mut(), dims.first()) {
                (Some(all), Some(more)) => *all += more,
                _ => *shape = dims,
            }
            data.extend_from_slice(&value.to_f32());
        }
    }

    fn npz(self) -> Result<Vec<u8>, Failure> {
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::from(std::io::Error::other(format!("cannot write the outputs: {error}")))
        };
        let mut archive = NpzWriter::new();
        for (name, shape, data) in self.outputs {
            archive.add(&name, &shape, &data).map_err(|error| wrong(&error))?;
        }
        archive.finish().map_err(|error| wrong(&error))
    }
}

/// The text for a person.
fn told(found: &Evaluation) -> String {
    let decibel = |db: Option<f64>| db.map_or("exact".to_owned(), |db| format!("{db:.2}"));
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let mut text = format!("{} samples\n\n", found.samples);
    let header = ["output", "SQNR dB", "max error", "cosine", "top-1", "top-k", "accuracy", "reference"];
    let rows = found.outputs.iter().map(|output| {
        let error = output.error.as_ref();
        let (agreement, accuracy) = (output.agreement, output.accuracy);
        vec![
            output.name.clone(),
            error.map_or(String::new(), |error| decibel(error.sqnr_db)),
            error.map_or(String::new(), |error| format!("{:.3e}", error.max_error)),
            error.map_or(String::new(), |error| format!("{:.6}", error.cosine)),
            agreement.map_or(String::new(), |found| percent(found.top_1)),
            agreement.map_or(String::new(), |found| format!("{} (k {})", percent(found.top_k), found.k)),
            accuracy.map_or(String::new(), |found| percent(found.model)),
            accuracy.and_then(|found| found.reference).map_or(String::new(), percent),
        ]
    });
    text.push_str(&rows_text(&header, &[0], &[1, 2, 3, 4, 5, 6, 7], rows));
    if !found.layers.is_empty() {
        let rows = found.layers.iter().map(|layer| {
            let error = &layer.error;
            vec![
                layer.op_type.clone(),
                layer.name.clone(),
                decibel(error.sqnr_db),
                format!("{:.3e}", error.max_error),
                format!("{:.6}", error.cosine),
            ]
        });
        text.push_str("\n\n");
        text.push_str(&rows_text(&["op", "tensor", "SQNR dB", "max error", "cosine"], &[1], &[2, 3, 4], rows));
        text.push('\n');
        let entrances = found.entrances.iter().map(|entrance| {
            let (before, after) = (decibel(entrance.sqnr_db_before), decibel(entrance.sqnr_db));
            let what = if entrance.sqnr_db_before.is_none() { "enters" } else { "grows" };
            format!("\nthe error {what} at {} (SQNR {before} -> {after} dB)", entrance.name)
        });
        text.extend(entrances);
    }
    text.push('\n');
    text
}
