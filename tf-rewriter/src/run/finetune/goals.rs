//! What a model is trained on: which of its outputs, and how their classes compare with labels.

use std::collections::BTreeSet;
use std::path::Path;

use quant_math::evaluation::EvaluationError;
use quant_math::ranking::Ranking;
use tensorflow::{DataType, Operation, Output};

use super::super::RunError;
use super::super::refused::refused;
use super::super::session::Model;
use super::super::value::Value;
use super::samples::Samples;
use crate::find::ops::is_quantizer;
use crate::graphdef::graph::Graph;

/// An output that is trained.
#[derive(Debug, Clone)]
pub(super) struct TrainedOutput {
    /// `node:port`.
    pub(super) name: String,
    pub(super) output: Output,
    /// Elements of a sample, where it is one score per class.
    pub(super) classes: Option<u64>,
    /// Elements of the last dimension.
    pub(super) last: u64,
    /// Whether the scores are probabilities already.
    pub(super) is_softmax: bool,
}

/// The outputs that can be trained, from a look at what they give. `softmaxes` are the names of those that are probabilities.
pub(super) fn outputs_of(
    model: &Model,
    samples: &Samples,
    softmaxes: &BTreeSet<String>,
) -> Result<Vec<TrainedOutput>, RunError> {
    let numbers: Vec<usize> = (0..samples.exact().unwrap_or(1)).collect();
    let (first, _) = samples.gather(&numbers);
    let float =
        |name: &String| Some((name.clone(), model.tensor(name).ok().filter(|output| is_float(&output.operation))?));
    let outputs: Vec<(String, Output)> = model.outputs().iter().filter_map(float).collect();
    let fetches: Vec<Output> = outputs.iter().map(|(_, output)| output.clone()).collect();
    let values = model.run(&first, &fetches)?;
    let trained = outputs.into_iter().zip(values).map(|((name, output), value)| {
        let classes = match value.shape() {
            &[rows, classes] if rows == first.samples && classes > 1 => Some(classes),
            _ => None,
        };
        let last = value.shape().last().copied().unwrap_or(1);
        let is_softmax = softmaxes.contains(&name);
        TrainedOutput { name, output, classes, last, is_softmax }
    });
    Ok(trained.collect())
}

fn is_float(operation: &Operation) -> bool {
    operation.num_outputs() > 0 && operation.output_type(0) == DataType::Float
}

/// The outputs (`node:port`) of a float graph that are a Softmax, as it is or in another shape; quantization in the graph itself does not
/// hide it.
pub(super) fn softmaxes(graph: &Graph) -> BTreeSet<String> {
    const LONGEST: usize = 32;
    let is_softmax = |name: &String| {
        let mut at = graph.named(name.strip_suffix(":0").unwrap_or(name));
        for _ in 0..LONGEST {
            let Some(id) = at else { return false };
            at = match graph.op(id) {
                b"Softmax" => return true,
                b"Identity" | b"Reshape" | b"Squeeze" | b"ExpandDims" | b"StopGradient" | b"CheckNumerics"
                | b"EnsureShape" => graph.source(id, 0),
                op if is_quantizer(op) => graph.source(id, 0),
                _ => return false,
            };
        }
        false
    };
    graph.output_names().into_iter().filter(is_softmax).collect()
}

/// Refuse a label that is no class.
pub(super) fn check_labels(samples: &Samples, outputs: &[TrainedOutput], path: &Path) -> Result<(), RunError> {
    let (Some(labels), Some(classes)) = (samples.labels(), outputs.iter().find_map(|output| output.classes)) else {
        return Ok(());
    };
    let wrong =
        labels.iter().enumerate().find(|(_, label)| u64::try_from(**label).map_or(true, |label| label >= classes));
    match wrong {
        Some((sample, label)) => {
            Err(refused(EvaluationError::Label { sample: sample as u64, label: *label, classes }, path))
        }
        None => Ok(()),
    }
}

/// How many of the highest scores are at the labels; where a score is NaN, none.
pub(super) fn hits(scores: &Value, labels: &[i64]) -> u64 {
    let mut ranking = Ranking::new(1);
    let classes = scores.shape().get(1).and_then(|classes| usize::try_from(*classes).ok()).unwrap_or_default();
    // Labels were checked; NaN shows in the loss.
    ranking.against_labels(classes, labels, &scores.to_f32()).map_or(0, |()| ranking.first())
}
