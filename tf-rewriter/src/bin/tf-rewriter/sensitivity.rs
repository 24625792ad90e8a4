//! `sensitivity`: what each weight costs at each number of bits, on the model's outputs.

use clap::Args;
use quant_cli::{Adapter, Failure, Files, FoldArgs, GlobalArgs, Progress};
use quant_math::Emit;
use quant_math::plan::PlanOptions;
use tf_rewriter::run::{SensitivityMeter, SensitivityOptions, labels};

use crate::calibrate::{DataArgs, run_failure};
use crate::coded::failure;
use crate::library::{Library, LibraryArgs, TargetArgs};
use crate::model::ModelArgs;

/// Arguments of `sensitivity`.
#[derive(Debug, Args)]
pub(crate) struct SensitivityArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    data: DataArgs,

    /// The array with the right classes, counted from 0, for accuracy
    #[arg(long, value_name = "NAME")]
    labels: Option<String>,

    #[command(flatten)]
    sensitivity: quant_cli::TrialArgs,

    #[command(flatten)]
    fold: FoldArgs,

    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    pub(crate) library: LibraryArgs,
}

impl SensitivityArgs {
    /// Run the data through the model with each site quantized, and print what that costs.
    pub(crate) fn run(&self, global: &GlobalArgs, library: Library) -> Result<(), Failure> {
        let files = Files::default().reads("the model", self.model.path()).reads("the data", &self.data.data);
        self.sensitivity.files(files).check()?;
        let config = self.sensitivity.config_list()?;
        let graph = self.model.open()?;
        // Weights have the codes of `baked` and `packed`.
        let options = PlanOptions { emit: Some(Emit::Baked), fold: self.fold.fold(), ..PlanOptions::default() };
        let plan = graph.plan(&config, options).map_err(failure)?;
        self.sensitivity.check(global, &plan.warnings)?;
        library.load(global)?;
        let options = SensitivityOptions { bits: self.sensitivity.bits.clone(), all_but: self.sensitivity.all_but };
        let run_options = self.target.options(global, &self.data.feeds, self.fold.fold());
        let mut meter = SensitivityMeter::new(graph, &plan, &options, &run_options).map_err(failure)?;
        global.warn(meter.warnings());
        let mut data = self.data.open(meter.model(), self.labels.as_deref())?;
        let batch = self.data.batch_for(global, &data);
        let progress = Progress::new(global, "measuring", data.samples().saturating_mul(meter.runs()));
        while let Some(mut next) = data.next(batch).map_err(run_failure)? {
            let classes = self.labels.as_ref().map(|name| labels::take(data.path(), name, &mut next));
            let classes = classes.transpose().map_err(run_failure)?;
            meter
                .add(data.path(), &next, classes.as_deref(), &mut || progress.inc(next.samples))
                .map_err(run_failure)?;
        }
        drop(progress);
        self.sensitivity.tell(global, &meter.finish().map_err(failure)?)
    }
}
