//! `compress` with bits that are searched for: the data runs through the model with each weight quantized, then through mixes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use quant_cli::{Adapter, BitsArgs, CompressArgs, Failure, GlobalArgs, Mixing, Progress, Wanted};
use quant_math::Emit;
use quant_math::allocation::Mixable;
use quant_math::config::ConfigList;
use quant_math::plan::{PlanOptions, QuantType};
use quant_math::sensitivity::{Loss, Sensitivity};
use tf_rewriter::run::{Batch, Mix, RunError, RunOptions, SensitivityMeter, SensitivityOptions, labels};

use crate::calibrate::{DataArgs, run_failure};
use crate::coded::failure;
use crate::library::Library;
use crate::model::ModelArgs;

/// A search for bits, and the data that it measures on.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    bits: BitsArgs,

    /// The data that the bits are searched on: arrays by input name, the sample outermost: a .npz, a .npy, or a folder of them
    #[arg(long, value_name = "DATA", requires = "goal", help_heading = "Bits by search", group = "measures")]
    data: Option<PathBuf>,

    /// The array with the right classes, counted from 0: a drop is one of accuracy then
    #[arg(long, value_name = "NAME", requires = "goal", help_heading = "Bits by search")]
    labels: Option<String>,
}

impl SearchArgs {
    /// The data, where a search is asked for.
    pub(crate) fn data(&self) -> Option<&Path> {
        self.data.as_deref().filter(|_| self.bits.is_wanted())
    }

    /// Search, and write the model.
    pub(crate) fn run(
        &self,
        global: &GlobalArgs,
        library: Library,
        compress: &CompressArgs<ModelArgs>,
        data: &DataArgs,
    ) -> Result<(), Failure> {
        let library = std::cell::Cell::new(Some(library));
        compress.run_with_bits(global, &self.bits, &data.data, &|wanted| {
            if let Some(library) = library.take() {
                library.load(global)?;
            }
            Ok(Box::new(self.measured(global, compress, data, wanted)?))
        })
    }

    /// Each weight alone at each number of bits.
    fn measured<'a>(
        &'a self,
        global: &'a GlobalArgs,
        compress: &'a CompressArgs<ModelArgs>,
        data: &'a DataArgs,
        wanted: &Wanted<'_>,
    ) -> Result<Mixer<'a>, Failure> {
        let fold = compress.options().fold.fold();
        let fixed = data.feeds.feed.clone();
        let run_options = RunOptions { threads: global.jobs, fixed, fold, ..RunOptions::default() };
        let graph = compress.model().open()?;
        // Weights have the codes of `baked` and `packed`.
        let plan = PlanOptions { emit: Some(Emit::Baked), fold, ..PlanOptions::default() };
        let plan = graph.plan(wanted.config, plan).map_err(failure)?;
        let options = SensitivityOptions { bits: wanted.bits.to_vec(), all_but: false };
        let mut meter = SensitivityMeter::new(graph, &plan, &options, &run_options).map_err(failure)?;
        global.warn(meter.warnings());
        let entries =
            meter.measured_sites().filter_map(|site| site.settings()).map(|settings| settings.entry).collect();
        let mut opened = data.open(meter.model(), self.labels.as_deref())?;
        let batch = data.batch_for(global, &opened);
        let progress = Progress::new(global, "measuring", opened.samples().saturating_mul(meter.runs()));
        while let Some(mut next) = opened.next(batch).map_err(run_failure)? {
            let classes = self.labels.as_ref().map(|name| labels::take(opened.path(), name, &mut next));
            let classes = classes.transpose().map_err(run_failure)?;
            let mut done = || progress.inc(next.samples);
            meter.add(opened.path(), &next, classes.as_deref(), &mut done).map_err(run_failure)?;
            if wanted.needs_classes && !meter.has_scores() {
                return Err(BitsArgs::no_classes());
            }
        }
        drop(progress);
        let measured = meter.in_order().map_err(failure)?;
        let weights = meter.mixable(&measured).map_err(failure)?;
        Ok(Mixer { search: self, global, compress, data, run_options, meter, measured, entries, weights })
    }
}

/// The model, with weights of any bits.
struct Mixer<'a> {
    search: &'a SearchArgs,
    global: &'a GlobalArgs,
    compress: &'a CompressArgs<ModelArgs>,
    data: &'a DataArgs,
    run_options: RunOptions,
    meter: SensitivityMeter,
    measured: Sensitivity,
    entries: Vec<usize>,
    weights: Vec<Mixable>,
}

impl Mixer<'_> {
    /// Run all data through a mix.
    fn all(&self, mut mix: Mix, action: &'static str) -> Result<Loss, Failure> {
        let mut data = self.data.open(self.meter.model(), self.search.labels.as_deref())?;
        // What does not fill a batch of a fixed size was told of before.
        let batch = data.exact().unwrap_or(self.data.batch.get());
        let progress = Progress::new(self.global, action, data.samples());
        let mut add = |path: &Path, batch: &mut Batch| -> Result<(), RunError> {
            let classes = self.search.labels.as_ref().map(|name| labels::take(path, name, batch)).transpose()?;
            self.meter.add_to(&mut mix, path, batch, classes.as_deref())
        };
        while let Some(mut next) = data.next(batch).map_err(run_failure)? {
            add(data.path(), &mut next).map_err(run_failure)?;
            progress.inc(next.samples);
        }
        self.meter.loss_of(&mix).map_err(failure)
    }
}

impl Mixing for Mixer<'_> {
    fn measured(&self) -> &Sensitivity {
        &self.measured
    }

    fn entries(&self) -> &[usize] {
        &self.entries
    }

    fn weights(&self) -> &[Mixable] {
        &self.weights
    }

    fn bits_of(&self, config: &ConfigList) -> Result<BTreeMap<String, u32>, Failure> {
        let graph = self.compress.model().open()?;
        let options = PlanOptions { emit: Some(Emit::Baked), fold: self.run_options.fold, ..PlanOptions::default() };
        let plan = graph.plan(config, options).map_err(failure)?;
        let weights = plan.quantized().filter(|site| site.kind == QuantType::Weight);
        Ok(weights.filter_map(|site| Some((site.op.clone(), site.settings()?.bits))).collect())
    }

    fn run(&mut self, bits: &[Option<u32>]) -> Result<Loss, Failure> {
        self.all(self.meter.mix(bits).map_err(failure)?, "measuring a mix")
    }

    fn verify(&mut self, config: &ConfigList, emit: Emit) -> Result<Loss, Failure> {
        let graph = self.compress.model().open()?;
        let options = PlanOptions { emit: Some(emit), fold: self.run_options.fold, ..PlanOptions::default() };
        let plan = graph.plan(config, options).map_err(failure)?;
        let compressed = graph.apply(&plan).map_err(failure)?;
        let written = self.meter.written(&compressed, &self.run_options).map_err(failure)?;
        self.all(written, "verifying")
    }
}
