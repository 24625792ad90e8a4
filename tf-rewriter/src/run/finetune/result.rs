//! What a training comes to: the model that is written, and what it is held against.

use std::collections::BTreeSet;

use quant_math::fold::Fold;
use quant_math::plan::{Emit, Reason, Site};
use quant_math::quantizers::table::StepSource;
use quant_math::ranges::Ranges;
use quant_math::{Plan, QuantType};

use super::Finetuner;
use super::judge::Judge;
use super::variables::Snapshot;
use crate::codes;
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::rewrite::apply::Compressed;
use crate::rewrite::for_trainers::STEP;
use crate::run::calibrate::Calibrator;
use crate::run::session::RunOptions;
use crate::run::value::Value;

impl Finetuner {
    /// The result, frozen: the model of the best epoch, or the untrained one where that is no worse on the samples that are held back
    /// (on all, where none are). Which it is stands among the warnings of the plan, as `best-epoch` or `untrained`.
    ///
    /// # Errors
    /// Those of [`Graph::freeze`]; TensorFlow's own.
    pub fn freeze(self, emit: Emit) -> Result<Compressed, Error> {
        let (float, plan) = self.chosen(emit)?;
        float.apply(&plan)
    }

    /// The same, carried over to `whole`: the graph of all signatures of a SavedModel, folded ([`Graph::folded`]) before this was made of one of them
    /// ([`Graph::of_signature`]). What was trained has its new values wherever a signature reads it, and is quantized there alike.
    ///
    /// # Errors
    /// Those of [`Finetuner::freeze`] and [`Graph::check_plan`].
    pub fn freeze_into(self, whole: &Graph, emit: Emit) -> Result<Compressed, Error> {
        let (float, plan) = self.chosen(emit)?;
        let whole = whole.with_constants_of(&float)?;
        let plan = whole.check_plan(&plan)?;
        whole.apply(&plan)
    }

    /// The float model that is to be written, and what is to be done with it.
    fn chosen(&self, emit: Emit) -> Result<(Graph, Plan), Error> {
        let Some((epoch, trained)) = self.best.as_ref() else { return self.candidate(&self.begin, emit, None) };
        if !epoch.quantized {
            // What begins later is float, and no match for what is quantized.
            return self.unfinished(trained, emit);
        }
        let numbers = if self.validation.is_empty() { &self.train } else { &self.validation };
        let judge = Judge {
            samples: &self.samples,
            numbers,
            batch: self.batch,
            teacher: self.teacher.as_ref(),
            outputs: &self.trainer.outputs,
            options: &self.options,
            run: &self.run,
        };
        let score = |(float, plan): (Graph, Plan)| judge.score(&float.apply(&plan)?);
        let untrained = score(self.candidate(&self.begin, emit, None)?)?;
        let found = score(self.candidate(trained, emit, None)?)?;
        let number = epoch.number;
        let how = match self.config.quantizer.row().steps {
            StepSource::Learnt => "with the steps of the first batch",
            StepSource::Range | StepSource::Levels => "with measured ranges",
        };
        let on = format!("on {} samples{}", numbers.len(), if self.validation.is_empty() { "" } else { " held back" });
        if found.is_better_than(&untrained) {
            let text = format!(
                "the model of epoch {number} is written: {}; untrained, {how}: {} ({on})",
                found.told(),
                untrained.told()
            );
            return self.candidate(trained, emit, Some(Reason::new(codes::BEST_EPOCH, text)));
        }
        let text = format!(
            "training made the model no better, and the untrained one is written, {how}: {}; after epoch {number}: {} ({on}); try \
             a smaller `--lr`, more data, or another `--loss`",
            untrained.told(),
            found.told()
        );
        self.candidate(&self.begin, emit, Some(Reason::new(codes::UNTRAINED, text)))
    }

    /// A model with these weights, to be quantized with ranges that are measured for them.
    fn candidate(&self, values: &Snapshot, emit: Emit, about: Option<Reason>) -> Result<(Graph, Plan), Error> {
        // Every site quantizes, whenever it was to begin in the training.
        let begun = i64::try_from(self.all_begun.max(self.steps)).unwrap_or(i64::MAX);
        let step = Value::I64(tensorflow::Tensor::from(begun));
        let value = |name: &str| if name == STEP { Some(&step) } else { values.get(name) };
        let measure = |float: &Graph, plan: &Plan| self.ranges(float, plan);
        let (float, mut plan) =
            self.training.float_and_plan(&|name| Ok(value(name).map(Value::to_stored)), emit, Some(&measure))?;
        self.add_skipped(&mut plan);
        plan.warnings.extend(about);
        Ok((float.with_folds(self.folds.clone()), plan))
    }

    /// A model in which quantization has not begun everywhere.
    fn unfinished(&self, values: &Snapshot, emit: Emit) -> Result<(Graph, Plan), Error> {
        let value = |name: &str| Ok(values.get(name).map(Value::to_stored));
        let (float, mut plan) = self.training.float_and_plan(&value, emit, None)?;
        self.add_skipped(&mut plan);
        Ok((float.with_folds(self.folds.clone()), plan))
    }

    fn add_skipped(&self, plan: &mut Plan) {
        let known: BTreeSet<(String, QuantType)> = plan.sites.iter().map(|site| (site.op.clone(), site.kind)).collect();
        let new = |site: &&Site| !known.contains(&(site.op.clone(), site.kind));
        plan.sites.extend(self.skipped.iter().filter(new).cloned());
        plan.folds.clone_from(&self.folds);
    }

    /// The ranges of a float model's activations on all samples, as `calibrate` measures them; `None` where none is needed.
    fn ranges(&self, float: &Graph, plan: &Plan) -> Result<Option<Ranges>, Error> {
        let needs = |site: &Site| {
            let settings = site.settings().filter(|settings| settings.quantizer.row().measures());
            settings.is_some() && matches!(site.kind, QuantType::Input | QuantType::Output)
        };
        if !plan.sites.iter().any(needs) {
            return Ok(None);
        }
        // It was trained as it is.
        let run = RunOptions { fold: Fold::Off, ..self.run.clone() };
        let mut calibrator = Calibrator::new(float, &self.config, &run)?;
        let all: Vec<usize> = (0..self.samples.count()).collect();
        for numbers in self.samples.batches(&all, self.batch) {
            calibrator.observe(&self.samples.gather(numbers).0)?;
        }
        Ok(Some(calibrator.ranges()?))
    }
}
