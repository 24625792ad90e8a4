//! What a training makes small, as nodes.

use tensorflow::{DataType, Operation, Output, Tensor};

use super::super::RunError;
use super::super::nodes::Nodes;
use super::goals::TrainedOutput;
use super::options::{FinetuneOptions, Loss, Objective};

/// Below it, the logarithm of a probability is cut off, as Keras does.
const LEAST_PROBABILITY: f32 = 1e-7;

/// The loss of a batch, and the nodes that its targets are fed to: the labels, or the float model's outputs in the order of `outputs`.
///
/// # Errors
/// Outputs that do not have it; TensorFlow's own.
pub(super) fn loss(
    nodes: &mut Nodes<'_>,
    outputs: &[TrainedOutput],
    options: &FinetuneOptions,
) -> Result<(Output, Vec<Operation>), RunError> {
    match options.objective {
        Objective::Labels => labels_loss(nodes, outputs),
        Objective::Distill => distill_loss(nodes, outputs, options.loss),
    }
}

/// The outputs that an objective is about: with labels, the first one with scores.
///
/// # Errors
/// There is none.
pub(super) fn about(outputs: &[TrainedOutput], objective: Objective) -> Result<&[TrainedOutput], RunError> {
    let (at, message) = match objective {
        Objective::Labels => (
            outputs.iter().position(|output| output.classes.is_some()),
            "no output of the model has one score per class ([samples, classes]), which labels need",
        ),
        Objective::Distill => ((!outputs.is_empty()).then_some(0), "the model has no float32 output to match"),
    };
    let found = match (at, objective) {
        (Some(at), Objective::Labels) => outputs.get(at..=at),
        (Some(_), Objective::Distill) => Some(outputs),
        (None, _) => None,
    };
    found.ok_or_else(|| RunError::Request {
        message: message.to_owned(),
        help: "name the output with `--outputs`, or train with `--distill`".to_owned(),
    })
}

/// The mean of the softmax cross-entropy over the samples.
fn labels_loss(nodes: &mut Nodes<'_>, outputs: &[TrainedOutput]) -> Result<(Output, Vec<Operation>), RunError> {
    let scored = about(outputs, Objective::Labels)?.first().and_then(|output| Some((output, output.classes?)));
    let Some((output, classes)) = scored else { return Ok((nodes.constant(Tensor::from(0f32))?, Vec::new())) };
    let labels = nodes.fed(DataType::Int64)?;
    let depth = nodes.constant(Tensor::from(i32::try_from(classes).unwrap_or(i32::MAX)))?;
    let (on, off) = (nodes.constant(Tensor::from(1f32))?, nodes.constant(Tensor::from(0f32))?);
    let wanted = nodes.add("OneHot", &[labels.clone(), depth, on, off])?;
    Ok((cross_entropy(nodes, output.is_softmax, output.output.clone(), wanted)?, vec![labels.operation]))
}

/// The mean over the outputs of each one's distance to the float model's.
fn distill_loss(
    nodes: &mut Nodes<'_>,
    outputs: &[TrainedOutput],
    chosen: Option<Loss>,
) -> Result<(Output, Vec<Operation>), RunError> {
    let (mut losses, mut targets) = (Vec::new(), Vec::new());
    for output in about(outputs, Objective::Distill)? {
        let target = nodes.fed(DataType::Float)?;
        targets.push(target.operation.clone());
        let own = if output.is_softmax { Loss::CrossEntropy } else { Loss::SquaredError };
        losses.push(match chosen.unwrap_or(own) {
            Loss::CrossEntropy => {
                let (scores, target) = (rows(nodes, output, output.output.clone())?, rows(nodes, output, target)?);
                let wanted = if output.is_softmax { target } else { nodes.add("Softmax", &[target])? };
                cross_entropy(nodes, output.is_softmax, scores, wanted)?
            }
            Loss::SquaredError => {
                let difference = nodes.add("Sub", &[output.output.clone(), target.clone()])?;
                let (noise, signal) = (energy(nodes, difference)?, energy(nodes, target)?);
                nodes.add("DivNoNan", &[noise, signal])?
            }
            Loss::Cosine => cosine(nodes, output, target)?,
        });
    }
    #[expect(clippy::cast_precision_loss, reason = "a model has few outputs")]
    let share = nodes.constant(Tensor::from(1.0 / losses.len().max(1) as f32))?;
    let mut losses = losses.into_iter();
    let mut sum = match losses.next() {
        Some(first) => first,
        None => nodes.constant(Tensor::from(0f32))?,
    };
    for loss in losses {
        sum = nodes.add("AddV2", &[sum, loss])?;
    }
    Ok((nodes.add("Mul", &[sum, share])?, targets))
}

/// The mean over the rows of −Σ p·log q, where q are probabilities and p the wanted ones.
fn cross_entropy(nodes: &mut Nodes<'_>, is_softmax: bool, scores: Output, wanted: Output) -> Result<Output, RunError> {
    let losses = if is_softmax {
        let least = nodes.constant(Tensor::from(LEAST_PROBABILITY))?;
        let probability = nodes.add("Maximum", &[scores, least])?;
        let logarithm = nodes.add("Log", &[probability])?;
        let product = nodes.add("Mul", &[wanted, logarithm])?;
        let axis = nodes.constant(Tensor::from([1]))?;
        let sum = nodes.add("Sum", &[product, axis])?;
        nodes.add("Neg", &[sum])?
    } else {
        nodes.add("SoftmaxCrossEntropyWithLogits", &[scores, wanted])?
    };
    mean(nodes, losses)
}

/// 1 − the mean over the rows of Σyt / √(Σy² · Σt²).
fn cosine(nodes: &mut Nodes<'_>, output: &TrainedOutput, target: Output) -> Result<Output, RunError> {
    let (own, target) = (rows(nodes, output, output.output.clone())?, rows(nodes, output, target)?);
    let axis = nodes.constant(Tensor::from([1]))?;
    let dot = |nodes: &mut Nodes<'_>, a: &Output, b: &Output| {
        let product = nodes.add("Mul", &[a.clone(), b.clone()])?;
        nodes.add("Sum", &[product, axis.clone()])
    };
    let (both, own, target) = (dot(nodes, &own, &target)?, dot(nodes, &own, &own)?, dot(nodes, &target, &target)?);
    // Beside a row of zeros there is no angle, and the root of 0 has no gradient.
    let least = nodes.constant(Tensor::from(f32::MIN_POSITIVE))?;
    let squares = nodes.add("Mul", &[own, target])?;
    let squares = nodes.add("Maximum", &[squares, least])?;
    let lengths = nodes.add("Sqrt", &[squares])?;
    let cosines = nodes.add("DivNoNan", &[both, lengths])?;
    let mean = mean(nodes, cosines)?;
    let one = nodes.constant(Tensor::from(1f32))?;
    nodes.add("Sub", &[one, mean])
}

/// An output, or its target, as [rows, elements of the last dimension].
fn rows(nodes: &mut Nodes<'_>, output: &TrainedOutput, from: Output) -> Result<Output, RunError> {
    let last = i32::try_from(output.last).unwrap_or(i32::MAX);
    let shape = nodes.constant(Tensor::from([-1, last]))?;
    nodes.add("Reshape", &[from, shape])
}

fn mean(nodes: &mut Nodes<'_>, from: Output) -> Result<Output, RunError> {
    let axis = nodes.constant(Tensor::from([0]))?;
    nodes.add("Mean", &[from, axis])
}

/// The sum of the squares of all elements.
fn energy(nodes: &mut Nodes<'_>, from: Output) -> Result<Output, RunError> {
    let (all, axis) = (nodes.constant(Tensor::from([-1]))?, nodes.constant(Tensor::from([0]))?);
    let squares = nodes.add("Square", &[from])?;
    let flat = nodes.add("Reshape", &[squares, all])?;
    nodes.add("Sum", &[flat, axis])
}
