//! `finetune`: quantization-aware training from a frozen graph.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use quant_cli::{
    Adapter, Diagnostic, Failure, Files, FoldArgs, FrozenArgs, GlobalArgs, LeftBehind, Progress, QuantizeArgs,
    quantizers, words,
};
use quant_math::plan::{Emit, Quantizer};
use tf_rewriter::codes;
use tf_rewriter::run::{Epoch, FinetuneOptions, Finetuner, Loss, Objective, Optimizer};

use crate::calibrate::run_failure;
use crate::coded::failure;
use crate::library::{FeedArgs, Library, LibraryArgs, TargetArgs};
use crate::model::ModelArgs;

/// How much work an interruption may cost, besides the epoch that was begun.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Arguments of `finetune`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("goal").required(true).args(["labels", "distill"])))]
pub(crate) struct FinetuneArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Arrays by input name, the sample outermost: a .npz, a .npy, or a folder of them
    #[arg(long, value_name = "DATA")]
    data: PathBuf,

    /// The quantizer; may stand in the config instead
    #[arg(long, short = 'Q', value_name = "QUANTIZER", value_parser = quantizers(Quantizer::with(Emit::Training)))]
    quantizer: Option<Quantizer>,

    /// NNI's config_list, as JSON5 or as it stands in Python
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    #[command(flatten)]
    frozen: FrozenArgs,

    /// The array with the right classes, counted from 0: train with softmax cross-entropy
    #[arg(long, value_name = "NAME")]
    labels: Option<String>,

    /// Train to match the float model's outputs; no labels are needed
    #[arg(long)]
    distill: bool,

    /// How far an output is from the float model's [default: cross-entropy for a Softmax, squared error for another output]
    #[arg(long, value_name = "LOSS", requires = "distill", value_parser = words([
        ("cross-entropy", Loss::CrossEntropy), ("squared-error", Loss::SquaredError), ("cosine", Loss::Cosine),
    ]))]
    loss: Option<Loss>,

    #[command(flatten)]
    fold: FoldArgs,

    #[command(flatten)]
    training: TrainingArgs,

    #[command(flatten)]
    feeds: FeedArgs,

    /// Go on where an interrupted training stopped
    #[arg(long)]
    resume: bool,

    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}

/// How to train.
#[derive(Debug, Args)]
struct TrainingArgs {
    /// Passes over the data
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Training")]
    epochs: u32,

    /// Samples of a step
    #[arg(long, value_name = "N", default_value = "32", help_heading = "Training")]
    batch: std::num::NonZeroU64,

    /// The optimizer
    #[arg(long, value_name = "NAME", default_value = "adam", value_parser = PossibleValuesParser::new(["adam", "sgd"]), help_heading = "Training")]
    optimizer: String,

    /// The share of the last step that SGD keeps
    #[arg(long, value_name = "M", default_value_t = 0.9, value_parser = momentum, help_heading = "Training")]
    momentum: f32,

    /// The learning rate at the beginning; it falls to 0 by half a cosine
    #[arg(long, value_name = "RATE", default_value_t = 1e-3, value_parser = rate, help_heading = "Training")]
    lr: f32,

    /// The share of the samples that is held back, to tell which epoch is the best
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share, help_heading = "Training")]
    validation: f64,

    /// Decides the order of the samples and which are held back
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Training")]
    seed: u64,
}

fn number<T: std::str::FromStr>(text: &str, fits: impl Fn(&T) -> bool, expected: &str) -> Result<T, String> {
    text.parse().ok().filter(fits).ok_or_else(|| format!("expected {expected}"))
}

fn momentum(text: &str) -> Result<f32, String> {
    number(text, |x: &f32| (0.0..1.0).contains(x), "a number from 0 to below 1")
}

fn rate(text: &str) -> Result<f32, String> {
    number(text, |x: &f32| *x > 0.0 && x.is_finite(), "a number above 0")
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |x: &f64| (0.0..1.0).contains(x), "a number from 0 to below 1")
}

impl TrainingArgs {
    fn options(&self, objective: Objective, loss: Option<Loss>) -> FinetuneOptions {
        FinetuneOptions {
            objective,
            loss,
            optimizer: if self.optimizer == "sgd" {
                Optimizer::Sgd { momentum: self.momentum }
            } else {
                Optimizer::Adam
            },
            epochs: self.epochs,
            batch: self.batch.get(),
            learning_rate: self.lr,
            validation: self.validation,
            seed: self.seed,
        }
    }
}

impl FinetuneArgs {
    /// Train, and write the result.
    pub(crate) fn run(&self, global: &GlobalArgs, library: Library) -> Result<(), Failure> {
        let left = LeftBehind::beside(self.frozen.path(), ".training");
        let files = Files::of_model(self.model.path()).reads("the data", &self.data).reads("the config", &self.config);
        let is_folder = self.model.is_folder(self.frozen.path());
        let destination = self.frozen.destination_in(files.writes(LeftBehind::NAME, left.path()), is_folder)?;
        let quantize =
            QuantizeArgs { quantizer: self.quantizer, config: Some(self.config.clone()), ..QuantizeArgs::default() };
        let config = quantize.config_list()?;
        if !config.quantizer.row().has(Emit::Training) {
            let found = format!("the {} quantizer quantizes after training, and is not trained", config.quantizer);
            let names: Vec<_> = Quantizer::with(Emit::Training).map(|quantizer| quantizer.row().name).collect();
            let help = format!("train with `{}`", names.join("` or `"));
            return Err(Failure::usage(Diagnostic::error("U0105", found).help(help)));
        }
        // What is folded depends on all that is written.
        let open = || self.model.open_for(Some(self.frozen.path()))?.folded(&config, self.fold.fold()).map_err(failure);
        let graph = open()?;
        self.model.check_output(&graph, self.frozen.path())?;
        // Of a SavedModel that is written again, what one signature needs is trained, and all are written.
        let (graph, whole) = match graph.of_signature().map_err(failure)? {
            Some(own) => (own, Some(graph)),
            None if is_folder => (graph, Some(open()?)),
            None => (graph, None),
        };
        library.load(global)?;
        let objective = if self.distill { Objective::Distill } else { Objective::Labels };
        let options = self.training.options(objective, self.loss);
        let run = self.target.options(global, &self.feeds, self.fold.fold());
        let mut finetuner =
            Finetuner::new(graph, &config, &self.data, self.labels.as_deref(), options, &run).map_err(failure)?;
        quantize.check(global, finetuner.warnings())?;
        if self.resume && left.is_there(global, "training") {
            finetuner.resume(left.path()).map_err(run_failure)?;
        }
        self.train(global, &mut finetuner, left.path())?;
        let compressed = match &whole {
            Some(whole) => finetuner.freeze_into(whole, self.frozen.form()),
            None => finetuner.freeze(self.frozen.form()),
        };
        let compressed = compressed.map_err(failure)?;
        // Which epoch it is, is no warning.
        let (news, warnings): (Vec<_>, Vec<_>) =
            compressed.plan().warnings.iter().cloned().partition(|warning| warning.is(codes::BEST_EPOCH));
        global.warn(&warnings);
        if !global.quiet && !global.json {
            news.iter().try_for_each(|news| writeln!(anstream::stderr(), "{}", news.text))?;
        }
        self.frozen.write(&self.model, global, &destination, &compressed)?;
        left.remove()
    }

    fn train(&self, global: &GlobalArgs, finetuner: &mut Finetuner, state: &Path) -> Result<(), Failure> {
        let mut saved: Option<Instant> = None;
        loop {
            let progress = Progress::new(global, "training", finetuner.samples_per_epoch());
            let trained = finetuner.epoch(&|samples| progress.inc(samples));
            drop(progress);
            // A training that ran away leaves the state that was last written, for `--resume`.
            let Some(epoch) = trained.map_err(run_failure)? else { break };
            self.tell(global, &epoch)?;
            if saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY) {
                model_file::atomic::write(state, &finetuner.state().map_err(run_failure)?)?;
                saved = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// One line an epoch, on standard error.
    fn tell(&self, global: &GlobalArgs, epoch: &Epoch) -> Result<(), Failure> {
        let mut err = anstream::stderr().lock();
        if global.quiet {
            return Ok(());
        }
        if global.json {
            writeln!(err, "{}", serde_json::json!({ "epoch": epoch }))?;
            return Ok(());
        }
        write!(err, "epoch {}/{}  loss {:.5}", epoch.number, self.training.epochs, epoch.loss)?;
        if let Some(loss) = epoch.validation_loss {
            write!(err, "  validation loss {loss:.5}")?;
        }
        if let Some(accuracy) = epoch.validation_accuracy {
            write!(err, "  accuracy {:.2} %", 100.0 * accuracy)?;
        }
        writeln!(err, "{}", if epoch.quantized { "" } else { "  (not quantized everywhere yet)" })?;
        Ok(())
    }
}
