//! Evaluation: what a model gives on data, how far it is from a reference, and how often it is right.

mod layers;

use std::path::Path;

use quant_math::evaluation::{Comparison, Evaluation, NO_SCORES, OutputReport, Samples};
use tensorflow::Output;

use self::layers::Layers;
use super::RunError;
use super::data::Batch;
use super::refused::refused;
use super::session::Model;
use super::value::Value;
use crate::graphdef::graph::Graph;

/// What is wanted besides the comparison of outputs.
#[derive(Debug, Clone, Default)]
pub struct EvaluateOptions {
    /// The k of top-k agreement; 0: no top-k.
    pub top_k: usize,
    /// Compare the tensors inside, too.
    pub per_layer: bool,
}

/// A model being evaluated, beside a reference or alone.
#[derive(Debug)]
pub struct Evaluator {
    model: Model,
    reference: Option<Model>,
    outputs: Vec<Compared>,
    layers: Option<Layers>,
    samples: u64,
    labelled: u64,
}

/// An output of the model, and the reference's that it is compared with.
#[derive(Debug)]
struct Compared {
    output: Output,
    reference: Option<Output>,
    comparison: Comparison,
}

impl Evaluator {
    /// Evaluate `model`, against `reference` where there is one; `graph` is the model's own graph.
    ///
    /// # Errors
    /// Models whose inputs or outputs differ.
    pub fn new(
        model: Model,
        mut reference: Option<Model>,
        graph: &Graph,
        options: &EvaluateOptions,
    ) -> Result<Self, RunError> {
        if let Some(reference) = &mut reference {
            reference.call_inputs_as(&model);
            let (mut own, mut others) = (model.input_names(), reference.input_names());
            own.sort();
            others.sort();
            if own != others {
                return Err(RunError::Request {
                    message: format!("the models have different inputs: {own:?} and {others:?}"),
                    help: "compare two forms of one model".to_owned(),
                });
            }
        }
        let mut outputs = Vec::new();
        for name in model.outputs() {
            let output = model.tensor(name)?;
            let beside = match &reference {
                None => None,
                Some(reference) => Some(reference.same_output(&model, name).map_err(|_| RunError::Request {
                    message: format!("the reference has no tensor `{name}`, which is an output of the model"),
                    help: "name outputs that both have with `--outputs`".to_owned(),
                })?),
            };
            outputs.push(Compared { output, reference: beside, comparison: Comparison::new(name, options.top_k) });
        }
        let layers = match (&reference, options.per_layer) {
            (Some(reference), true) => Some(Layers::new(&model, reference, graph)),
            (None, true) => {
                return Err(RunError::Request {
                    message: "layers can only be compared with those of another model".to_owned(),
                    help: "name the reference with `--against`".to_owned(),
                });
            }
            (_, false) => None,
        };
        Ok(Self { model, reference, outputs, layers, samples: 0, labelled: 0 })
    }

    /// The model, for opening and checking data.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Run a batch; `labels` are the right classes of its samples. Returns the model's outputs, in the order of [`Model::outputs`].
    ///
    /// # Errors
    /// Outputs with NaN, labels out of range, TensorFlow's own; they name `path`, where the data is.
    pub fn add(&mut self, path: &Path, batch: &Batch, labels: Option<&[i64]>) -> Result<Vec<Value>, RunError> {
        let inside = self.layers.as_ref().map(Layers::fetches).unwrap_or_default();
        let fetches: Vec<Output> =
            self.outputs.iter().map(|o| o.output.clone()).chain(inside.iter().map(|(own, _)| own.clone())).collect();
        let mut values = self.model.run(batch, &fetches)?;
        let own_inside = values.split_off(self.outputs.len());
        let mut references = Vec::new();
        let mut reference_inside = Vec::new();
        if let Some(reference) = &self.reference {
            let fetches = self
                .outputs
                .iter()
                .filter_map(|o| o.reference.clone())
                .chain(inside.iter().map(|(_, other)| other.clone()));
            references = reference.run(batch, &fetches.collect::<Vec<_>>())?;
            reference_inside = references.split_off(self.outputs.len());
        }
        let samples = Samples { first: self.samples, count: batch.samples, labels };
        for (position, (compared, value)) in self.outputs.iter_mut().zip(&values).enumerate() {
            let reference = references.get(position).map(|value| (value, value.to_f32()));
            let reference = reference.as_ref().map(|(value, elements)| value.compared(elements));
            let added = compared.comparison.add(value.compared(&value.to_f32()), reference, samples);
            added.map_err(|error| refused(error, path))?;
        }
        if let Some(layers) = &mut self.layers {
            layers.add(&own_inside, &reference_inside);
        }
        self.samples += batch.samples;
        if labels.is_some() {
            self.labelled += batch.samples;
        }
        Ok(values)
    }

    /// Everything that was added, in numbers.
    ///
    /// # Errors
    /// Labels for outputs of which none is one score per class.
    pub fn finish(&self) -> Result<Evaluation, RunError> {
        let outputs: Vec<OutputReport> = self.outputs.iter().map(|output| output.comparison.report()).collect();
        if self.labelled > 0 && outputs.iter().all(|output| output.accuracy.is_none()) {
            return Err(RunError::Request {
                message: NO_SCORES.to_owned(),
                help: "name the output with the scores with `--outputs`".to_owned(),
            });
        }
        let (layers, entrances) = self.layers.as_ref().map(Layers::finish).unwrap_or_default();
        Ok(Evaluation { samples: self.samples, outputs, layers, entrances })
    }
}
