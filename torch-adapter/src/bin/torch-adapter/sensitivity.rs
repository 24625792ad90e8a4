//! `sensitivity`: what each weight costs at each number of bits, on the archive's outputs.

use std::path::PathBuf;

use clap::Args;
use quant_cli::{Adapter, Failure, Files, FoldArgs, GlobalArgs};
use quant_math::Emit;
use quant_math::plan::PlanOptions;
use torch_adapter::run::{SensitivityMeter, SensitivityOptions};

use crate::coded::failure;
use crate::model::ModelArgs;
use crate::running::{RunningArgs, Samples};

/// Arguments of `sensitivity`.
#[derive(Debug, Args)]
pub(crate) struct SensitivityArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Arrays by the name or the position of `forward`'s arguments, the sample outermost: a .npz, a .npy, or a folder of them
    #[arg(long, value_name = "DATA")]
    data: PathBuf,

    #[command(flatten)]
    running: RunningArgs,

    /// The array with the right classes, counted from 0, for accuracy
    #[arg(long, value_name = "NAME")]
    labels: Option<String>,

    #[command(flatten)]
    sensitivity: quant_cli::TrialArgs,

    #[command(flatten)]
    fold: FoldArgs,
}

impl SensitivityArgs {
    /// Run the data through the archive with each site quantized, and print what that costs.
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let files = Files::default().reads("the model", self.model.path()).reads("the data", &self.data);
        self.sensitivity.files(files).check()?;
        let config = self.sensitivity.config_list()?;
        let model = self.model.open()?;
        // Weights have the codes of `baked` and `packed`.
        let options = PlanOptions { emit: Some(Emit::Baked), fold: self.fold.fold(), ..PlanOptions::default() };
        let plan = model.plan(&config, options).map_err(failure)?;
        self.sensitivity.check(global, &plan.warnings)?;
        let python = self.running.python.find()?;
        let options = SensitivityOptions { bits: self.sensitivity.bits.clone(), all_but: self.sensitivity.all_but };
        let meter = SensitivityMeter::new(model, &plan, &options).map_err(failure)?;
        global.warn(meter.warnings());
        let running = self.running.running(global, &python, &self.data);
        let mut progress = Samples::new(global, "measuring");
        let found = meter.run(&running, self.labels.as_deref(), &mut |done, all| progress.at(done, all));
        drop(progress);
        self.sensitivity.tell(global, &found.map_err(failure)?)
    }
}
