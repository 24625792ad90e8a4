//! Sensitivity: what each weight costs at each number of bits, measured on the outputs of the model.
//!
//! ```text
//! plan ──▶ weights ──▶ a graph in which they are fed ──▶ one session: all float, one quantized, all but one, all
//! ```
//!
//! Every batch runs through all of these models before the next is read, so that memory does not depend on the number of samples.

mod compared;
mod fed;
mod mixes;

use std::path::Path;
use std::sync::Arc;

use quant_math::evaluation::{EvaluationError, NO_SCORES, Samples};
use quant_math::metrics::Metrics;
use quant_math::plan::{Decision, Plan, Quantizer, Reason, Settings, Site};
use quant_math::sensitivity::{AtBits, Loss, RankedBy, SENSITIVITY_VERSION, Sensitivity, SiteSensitivity, Whole};
use quant_math::weights::{Errors, Form, WeightMap, WeightStream};
use quant_math::{DType, Emit, Rounding};
use tensorflow::{Operation, Output, Tensor};

use self::compared::{Compared, Port};
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
    ports: Vec<Port>,
    weights: Vec<FedWeight>,
    steps: Vec<Step>,
    all_but: bool,
    samples: u64,
    labelled: bool,
    warnings: Vec<Reason>,
}

/// A weight that is fed.
#[derive(Debug)]
struct FedWeight {
    site: Site,
    operation: Operation,
    float: Value,
}

/// All models at a number of bits.
#[derive(Debug)]
struct Step {
    bits: u32,
    /// How each weight is quantized.
    works: Vec<WeightWork>,
    /// How far each weight is off itself, once it was quantized.
    errors: Vec<Option<Metrics>>,
    whole: Vec<Compared>,
    alone: Vec<Vec<Compared>>,
    all_but: Vec<Vec<Compared>>,
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
        let bits = numbers_of_bits(plan.quantizer, &options.bits)?;
        check_rounding(plan)?;
        let folded = graph.settled(graph.folded_by(plan).map_err(|error| graph.in_own_file(error)))?;
        let graph = folded.unwrap_or(graph);
        let prepared = Self::prepare(&graph, plan, &bits).map_err(|error| graph.in_own_file(error));
        let Prepared { fed, mut works, names, warnings } = graph.settled(prepared)?;
        let mut model = Model::with_outputs(&fed, graph.output_names(), run_options)?;
        drop(fed);
        let ports = model.outputs().iter().map(|name| Port::new(&model, name)).collect::<Result<Vec<_>, _>>()?;
        let mut weights = Vec::new();
        for (name, work) in names.iter().zip(works.first().into_iter().flatten()) {
            let Some(site) = plan.sites.get(work.site).cloned() else { continue };
            let operation = model.take_input(name).ok_or_else(|| RunError::Request {
                message: format!("no output of the model depends on the weight of `{}`", site.op),
                help: "leave the op out with `exclude: true`, or name what the model is run for with `--outputs`"
                    .to_owned(),
            })?;
            let float = value(&graph, work, Arc::new(WeightMap::Unchanged))?.0;
            weights.push(FedWeight { site, operation, float });
        }
        let sums = |_: &FedWeight| ports.iter().map(Compared::new).collect::<Vec<_>>();
        let step = |(bits, works)| Step {
            bits,
            works,
            errors: vec![None; weights.len()],
            whole: ports.iter().map(Compared::new).collect(),
            alone: weights.iter().map(sums).collect(),
            all_but: weights.iter().filter(|_| options.all_but).map(sums).collect(),
        };
        let steps = bits.into_iter().zip(works.drain(..)).map(step).collect();
        let (plan, all_but) = (plan.clone(), options.all_but);
        Ok(Self { graph, model, plan, ports, weights, steps, all_but, samples: 0, labelled: false, warnings })
    }

    /// The weights at each number of bits, and the graph in which they are fed.
    fn prepare(graph: &Graph, plan: &Plan, bits: &[u32]) -> Result<Prepared, Error> {
        graph.check_nodes()?;
        let at = |bits: u32| {
            let mut plan = Plan { emit: Emit::Baked, ..plan.clone() };
            for site in &mut plan.sites {
                if let Decision::Quantize(settings) = &mut site.decision {
                    *settings = Settings { bits, ..*settings };
                }
            }
            graph.weight_works(&plan)
        };
        let mut works = bits.iter().map(|bits| at(*bits)).collect::<Result<Vec<_>, _>>()?;
        let first = works.first().map(Vec::as_slice).unwrap_or_default();
        // The float and the quantized value of each, as float32.
        let elements = first.iter().fold(0_u64, |sum, work| sum.saturating_add(work.weight.elements()));
        graph.budget().take(elements.saturating_mul(2 * 4), "the weights that are fed")?;
        let (fed, found) = fed::fed(graph, first)?;
        let mut warnings = Vec::new();
        let activations = plan.skipped().filter(|(_, reason)| reason.is(codes::WEIGHTS_ONLY)).count();
        if activations > 0 {
            let text = format!(
                "weights alone are tried: {activations} inputs and outputs that the config names stay in float"
            );
            warnings.push(Reason::new(codes::NOT_TRIED, text));
        }
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
        let sites = self.weights.len() as u64;
        let of_step = 1 + sites + if self.all_but { sites } else { 0 };
        1 + of_step * self.steps.len() as u64
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
        let Self { graph, model, ports, weights, steps, .. } = self;
        let fetches: Vec<Output> = ports.iter().map(|port| port.output.clone()).collect();
        let names: Vec<String> = ports.iter().map(|port| port.name.clone()).collect();
        let numbers: Vec<u64> = (self.samples..).take(usize::try_from(batch.samples).unwrap_or(usize::MAX)).collect();
        let samples = Samples { first: self.samples, count: batch.samples, labels };
        let mut run = |quantized: &[Value], is_quantized: &dyn Fn(usize) -> bool, who: &dyn Fn() -> String| {
            let fed = weights.iter().enumerate().map(|(at, weight)| {
                let quantized = quantized.get(at).filter(|_| is_quantized(at));
                (&weight.operation, 0, quantized.unwrap_or(&weight.float))
            });
            let values = model.infer(model.feeds(batch).chain(fed), &fetches)?;
            for (name, value) in names.iter().zip(&values) {
                if let Some(at) = value.first_nan() {
                    let error = EvaluationError::nan(&who(), name, value.shape(), at, &numbers);
                    return Err(refused(error, path));
                }
            }
            done();
            Ok::<_, RunError>(values)
        };
        let reference = run(&[], &|_| false, &|| "the model".to_owned())?;
        for (port, value) in ports.iter_mut().zip(&reference) {
            port.look(value);
        }
        let add = |sums: &mut [Compared], values: &[Value]| {
            let mut each = sums.iter_mut().zip(&*ports).zip(reference.iter().zip(values));
            each.try_for_each(|((sums, port), (reference, value))| sums.add(port, reference, value, samples))
                .map_err(|error| refused(error, path))
        };
        for Step { bits, works, errors, whole, alone, all_but } in steps {
            let mut quantized = Vec::with_capacity(works.len());
            for (work, error) in works.iter().zip(errors) {
                let made = value(graph, work, work.map.clone());
                let (value, metrics) = made.map_err(|error| RunError::Values(Box::new(error)))?;
                quantized.push(value);
                *error = Some(metrics);
            }
            let op = |at: usize| weights.get(at).map_or("", |weight| weight.site.op.as_str());
            let all = run(&quantized, &|_| true, &|| format!("the model with all weights at {bits} bits"))?;
            add(whole, &all)?;
            for (own, sums) in alone.iter_mut().enumerate() {
                let who = || format!("the model with the weight of `{}` at {bits} bits", op(own));
                add(sums, &run(&quantized, &|at| at == own, &who)?)?;
            }
            for (own, sums) in all_but.iter_mut().enumerate() {
                let who = || format!("the model with all weights but that of `{}` at {bits} bits", op(own));
                add(sums, &run(&quantized, &|at| at != own, &who)?)?;
            }
        }
        self.samples += batch.samples;
        self.labelled |= labels.is_some();
        Ok(())
    }

    fn ranked_by(&self) -> RankedBy {
        let has_scores = self.ports.iter().any(|port| port.scores().is_some());
        if has_scores { RankedBy::Kl } else { RankedBy::Noise }
    }

    fn loss(&self, sums: &[Compared]) -> Loss {
        Loss::new(self.ranked_by(), sums.iter().zip(&self.ports).map(|(sums, port)| sums.loss(port)).collect())
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
        let first = self.steps.first();
        let outputs = first.map(|step| &step.whole).into_iter().flatten().zip(&self.ports);
        let outputs: Vec<_> = outputs.map(|(compared, port)| compared.output(port)).collect();
        if self.labelled && outputs.iter().all(|output| output.accuracy.is_none()) {
            return Err(RunError::Request {
                message: NO_SCORES.to_owned(),
                help: "name the output with the scores with `--outputs`".to_owned(),
            }
            .into());
        }
        let ranked_by = self.ranked_by();
        let loss = |sums: &[Compared]| self.loss(sums);
        let at = |own: usize, step: &Step| {
            Some(AtBits {
                bits: step.bits,
                rank: 0,
                alone: loss(step.alone.get(own)?),
                all_but: step.all_but.get(own).map(|sums| loss(sums)),
                weight_sqnr_db: step.errors.get(own).copied().flatten().and_then(|error| error.sqnr_db),
            })
        };
        let site = |(own, weight): (usize, &FedWeight)| {
            let Site { op, op_type, kind, tensor, shape, .. } = weight.site.clone();
            let at = self.steps.iter().filter_map(|step| at(own, step)).collect();
            SiteSensitivity { op, op_type, kind, tensor, shape, at }
        };
        let whole = self.steps.iter().map(|step| Whole { bits: step.bits, loss: loss(&step.whole) });
        let found = Sensitivity {
            version: SENSITIVITY_VERSION,
            framework: format!("tensorflow {}", self.model.version),
            quantizer: self.plan.quantizer,
            samples: self.samples,
            bits: self.steps.iter().map(|step| step.bits).collect(),
            ranked_by,
            outputs,
            whole: whole.collect(),
            sites: self.weights.iter().enumerate().map(site).collect(),
            advice: None,
            warnings: self.warnings.clone(),
        };
        Ok(found)
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

/// The numbers of bits, most first, each once.
fn numbers_of_bits(quantizer: Quantizer, asked: &[u32]) -> Result<Vec<u32>, RunError> {
    let known = quantizer.row().bits;
    if let Some(wrong) = asked.iter().find(|bits| !known.contains(**bits)) {
        return Err(RunError::Request {
            message: format!("{wrong} bits is out of range for {quantizer}, expected {}", known.words),
            help: "give other numbers of bits with `--bits`".to_owned(),
        });
    }
    let mut bits = asked.to_vec();
    bits.sort_unstable();
    bits.dedup();
    bits.reverse();
    Ok(bits)
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
