//! `plan`: the dry run.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use quant_math::Plan;
use quant_math::config::ConfigList;
use quant_math::plan::PlanOptions;
use quant_math::ranges::Ranges;

use super::Adapter;
use super::ranges::read_ranges;
use crate::args::{EmitArgs, GlobalArgs, QuantizeArgs, shown};
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::files::Files;
use crate::side;
use crate::summary::plan_table;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs<M: Adapter> {
    #[command(flatten)]
    pub(super) model: M,
    #[command(flatten)]
    pub(super) quantize: QuantizeArgs,
    #[command(flatten)]
    pub(super) emit: EmitArgs,
    #[command(flatten)]
    pub(super) options: M::Options,

    /// Measured activation ranges, which `inference` needs for inputs and outputs
    #[arg(long, value_name = "FILE")]
    ranges: Option<PathBuf>,

    /// Take settings, ranges and steps from a plan that `plan --json` wrote, edited or not, instead of a config (`-`: standard input)
    #[arg(
        long,
        value_name = "PLAN.json",
        conflicts_with_all = ["quantizer", "config", "preset", "emit", "strict", "allow_unmatched", "ranges"]
    )]
    plan: Option<PathBuf>,
}

/// The largest plan in MiB: a million sites, a hundred times what real models have.
const LARGEST: u64 = 256;

/// How ranges are got from a model that is run.
pub(super) type Measure<'a, M> = dyn Fn(&<M as Adapter>::Model, &ConfigList) -> Result<Ranges, Failure> + 'a;

/// A plan with everything that carrying it out needs.
pub(super) struct Planned<M: Adapter> {
    pub(super) model: M::Model,
    pub(super) plan: Plan,
}

impl<M: Adapter> PlanArgs<M> {
    /// What is read.
    pub(super) fn files(&self) -> Files {
        let files = Files::of_model(self.model.path())
            .may_read("the config", self.quantize.config.as_ref())
            .may_read("the ranges file", self.ranges.as_ref())
            .may_read("the plan", self.plan.as_ref());
        M::option_files(&self.options, files)
    }

    /// Plan for an output at this path.
    pub(super) fn plan(
        &self,
        global: &GlobalArgs,
        output: Option<&Path>,
        measure: Option<&Measure<'_, M>>,
    ) -> Result<Planned<M>, Failure> {
        if let Some(path) = &self.plan {
            return self.written(global, output, path);
        }
        // The config first: what is wrong there needs no model.
        let config = self.quantize.config_list()?;
        let given = self.ranges.as_deref().map(read_ranges).transpose()?;
        let model = M::with_options(&self.options, self.model.open_for(output)?)?;
        let ranges = match measure {
            Some(measure) => Some(measure(&model, &config)?),
            None => given,
        };
        let options = PlanOptions { emit: self.emit.emit, ranges: ranges.as_ref(), ..PlanOptions::default() };
        let plan = M::plan(&model, &config, M::options(&self.options, options))?;
        self.quantize.check_all(global, &plan.warnings)?;
        Ok(Planned { model, plan })
    }

    /// The decisions of a plan that was written down, about this model.
    fn written(&self, global: &GlobalArgs, output: Option<&Path>, path: &Path) -> Result<Planned<M>, Failure> {
        let shown = shown(path);
        let text = side::read(path, LARGEST, true).map_err(|error| {
            Failure::usage(Diagnostic::error("U0107", "cannot read the plan").at(&shown).caused_by(&error))
        })?;
        let plan = Plan::parse(&text).map_err(|faults| Failure::plan(&faults).at(&shown))?;
        let model = M::with_options(&self.options, self.model.open_for(output)?)?;
        let plan = M::check_plan(&model, &plan).map_err(|failure| failure.at(&shown))?;
        global.warn(&plan.warnings);
        Ok(Planned { model, plan })
    }

    /// Print the plan.
    ///
    /// # Errors
    /// A config, model or ranges file that is wrong.
    pub fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let planned = self.plan(global, None, None)?;
        let mut out = global.out();
        if global.json {
            out.json(&planned.plan)?;
        } else {
            write!(out, "{}", plan_table(&planned.plan))?;
        }
        Ok(out.finish()?)
    }
}
