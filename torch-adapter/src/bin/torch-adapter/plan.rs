//! `plan`: the dry run.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use quant_cli::{Failure, GlobalArgs, QuantizeArgs, plan_table};
use quant_math::Plan;
use quant_math::plan::Reason;
use torch_adapter::{Model, PlanOptions};

use crate::coded::failure;
use crate::model::{ModelArgs, read_ranges};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) quantize: QuantizeArgs,

    /// Measured activation ranges, which `inference` needs for inputs and outputs
    #[arg(long, value_name = "FILE")]
    pub(crate) ranges: Option<PathBuf>,
}

/// A plan with everything that `apply` needs.
pub(crate) struct Planned {
    pub(crate) model: Model,
    pub(crate) plan: Plan,
    pub(crate) ranges: Option<quant_math::ranges::Ranges>,
}

impl PlanArgs {
    pub(crate) fn plan(&self, global: &GlobalArgs) -> Result<Planned, Failure> {
        // The config first: what is wrong there needs no model.
        let config = self.quantize.config_list()?;
        let ranges = self.ranges.as_deref().map(read_ranges).transpose()?;
        let model = self.model.open()?;
        let options = PlanOptions { emit: self.quantize.emit, ranges: ranges.as_ref(), strict: false };
        let plan = model.plan(&config, options).map_err(failure)?;
        let (about_config, others): (Vec<Reason>, Vec<Reason>) =
            plan.warnings.iter().cloned().partition(|reason| reason.code.starts_with('C'));
        self.quantize.check(global, &about_config)?;
        global.warn(&others);
        Ok(Planned { model, plan, ranges })
    }

    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let planned = self.plan(global)?;
        let mut out = global.out();
        if global.json {
            out.json(&planned.plan)?;
        } else {
            write!(out, "{}", plan_table(&planned.plan))?;
        }
        Ok(out.finish()?)
    }
}
