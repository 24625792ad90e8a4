//! From a frozen graph to a training graph that TensorFlow holds.

use quant_math::DType;
use quant_math::config::ConfigList;
use quant_math::plan::{Emit, Gradient, PlanOptions, Reason, Site};
use quant_math::ranges::fingerprint;

use super::super::RunError;
use super::super::session::{Model, RunOptions};
use crate::codes;
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::rewrite::for_trainers::INIT;
use crate::rewrite::thaw::{Trainable, TrainableGraph};

/// A training graph in TensorFlow, with its first values.
pub(super) struct Prepared {
    pub(super) training: Graph,
    pub(super) model: Model,
    pub(super) trainables: Vec<Trainable>,
    /// The step from which on every site is quantized.
    pub(super) all_begun: u64,
    pub(super) warnings: Vec<Reason>,
    /// The float model's.
    pub(super) fingerprint: String,
    /// The plan's.
    pub(super) plan: String,
    /// Sites that are not trained quantized, for the report.
    pub(super) skipped: Vec<Site>,
}

impl Prepared {
    pub(super) fn new(graph: Graph, config: &ConfigList, run: &RunOptions) -> Result<Self, Error> {
        let outputs = graph.output_names();
        let (float, interface) = (graph.fingerprint(), graph.interface().clone());
        let TrainableGraph { graph, variables: trainables, kept, init } = graph.into_trainable()?;
        let quantized = kept.iter().find(|kept| kept.reason.is(codes::ALREADY_QUANTIZED));
        let quantized = quantized.map(|kept| format!("`{}`, the weight of `{}`,", kept.constant, kept.op));
        let mut warnings: Vec<Reason> = kept
            .into_iter()
            .map(|kept| {
                Reason::new(
                    codes::NOT_TRAINED,
                    format!("`{}` (read by `{}`) stays as it is: {}", kept.constant, kept.op, kept.reason.text),
                )
            })
            .collect();
        let (mut trainables, others): (Vec<_>, Vec<_>) =
            trainables.into_iter().partition(|trainable| trainable.dtype == DType::F32);
        warnings.extend(others.iter().map(|other| {
            let text = format!("`{}` stays as it is: training is in float32, and its elements are not", other.read);
            Reason::new(codes::NOT_TRAINED, text)
        }));
        if trainables.is_empty() {
            return Err(nothing_to_train(quantized.as_deref(), others.first()).into());
        }
        let plan_options = PlanOptions {
            emit: Some(Emit::Training),
            gradient: Gradient::Composed,
            fold: run.fold,
            ..PlanOptions::default()
        };
        let plan = graph.plan(config, plan_options)?;
        // Whether it is late is known here: the caller counts the steps.
        warnings.extend(plan.warnings.iter().filter(|warning| !warning.is(codes::LATE_START)).cloned());
        if plan.is_empty() {
            let reason = plan
                .skipped()
                .next()
                .map(|(site, reason)| format!(" (`{}`: {})", site.op, reason.text))
                .unwrap_or_default();
            return Err(RunError::Request {
                message: format!("the config quantizes nothing of this graph{reason}"),
                help: "`plan MODEL --config C` shows every site and why it is skipped".to_owned(),
            }
            .into());
        }
        let all_begun = plan
            .quantized()
            .filter_map(|site| site.settings())
            .map(|settings| settings.quant_start_step)
            .max()
            .unwrap_or(0);
        let skipped = plan.skipped().map(|(site, _)| site.clone()).collect();
        let mut bytes = Vec::new();
        let plan_text = serde_json::to_vec(&plan).unwrap_or_default();
        graph.apply(&plan)?.write(&mut bytes)?;
        // By the interface, sites are called after it what they are called in the model.
        let training = Graph::from_bytes(bytes)?.with_outputs(&outputs)?.made_by(Vec::new(), interface.clone());
        trainables.extend(training.step_sizes()?);
        let model = Model::from_bytes(training.bytes(), outputs, &interface, run)?;
        for name in [init.as_str(), INIT] {
            // A config of weights alone needs no state, and so no init op.
            if let Some(operation) = model.graph.operation_by_name(name).ok().flatten() {
                model.run_with([], &[], &[&operation])?;
            }
        }
        let plan = fingerprint(crc32c::crc32c(&plan_text), plan_text.len() as u64);
        Ok(Self { training, model, trainables, all_begun, warnings, fingerprint: float, plan, skipped })
    }
}

/// Why a graph has nothing to train: its weights are `quantized`, or of `other` types, or there are none.
fn nothing_to_train(quantized: Option<&str>, other: Option<&Trainable>) -> RunError {
    let message = match (quantized, other) {
        (Some(weight), _) => {
            format!("the graph has no constant that could be trained: {weight} is quantized already")
        }
        (None, Some(other)) => {
            format!("the graph has no float32 constant that could be trained: `{}` is none", other.read)
        }
        (None, None) => "the graph has no constant that could be trained".to_owned(),
    };
    let help = if quantized.is_some() {
        "train the float model that this one was made from: codes have no gradient"
    } else {
        "`inspect MODEL` lists the weights; a graph with variables is trained from `--emit training`"
    };
    RunError::Request { message, help: help.to_owned() }
}
