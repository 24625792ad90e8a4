//! Sensitivity: what each weight costs at each number of bits, measured on the outputs of the model.
//!
//! ```text
//! plan ──▶ weights ──▶ a graph in which they are fed ──▶ one session: all float, one quantized, all but one, all
//! ```
//!
//! Every batch runs through all of these models before the next is read, so that memory does not depend on the number of samples.

mod fed;
mod mixes;
mod said;

use std::path::Path;
use std::sync::Arc;

use quant_math::evaluation::{NO_SCORES, Samples};
use quant_math::metrics::Metrics;
use quant_math::plan::{Plan, Reason, Site};
use quant_math::sensitivity::{
    Port, Quantized, Sensitivity, Trial, Trials, activations_not_tried, numbers_of_bits, plan_at,
};
use quant_math::weights::{Errors, Form, WeightMap, WeightStream};
use quant_math::{DType, Rounding};
use tensorflow::{Operation, Output, Tensor};

pub use self::mixes::Mix;
use super::RunError;
use super::data::Batch;
use super::refused::refused;
use super::session::{Model, RunOptions};
use super::value::Value;
use crate::codes;
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::rewrite::emit::WeightWork;

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct SensitivityOptions {
    /// The numbers of bits.
    pub bits: Vec<u32>,
    /// Run the model with all sites but one, too.
    pub all_but: bool,
}

/// A model on its way to the sensitivity of its weights.
#[derive(Debug)]
pub struct SensitivityMeter {
    /// Where the weights' values are.
    graph: Graph,
    model: Model,
    plan: Plan,
    outputs: Vec<Output>,
    weights: Vec<FedWeight>,
    /// How each weight is quantized, by number of bits.
    works: Vec<Vec<WeightWork>>,
    trials: Trials,
    warnings: Vec<Reason>,
}

/// A weight that is fed.
#[derive(Debug)]
struct FedWeight {
    operation: Operation,
    float: Value,
}

impl SensitivityMeter {
    /// Hand the model to TensorFlow, ready to run with any weight that the plan quantizes in float or quantized. The plan says which weights, by
    /// which quantizer, and with what scales; the numbers of bits are those of `options`.
    ///
    /// # Errors
    /// A plan of another graph, or without a weight that is quantized; bits that the quantizer does not have; those of [`Model::new`].
    pub fn new(
        graph: Graph,
        plan: &Plan,
        options: &SensitivityOptions,
        run_options: &RunOptions,
    ) -> Result<Self, Error> {
        let bits = numbers_of_bits(plan.quantizer, &options.bits).map_err(|message| RunError::Request {
            message,
            help: "give other numbers of bits with `--bits`".to_owned(),
        })?;
        check_rounding(plan)?;
        let folded = graph.settled(graph.folded_by(plan).map_err(|error| graph.in_own_file(error)))?;
        let graph = folded.unwrap_or(graph);
        let prepared = Self::prepare(&graph, plan, &bits).map_err(|error| graph.in_own_file(error));
        let Prepared { fed, works, names, warnings } = graph.settled(prepared)?;
        let mut model = Model::with_outputs(&fed, graph.output_names(), run_options)?;
        drop(fed);
        let outputs = model.outputs().iter().map(|name| model.tensor(name)).collect::<Result<Vec<_>, _>>()?;
        let ports = model.outputs().iter().zip(&outputs).map(|(name, output)| Port::new(name, said::said(output)));
        let ports = ports.collect();
        let (mut weights, mut sites) = (Vec::new(), Vec::new());
        for (name, work) in names.iter().zip(works.first().into_iter().flatten()) {
            let Some(site) = plan.sites.get(work.site).cloned() else { continue };
            let operation = model.take_input(name).ok_or_else(|| RunError::Request {
                message: format!("no output of the model depends on the weight of `{}`", site.op),
                help: "leave the op out with `exclude: true`, or name what the model is run for with `--outputs`"
                    .to_owned(),
            })?;
            let float = value(&graph, work, Arc::new(WeightMap::Unchanged))?.0;
            weights.push(FedWeight { operation, float });
            sites.push(site);
        }
        let mut trials = Trials::new(plan.quantizer, bits, sites, options.all_but);
        trials.set_outputs(ports);
        Ok(Self { graph, model, plan: plan.clone(), outputs, weights, works, trials, warnings })
    }

    /// The weights at each number of bits, and the graph in which they are fed.
    fn prepare(graph: &Graph, plan: &Plan, bits: &[u32]) -> Result<Prepared, Error> {
        graph.check_nodes()?;
        let at = |bits: &u32| graph.weight_works(&plan_at(plan, *bits));
        let mut works = bits.iter().map(at).collect::<Result<Vec<_>, _>>()?;
        let first = works.first().map(Vec::as_slice).unwrap_or_default();
        // The float and the quantized value of each, as float32.
        let elements = first.iter().fold(0_u64, |sum, work| sum.saturating_add(work.weight.elements()));
        graph.budget().take(elements.saturating_mul(2 * 4), "the weights that are fed")?;
        let (fed, found) = fed::fed(graph, first)?;
        let mut warnings: Vec<Reason> = activations_not_tried(plan).into_iter().collect();
        for (work, name) in first.iter().zip(&found) {
            if name.is_none() {
                let op = plan.sites.get(work.site).map_or(work.name.as_str(), |site| &site.op);
                let text = format!(
                    "the weight of `{op}` stands in a function or a loop, where nothing can be fed: it stays in float"
                );
                warnings.push(Reason::new(codes::NOT_TRIED, text));
            }
        }
        for works in &mut works {
            let mut is_fed = found.iter().map(Option::is_some);
            works.retain(|_| is_fed.next() == Some(true));
        }
        if works.first().is_none_or(Vec::is_empty) {
            return Err(RunError::Request {
                message: "no weight of the model is quantized and can be fed: there is nothing to measure".to_owned(),
                help: "`plan` says of each site why it is left in float".to_owned(),
            }
            .into());
        }
        Ok(Prepared { fed, works, names: found.into_iter().flatten().collect(), warnings })
    }

    /// The model, for opening and checking data.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Sites that cannot be measured, and why.
    pub fn warnings(&self) -> &[Reason] {
        &self.warnings
    }

    /// How often each sample runs through the model.
    pub fn runs(&self) -> u64 {
        self.trials.runs()
    }

    /// Run a batch through every model; `labels` are the right classes of its samples. `done` hears of each run.
    ///
    /// # Errors
    /// Outputs with NaN, labels out of range, TensorFlow's own; they name `path`, where the data is.
    pub fn add(
        &mut self,
        path: &Path,
        batch: &Batch,
        labels: Option<&[i64]>,
        done: &mut dyn FnMut(),
    ) -> Result<(), RunError> {
        let Self { graph, model, outputs, weights, works, trials, .. } = self;
        let samples = Samples { first: trials.samples(), count: batch.samples, labels };
        let failed = |error| refused(error, path);
        let mut run = |quantized: &[Value], which: Option<Quantized>| {
            let of = |at: usize| quantized.get(at).filter(|_| which.is_some_and(|which| which.has(at)));
            let values = run_with(model, batch, (weights, outputs), &of)?;
            done();
            Ok::<_, RunError>(values)
        };
        let reference = run(&[], None)?;
        let elements: Vec<_> = reference.iter().map(Value::to_f32).collect();
        let reference: Vec<_> = reference.iter().zip(&elements).map(|(value, own)| value.compared(own)).collect();
        trials.look(&reference, samples).map_err(failed)?;
        let (mut quantized, mut made) = (Vec::new(), None);
        for trial in trials.each() {
            let Trial { step, quantized: which } = trial;
            if made.replace(step) != Some(step) {
                quantized.clear();
                for (site, work) in works.get(step).into_iter().flatten().enumerate() {
                    let found = value(graph, work, work.map.clone());
                    let (value, metrics) = found.map_err(|error| RunError::Values(Box::new(error)))?;
                    quantized.push(value);
                    trials.set_weight_error(step, site, metrics);
                }
            }
            let values = run(&quantized, Some(which))?;
            let elements: Vec<_> = values.iter().map(Value::to_f32).collect();
            let own: Vec<_> = values.iter().zip(&elements).map(|(value, own)| value.compared(own)).collect();
            trials.add(trial, &reference, &own, samples).map_err(failed)?;
        }
        Ok(())
    }

    /// Everything that was added, in numbers.
    ///
    /// # Errors
    /// Labels for outputs of which none is one score per class; a file that changed meanwhile.
    pub fn finish(&self) -> Result<Sensitivity, Error> {
        self.measured().map(Sensitivity::ranked)
    }

    /// The same with the sites in the model's order, without ranks and what follows from them.
    fn measured(&self) -> Result<Sensitivity, Error> {
        self.graph.settled(Ok(()))?;
        let found = self.trials.measured(format!("tensorflow {}", self.model.version), self.warnings.clone());
        let no_scores = || RunError::Request {
            message: NO_SCORES.to_owned(),
            help: "name the output with the scores with `--outputs`".to_owned(),
        };
        Ok(found.ok_or_else(no_scores)?)
    }
}

/// What a plan comes to.
struct Prepared {
    fed: Graph,
    /// By number of bits, those that are fed.
    works: Vec<Vec<WeightWork>>,
    /// The placeholder of each.
    names: Vec<String>,
    warnings: Vec<Reason>,
}

/// The rounding that is measured must be the one that ships.
fn check_rounding(plan: &Plan) -> Result<(), RunError> {
    let is_rebuilt = |site: &&Site| site.settings().is_some_and(|settings| settings.rounding == Rounding::Reconstruct);
    match plan.quantized().find(is_rebuilt) {
        None => Ok(()),
        Some(site) => Err(RunError::Request {
            message: format!(
                "the weight of `{}` is to be rounded by reconstruction, and only weights rounded one by one are tried here",
                site.op
            ),
            help:
                "leave `rounding: \"reconstruct\"` out here; `compress --moments` and `evaluate` measure what it makes"
                    .to_owned(),
        }),
    }
}

/// What the model gives for a batch, with the weights that `quantized` has, and the others float.
fn run_with<'v>(
    model: &'v Model,
    batch: &'v Batch,
    (weights, outputs): (&'v [FedWeight], &[Output]),
    quantized: &dyn Fn(usize) -> Option<&'v Value>,
) -> Result<Vec<Value>, RunError> {
    let fed = weights.iter().enumerate();
    let fed = fed.map(|(at, weight)| (&weight.operation, 0, quantized(at).unwrap_or(&weight.float)));
    model.infer(model.feeds(batch).chain(fed), outputs)
}

/// A weight as a map makes it, as float32, and how far it is off.
fn value(graph: &Graph, work: &WeightWork, map: Arc<WeightMap>) -> Result<(Value, Metrics), Error> {
    let mut tensor = Tensor::<f32>::new(&work.weight.shape);
    let stream = WeightStream { map, form: Form::Values(DType::F32), elements: tensor.len() };
    let source = work.stream(Form::Values(DType::F32)).source;
    let data = source.data(graph)?;
    let errors = Errors::default();
    let math = |fault| Error::Math { tensor: source.node.clone(), source: fault };
    stream.fill(&data, 0, bytemuck::cast_slice_mut(&mut tensor), &errors).map_err(math)?;
    Ok((Value::F32(tensor), errors.metrics()))
}
