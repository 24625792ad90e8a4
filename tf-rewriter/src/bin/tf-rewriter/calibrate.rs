//! `calibrate`: activation ranges from data, into a ranges file, and moments of what layers read.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use quant_cli::{
    Adapter, Destination, Failure, Files, FoldArgs, GlobalArgs, LeftBehind, Progress, QuantizeArgs, read_ranges,
    tell_moments, tell_ranges, write_moments, write_ranges,
};
use quant_math::Quantizer;
use quant_math::config::ConfigList;
use quant_math::fold::Fold;
use quant_math::plan::Reason;
use quant_math::ranges::Ranges;
use tf_rewriter::Graph;
use tf_rewriter::codes;
use tf_rewriter::run::{self, Calibrator, Feeds, MomentsMeter, RunError, RunOptions};

use crate::coded::failure;
use crate::library::{FeedArgs, Library, LibraryArgs, TargetArgs};
use crate::model::ModelArgs;

/// Samples at once while moments are measured.
const MOST: u64 = 8;

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
pub(crate) struct CalibrateArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    data: DataArgs,

    /// NNI's config_list, whose `input` and `output` sites are measured [default: every default op's]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    fold: FoldArgs,

    /// The ranges file to write
    #[arg(long, short, value_name = "RANGES", required_unless_present = "moments")]
    output: Option<PathBuf>,

    /// Measure what the layers of the config's weights read, too, and write its first and second moments: what `rounding: "reconstruct"` needs
    #[arg(long, value_name = "FILE")]
    moments: Option<PathBuf>,

    /// Of a sample, look at N places of a convolution's window at most for the moments, evenly spread [default: all]
    #[arg(long, value_name = "N", requires = "moments")]
    rows: Option<NonZeroUsize>,

    /// Go on where an interrupted run stopped
    #[arg(long)]
    resume: bool,

    /// Keep what was measured for `--resume` every so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    save_every: u64,

    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}

/// Data to run a model on.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// Arrays by input name, the sample outermost: a .npz, a .npy, or a folder of them
    #[arg(long, value_name = "DATA")]
    pub(crate) data: PathBuf,

    /// Samples that run at once
    #[arg(long, value_name = "N", default_value = "32")]
    pub(crate) batch: NonZeroU64,

    #[command(flatten)]
    pub(crate) feeds: FeedArgs,
}

impl DataArgs {
    /// Open the arrays of a model's inputs, and the labels.
    pub(crate) fn open(&self, model: &run::Model, labels: Option<&str>) -> Result<Feeds, Failure> {
        Feeds::open(model, &self.data, labels).map_err(run_failure)
    }

    /// Samples at once: as many as the model's inputs fix, where they do.
    pub(crate) fn batch_for(&self, global: &GlobalArgs, data: &Feeds) -> u64 {
        let Some(fixed) = data.exact() else { return self.batch.get() };
        let left = data.samples() % fixed.max(1);
        if left > 0 {
            let text =
                format!("the model takes {fixed} samples at once: the last {left} of {} are left out", data.samples());
            global.warn(&[Reason::new(codes::LEFT_OUT, text)]);
        }
        fixed
    }
}

pub(crate) fn run_failure(error: RunError) -> Failure {
    failure(error.into())
}

impl CalibrateArgs {
    /// Measure, and write the ranges file and that of moments.
    pub(crate) fn run(&self, global: &GlobalArgs, library: Library) -> Result<(), Failure> {
        let left = self.output.as_ref().map(|output| LeftBehind::beside(output, ".partial"));
        let files = Files::default().reads("the model", self.model.path()).reads("the data", &self.data.data);
        let files = files.may_read("the config", self.config.as_ref());
        let files = files.may_write("the output", self.output.as_ref());
        let files = files.may_write("the file of moments", self.moments.as_ref());
        files.may_write(LeftBehind::NAME, left.as_ref().map(LeftBehind::path)).check()?;
        for path in [&self.output, &self.moments].into_iter().flatten() {
            model_file::atomic::probe(path)?;
        }
        library.load(global)?;
        if let (Some(output), Some(left)) = (&self.output, &left) {
            self.measure_ranges(global, output, left)?;
        }
        self.moments.as_ref().map_or(Ok(()), |output| self.measure_moments(global, output))
    }

    fn measure_moments(&self, global: &GlobalArgs, output: &Path) -> Result<(), Failure> {
        let config = QuantizeArgs::weights_config(self.config.as_deref())?;
        let graph = self.model.open()?;
        let options = self.target.options(global, &self.data.feeds, self.fold.fold());
        let rows = self.rows.map(NonZeroUsize::get);
        let mut meter = MomentsMeter::new(&graph, &config, &options, rows).map_err(failure)?;
        global.warn(meter.warnings());
        let mut data = self.data.open(meter.model(), None)?;
        // What all layers read is held at once. Sums do not depend on the size of batches.
        let batch =
            if data.exact().is_some() { self.data.batch_for(global, &data) } else { self.data.batch.get().min(MOST) };
        let progress = Progress::new(global, "measuring moments", data.samples());
        while let Some(next) = data.next(batch).map_err(run_failure)? {
            meter.observe(&next).map_err(run_failure)?;
            progress.inc(next.samples);
        }
        let moments = meter.moments().map_err(run_failure)?;
        write_moments(&moments, output)?;
        tell_moments(global, &moments, output)
    }

    fn measure_ranges(&self, global: &GlobalArgs, output: &Path, left: &LeftBehind) -> Result<(), Failure> {
        let config = QuantizeArgs::measured_config(self.config.as_deref())?;
        let graph = self.model.open()?;
        // Without a config, as the weights of every default op are quantized.
        let graph = match &self.config {
            Some(_) => graph,
            None => graph.folded(&ConfigList::default_for(Quantizer::Qat), self.fold.fold()).map_err(failure)?,
        };
        let mut calibrator =
            Calibrator::new(&graph, &config, &self.target.options(global, &self.data.feeds, self.fold.fold()))
                .map_err(failure)?;
        global.warn(calibrator.warnings());
        global.warn(calibrator.unmatched());
        let mut data = self.data.open(calibrator.model(), None)?;
        let batch = self.data.batch_for(global, &data);
        if self.resume && left.is_there(global, "run") {
            let ranges = read_ranges(left.path())?;
            calibrator.resume(&ranges, left.path()).map_err(run_failure)?;
            ranges.check_batch(batch).map_err(|error| {
                run_failure(RunError::Resume { message: error.to_string(), path: left.path().to_owned() })
            })?;
            if calibrator.samples() > data.samples() {
                let (done, there) = (calibrator.samples(), data.samples());
                let message = format!("it was made from {done} samples, and the data holds {there}");
                return Err(run_failure(RunError::Resume { message, path: left.path().to_owned() }));
            }
            data.skip(calibrator.samples()).map_err(run_failure)?;
        }
        let begun = calibrator.samples();
        let every = Duration::from_secs(self.save_every);
        let mut saved = Instant::now();
        let measured = measure(global, &mut calibrator, &mut data, batch, &mut |calibrator| {
            if saved.elapsed() >= every {
                save(calibrator, batch, left.path())?;
                saved = Instant::now();
            }
            Ok(())
        });
        if let Err(failure) = measured {
            // What was measured is kept, for `--resume`.
            if calibrator.samples() > begun {
                save(&calibrator, batch, left.path())?;
            }
            return Err(failure);
        }
        let ranges = calibrator.ranges().map_err(run_failure)?;
        write_ranges(&ranges, &Destination::File(output.to_owned()))?;
        left.remove()?;
        tell_ranges(global, &ranges, output)
    }
}

/// Run all data that is left; `each` sees what was measured after each batch.
fn measure(
    global: &GlobalArgs,
    calibrator: &mut Calibrator,
    data: &mut Feeds,
    batch: u64,
    each: &mut dyn FnMut(&Calibrator) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let progress = Progress::new(global, "calibrating", data.samples());
    progress.inc(calibrator.samples());
    while let Some(next) = data.next(batch).map_err(run_failure)? {
        calibrator.observe(&next).map_err(run_failure)?;
        progress.inc(next.samples);
        each(calibrator)?;
    }
    Ok(())
}

/// `compress --calibrate`: ranges of a model that are used at once.
pub(crate) fn ranges_for(
    global: &GlobalArgs,
    graph: &Graph,
    config: &ConfigList,
    (args, fold): (&DataArgs, Fold),
) -> Result<Ranges, Failure> {
    let fixed = args.feeds.feed.clone();
    let options = RunOptions { threads: global.jobs, fixed, fold, ..RunOptions::default() };
    let mut calibrator = Calibrator::new(graph, config, &options).map_err(failure)?;
    global.warn(calibrator.warnings());
    let mut data = args.open(calibrator.model(), None)?;
    let batch = args.batch_for(global, &data);
    measure(global, &mut calibrator, &mut data, batch, &mut |_| Ok(()))?;
    calibrator.ranges().map_err(run_failure)
}

/// Keep what was measured in batches of `batch` samples.
fn save(calibrator: &Calibrator, batch: u64, path: &Path) -> Result<(), Failure> {
    let mut ranges = calibrator.ranges().map_err(run_failure)?;
    ranges.batch = ranges.depends_on_batches().then_some(batch);
    write_ranges(&ranges, &Destination::File(path.to_owned()))
}
