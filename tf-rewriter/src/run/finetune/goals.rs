//! What a model is trained on: which of its outputs, and how their classes compare with labels.

use std::path::Path;

use quant_math::ranking::Ranking;
use tensorflow::{DataType, Operation};

use super::super::RunError;
use super::super::labels::no_class;
use super::super::session::Model;
use super::super::value::Value;
use super::samples::Samples;
use super::trainer::TrainedOutput;

/// The outputs that can be trained, from a look at what they give.
pub(super) fn outputs_of(model: &Model, samples: &Samples, batch: usize) -> Result<Vec<TrainedOutput>, RunError> {
    let fixed = model.fixed_batch().is_some();
    let numbers: Vec<usize> = (0..if fixed { batch } else { 1 }).collect();
    let (first, _) = samples.gather(&numbers);
    let float = |name: &String| model.tensor(name).ok().filter(|output| is_float(&output.operation));
    let outputs: Vec<_> = model.outputs().iter().filter_map(float).collect();
    let inputs = model.inputs().iter().zip(&first.values).map(|(input, value)| (&input.operation, 0, value));
    let values = model.infer(inputs, &outputs)?;
    let trained = outputs.into_iter().zip(values).map(|(output, value)| {
        let classes = match value.shape() {
            &[rows, classes] if rows == first.samples && classes > 1 => Some(classes),
            _ => None,
        };
        let is_softmax = made_by_softmax(&output.operation);
        TrainedOutput { output, classes, is_softmax }
    });
    Ok(trained.collect())
}

fn is_float(operation: &Operation) -> bool {
    operation.num_outputs() > 0 && operation.output_type(0) == DataType::Float
}

/// Whether an output is a Softmax, as it is or quantized: through what the training form puts behind a tensor, which reads it first.
fn made_by_softmax(operation: &Operation) -> bool {
    const LONGEST: usize = 32;
    let mut at = operation.clone();
    for _ in 0..LONGEST {
        match at.op_type().as_deref() {
            Ok("Softmax") => return true,
            Ok(
                "Identity"
                | "Add"
                | "AddV2"
                | "Minimum"
                | "Maximum"
                | "Select"
                | "SelectV2"
                | "FakeQuantWithMinMaxVars",
            ) if at.num_inputs() > 0 => {
                let next = (0..at.num_inputs()).map(|position| at.input(position).0);
                // A selection's condition comes first, and what is selected after it.
                let skip = usize::from(matches!(at.op_type().as_deref(), Ok("Select" | "SelectV2")));
                let Some(next) = next.into_iter().nth(skip) else { return false };
                at = next;
            }
            _ => return false,
        }
    }
    false
}

/// Refuse a label that is no class.
pub(super) fn check_labels(samples: &Samples, outputs: &[TrainedOutput], path: &Path) -> Result<(), RunError> {
    let (Some(labels), Some(classes)) = (samples.labels(), outputs.iter().find_map(|output| output.classes)) else {
        return Ok(());
    };
    let wrong =
        labels.iter().enumerate().find(|(_, label)| u64::try_from(**label).map_or(true, |label| label >= classes));
    match wrong {
        Some((sample, label)) => Err(no_class(path, sample as u64, *label, classes)),
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
