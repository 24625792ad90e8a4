//! `calibrate`: activation ranges from data, into a ranges file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use quant_cli::{
    Adapter, Destination, Failure, Files, FoldArgs, GlobalArgs, LeftBehind, Progress, QuantizeArgs, tell_ranges, words,
    write_ranges,
};
use quant_math::Quantizer;
use quant_math::config::ConfigList;
use quant_math::fold::Fold;
use quant_math::ranges::Ranges;
use torch_adapter::run::{self, Calibration};
use torch_adapter::{Counting, Model};

use crate::coded::failure;
use crate::model::ModelArgs;
use crate::running::{RunningArgs, Samples};

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
pub(crate) struct CalibrateArgs {
    /// An archive that `torch.jit.save` wrote, scripted, traced or frozen
    #[arg(required_unless_present = "from")]
    model: Option<PathBuf>,

    /// Arrays by the name or the position of `forward`'s arguments, the sample outermost: a .npz, a .npy, or a folder of them
    #[arg(long, value_name = "DATA", required_unless_present_any = ["from", "emit"])]
    data: Option<PathBuf>,

    #[command(flatten)]
    how: HowArgs,

    #[command(flatten)]
    fold: FoldArgs,

    /// NNI's config_list, whose `input` and `output` sites are measured [default: every default op's]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The ranges file to write, or with `--emit` the archive
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,

    /// Write an archive that measures wherever it is run, in place of running it: any PyTorch runs data through it and saves it
    #[arg(long, value_name = "FORM", value_parser = words([("observe", Form::Observe)]), conflicts_with_all = ["data", "from", "resume"])]
    emit: Option<Form>,

    /// Read what such an archive has measured
    #[arg(long, value_name = "OBSERVED", conflicts_with_all = ["model", "data", "config", "fold", "resume", "exact"])]
    from: Option<PathBuf>,

    /// Go on where an interrupted run stopped
    #[arg(long)]
    resume: bool,

    /// Keep what was measured for `--resume` every so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    save_every: u64,
}

/// What is written in place of ranges.
#[derive(Debug, Clone, Copy)]
enum Form {
    Observe,
}

/// How an archive is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct HowArgs {
    #[command(flatten)]
    running: RunningArgs,

    /// Let histograms count every value, not some of each large tensor
    #[arg(long)]
    exact: bool,
}

impl HowArgs {
    fn counting(&self) -> Counting {
        if self.exact { Counting::Exact } else { Counting::Sampled }
    }

    fn calibration<'a>(&'a self, global: &GlobalArgs, python: &'a Path, data: &'a Path) -> Calibration<'a> {
        Calibration {
            running: self.running.running(global, python, data),
            counting: self.counting(),
            state: None,
            save_every: Duration::ZERO,
            resume: false,
        }
    }
}

impl CalibrateArgs {
    /// Measure and write the ranges file.
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        match (&self.from, &self.model, &self.data, self.emit) {
            (Some(from), ..) => self.read(global, from),
            (None, Some(model), Some(data), None) => self.measure(global, model, data),
            (None, Some(model), ..) => self.observe(global, model),
            // The command line is not read where the model is missing.
            (None, None, ..) => Ok(()),
        }
    }

    fn files(&self) -> Files {
        Files::default().may_read("the config", self.config.as_ref())
    }

    fn read(&self, global: &GlobalArgs, from: &Path) -> Result<(), Failure> {
        self.files().reads("the archive", from).writes("the output", &self.output).check()?;
        model_file::atomic::probe(&self.output)?;
        let (ranges, unseen) = ModelArgs::open_path(from)?.measured("torch", None).map_err(failure)?;
        global.warn(&unseen);
        self.write(global, &ranges)
    }

    /// The model as it is measured: without a config, as the weights of every default op are quantized.
    fn folded(&self, model: &Path, config: &ConfigList) -> Result<Model, Failure> {
        let default = self.config.is_none().then(|| ConfigList::default_for(Quantizer::Qat));
        let model = ModelArgs::open_path(model)?;
        model.folded(default.as_ref().unwrap_or(config), self.fold.fold()).map_err(failure)
    }

    fn observe(&self, global: &GlobalArgs, model: &Path) -> Result<(), Failure> {
        self.files().reads("the model", model).writes("the output", &self.output).check()?;
        let config = QuantizeArgs::measured_config(self.config.as_deref())?;
        model_file::atomic::probe(&self.output)?;
        let made = self.folded(model, &config)?.observe(&config, self.how.counting()).map_err(failure)?;
        global.warn(&made.plan().warnings);
        let progress = Progress::new(global, "writing", made.input_len());
        made.write_to_with(&self.output, &|bytes| progress.inc(bytes)).map_err(failure)?;
        drop(progress);
        let mut out = global.out();
        if global.json {
            out.json(&serde_json::json!({ "output": self.output }))?;
        } else {
            let output = self.output.display();
            writeln!(out, "run data through {output} in PyTorch, save it, and read it with `calibrate --from`")?;
        }
        Ok(out.finish()?)
    }

    fn measure(&self, global: &GlobalArgs, model: &Path, data: &Path) -> Result<(), Failure> {
        let left = LeftBehind::beside(&self.output, ".partial");
        let files = self.files().reads("the model", model).reads("the data", data);
        files.writes("the output", &self.output).writes(LeftBehind::NAME, left.path()).check()?;
        let config = QuantizeArgs::measured_config(self.config.as_deref())?;
        model_file::atomic::probe(&self.output)?;
        let model = self.folded(model, &config)?;
        let python = self.how.running.python.find()?;
        let how = Calibration {
            state: Some(left.path()),
            save_every: Duration::from_secs(self.save_every),
            resume: self.resume && left.is_there(global, "run"),
            ..self.how.calibration(global, &python, data)
        };
        let ranges = measured(global, model, &config, &how)?;
        self.write(global, &ranges)?;
        left.remove()
    }

    fn write(&self, global: &GlobalArgs, ranges: &Ranges) -> Result<(), Failure> {
        write_ranges(ranges, &Destination::File(self.output.clone()))?;
        tell_ranges(global, ranges, &self.output)
    }
}

/// Run all data, with progress and warnings.
fn measured(global: &GlobalArgs, model: Model, config: &ConfigList, how: &Calibration<'_>) -> Result<Ranges, Failure> {
    let mut progress = Samples::new(global, "calibrating");
    let measured = run::calibrate(model, config, how, &mut |done, all| progress.at(done, all));
    drop(progress);
    let (ranges, warnings) = measured.map_err(failure)?;
    global.warn(&warnings);
    Ok(ranges)
}

/// `compress --calibrate`: ranges of a model that are used at once.
pub(crate) fn ranges_for(
    global: &GlobalArgs,
    model: &Model,
    (config, fold): (&ConfigList, Fold),
    how: &HowArgs,
    data: &Path,
) -> Result<Ranges, Failure> {
    // What is measured is an archive of its own.
    let path = model.path().unwrap_or(Path::new(""));
    let python = how.running.python.find()?;
    let model = ModelArgs::open_path(path)?.folded(config, fold).map_err(failure)?;
    measured(global, model, config, &how.calibration(global, &python, data))
}
