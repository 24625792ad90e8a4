//! A training graph in TensorFlow, with a loss and an optimizer on it.

use std::collections::BTreeSet;

use tensorflow::{DataType, Operation, Output, Tensor};

use super::super::RunError;
use super::super::data::Batch;
use super::super::nodes::Nodes;
use super::super::session::Model;
use super::super::value::Value;
use super::options::{Objective, Optimizer};
use super::variables::Variable;
use crate::trainable::Trainable;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-7;
/// Below it, the logarithm of a probability is cut off, as Keras does.
const LEAST_PROBABILITY: f32 = 1e-7;

/// The nodes of a training.
#[derive(Debug)]
pub(super) struct Trainer {
    pub(super) model: Model,
    loss: Output,
    outputs: Vec<Output>,
    /// The scores of each class, for accuracy.
    scores: Option<Output>,
    /// What the targets are fed to: the labels, or the float model's outputs.
    targets: Vec<Operation>,
    apply: Vec<Operation>,
    learning_rate: Operation,
    method: Method,
    /// The optimizer's own variables.
    pub(super) slots: Vec<Variable>,
    /// Variables that the loss does not depend on.
    pub(super) untouched: Vec<String>,
}

/// An optimizer, with what is fed to it in every step besides the learning rate.
#[derive(Debug)]
enum Method {
    /// The share of the last step that is kept.
    Momentum(f32),
    /// β₁ᵗ and β₂ᵗ.
    Adam(Operation, Operation),
}

impl Method {
    fn new(nodes: &mut Nodes<'_>, optimizer: Optimizer) -> Result<Self, RunError> {
        Ok(match optimizer {
            Optimizer::Sgd { momentum } => Self::Momentum(momentum),
            Optimizer::Adam => {
                let mut power = || Ok::<_, RunError>(nodes.placeholder(DataType::Float, &[])?.operation);
                Self::Adam(power()?, power()?)
            }
        })
    }
}

/// An output that is trained.
#[derive(Debug, Clone)]
pub(super) struct TrainedOutput {
    pub(super) output: Output,
    /// Elements of a sample, where it is one score per class.
    pub(super) classes: Option<u64>,
    /// Whether the scores are probabilities already.
    pub(super) is_softmax: bool,
}

impl Trainer {
    /// Add loss, gradients and optimizer. The session's variables must have their values.
    ///
    /// # Errors
    /// An op on the way from a weight to the loss that TensorFlow's C API cannot differentiate.
    pub(super) fn new(
        mut model: Model,
        outputs: &[TrainedOutput],
        variables: &[Trainable],
        objective: Objective,
        optimizer: Optimizer,
    ) -> Result<Self, RunError> {
        let mut nodes = Nodes::new(&mut model, "finetune");
        let (loss, targets) = match objective {
            Objective::Labels => labels_loss(&mut nodes, outputs)?,
            Objective::Distill => distill_loss(&mut nodes, outputs)?,
        };
        let mut handles = Vec::with_capacity(variables.len());
        for variable in variables {
            handles.push(nodes.model.tensor(&variable.variable)?);
        }
        // TensorFlow refuses a weight that the loss is not made from, as those of an output that labels do not train.
        let made_from = sources(&loss);
        let is_source = |handle: &Output| handle.operation.name().is_ok_and(|name| made_from.contains(&name));
        let (read, unread): (Vec<_>, Vec<_>) = variables.iter().zip(handles).partition(|(_, handle)| is_source(handle));
        let mut untouched: Vec<String> = unread.into_iter().map(|(variable, _)| variable.read.clone()).collect();
        let handles: Vec<Output> = read.iter().map(|(_, handle)| handle.clone()).collect();
        let gradients =
            nodes.model.graph.add_gradients(Some("finetune/gradients"), std::slice::from_ref(&loss), &handles, None);
        let gradients = gradients.map_err(|status| RunError::Request {
            message: format!("the model cannot be trained here: {status}"),
            help: "TensorFlow's C API has no gradient for an op between a weight and the loss; `--emit training` gives a graph for Python, whose gradients are more".to_owned(),
        })?;
        let learning_rate = nodes.placeholder(DataType::Float, &[])?.operation;
        let method = Method::new(&mut nodes, optimizer)?;
        let (mut apply, mut slots) = (Vec::new(), Vec::new());
        for ((variable, handle), gradient) in read.into_iter().zip(gradients) {
            match gradient {
                Some(gradient) => {
                    let made = step(&mut nodes, (&learning_rate, &method), (variable, handle, gradient), &mut slots)?;
                    apply.push(made);
                }
                None => untouched.push(variable.read.clone()),
            }
        }
        if apply.is_empty() {
            return Err(RunError::Request {
                message: "the loss depends on no weight that can be trained".to_owned(),
                help: "see whether the outputs are the right ones, and `--outputs`".to_owned(),
            });
        }
        let scores = outputs.iter().find(|output| output.classes.is_some()).map(|output| output.output.clone());
        let outputs = outputs.iter().map(|output| output.output.clone()).collect();
        Ok(Self { model, loss, outputs, scores, targets, apply, learning_rate, method, slots, untouched })
    }

    /// The outputs that are trained, with their names.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(super) fn outputs(&self, batch: &Batch) -> Result<Vec<(String, Value)>, RunError> {
        let values = self.model.run(batch, &self.outputs)?;
        let name = |output: &Output| format!("{}:{}", output.operation.name().unwrap_or_default(), output.index);
        Ok(self.outputs.iter().map(name).zip(values).collect())
    }

    /// One step on a batch; returns its loss before the step. `number` counts steps from 1.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(super) fn step(
        &self,
        batch: &Batch,
        targets: &[Value],
        learning_rate: f32,
        number: u64,
    ) -> Result<f64, RunError> {
        let scalar = |x: f32| Value::F32(Tensor::from(x));
        let power = |beta: f32| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                reason = "the optimizer takes float32"
            )]
            let power = f64::from(beta).powf(number as f64) as f32;
            scalar(power)
        };
        let mut rates = vec![(&self.learning_rate, scalar(learning_rate))];
        if let Method::Adam(first, second) = &self.method {
            rates.extend([(first, power(BETA_1)), (second, power(BETA_2))]);
        }
        let rates = rates.iter().map(|(operation, value)| (*operation, 0, value));
        let apply: Vec<&Operation> = self.apply.iter().collect();
        let feeds = self.feeds(batch, targets).chain(rates);
        let values = self.model.run_with(feeds, std::slice::from_ref(&self.loss), &apply)?;
        let loss = values.first().and_then(|value| value.to_f64().first().copied()).unwrap_or(f64::NAN);
        Ok(loss)
    }

    /// The loss of a batch and the scores of its classes, without training.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(super) fn test(&self, batch: &Batch, targets: &[Value]) -> Result<(f64, Option<Value>), RunError> {
        let fetches: Vec<Output> = std::iter::once(self.loss.clone()).chain(self.scores.clone()).collect();
        let mut values = self.model.infer(self.feeds(batch, targets), &fetches)?.into_iter();
        let loss = values.next().and_then(|value| value.to_f64().first().copied()).unwrap_or(f64::NAN);
        Ok((loss, values.next()))
    }

    fn feeds<'a>(
        &'a self,
        batch: &'a Batch,
        targets: &'a [Value],
    ) -> impl Iterator<Item = (&'a Operation, i32, &'a Value)> {
        let inputs = self.model.inputs().iter().zip(&batch.values).map(|(input, value)| (&input.operation, 0, value));
        inputs.chain(self.targets.iter().zip(targets).map(|(operation, value)| (operation, 0, value)))
    }
}

/// The names of the operations that `output` is computed from, its own included.
fn sources(output: &Output) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![output.operation.clone()];
    while let Some(operation) = left.pop() {
        if operation.name().is_ok_and(|name| found.insert(name)) {
            left.extend((0..operation.num_inputs()).map(|position| operation.input(position).0));
        }
    }
    found
}

fn step(
    nodes: &mut Nodes<'_>,
    (learning_rate, method): (&Operation, &Method),
    (variable, handle, gradient): (&Trainable, Output, Output),
    slots: &mut Vec<Variable>,
) -> Result<Operation, RunError> {
    let output = |operation: &Operation| Output { operation: operation.clone(), index: 0 };
    let rate = output(learning_rate);
    let mut slot = |nodes: &mut Nodes<'_>, name: &str| {
        let made = Variable::zeros(nodes, &format!("{}/{name}", variable.variable), &variable.shape)?;
        let handle = made.handle();
        slots.push(made);
        Ok::<_, RunError>(handle)
    };
    match method {
        Method::Adam(first, second) => {
            let (m, v) = (slot(nodes, "m")?, slot(nodes, "v")?);
            let [beta_1, beta_2, epsilon] = [BETA_1, BETA_2, EPSILON].map(|x| nodes.constant(Tensor::from(x)));
            let inputs = [handle, m, v, output(first), output(second), rate, beta_1?, beta_2?, epsilon?, gradient];
            nodes.operation("ResourceApplyAdam", &inputs)
        }
        Method::Momentum(momentum) => {
            let accumulated = slot(nodes, "momentum")?;
            let momentum = nodes.constant(Tensor::from(*momentum))?;
            nodes.operation("ResourceApplyMomentum", &[handle, accumulated, rate, gradient, momentum])
        }
    }
}

/// The mean of the softmax cross-entropy over the samples, for the first output with scores.
fn labels_loss(nodes: &mut Nodes<'_>, outputs: &[TrainedOutput]) -> Result<(Output, Vec<Operation>), RunError> {
    let scored = outputs.iter().find_map(|output| Some((output, output.classes?)));
    let Some((output, classes)) = scored else {
        return Err(RunError::Request {
            message: "no output of the model has one score per class ([samples, classes]), which labels need"
                .to_owned(),
            help: "name the output with the scores with `--outputs`, or train with `--distill`".to_owned(),
        });
    };
    let labels = nodes.fed(DataType::Int64)?;
    let depth = nodes.constant(Tensor::from(i32::try_from(classes).unwrap_or(i32::MAX)))?;
    let (on, off) = (nodes.constant(Tensor::from(1f32))?, nodes.constant(Tensor::from(0f32))?);
    let wanted = nodes.add("OneHot", &[labels.clone(), depth, on, off])?;
    Ok((cross_entropy(nodes, output, wanted)?, vec![labels.operation]))
}

/// The mean over the samples of −Σ p·log q, where q are an output's probabilities and p the wanted ones.
fn cross_entropy(nodes: &mut Nodes<'_>, output: &TrainedOutput, wanted: Output) -> Result<Output, RunError> {
    let losses = if output.is_softmax {
        let least = nodes.constant(Tensor::from(LEAST_PROBABILITY))?;
        let probability = nodes.add("Maximum", &[output.output.clone(), least])?;
        let logarithm = nodes.add("Log", &[probability])?;
        let product = nodes.add("Mul", &[wanted, logarithm])?;
        let axis = nodes.constant(Tensor::from([1]))?;
        let sum = nodes.add("Sum", &[product, axis])?;
        nodes.add("Neg", &[sum])?
    } else {
        nodes.add("SoftmaxCrossEntropyWithLogits", &[output.output.clone(), wanted])?
    };
    let axis = nodes.constant(Tensor::from([0]))?;
    nodes.add("Mean", &[losses, axis])
}

/// The mean over the outputs of the cross-entropy with the float model's probabilities (Hinton et al. 2015, temperature 1), or of
/// Σ(y − t)² / Σt² where an output is not one score per class.
fn distill_loss(nodes: &mut Nodes<'_>, outputs: &[TrainedOutput]) -> Result<(Output, Vec<Operation>), RunError> {
    let (mut losses, mut targets) = (Vec::new(), Vec::new());
    for output in outputs {
        let target = nodes.fed(DataType::Float)?;
        targets.push(target.operation.clone());
        losses.push(if output.classes.is_some() {
            let wanted = if output.is_softmax { target } else { nodes.add("Softmax", &[target])? };
            cross_entropy(nodes, output, wanted)?
        } else {
            let difference = nodes.add("Sub", &[output.output.clone(), target.clone()])?;
            let (noise, signal) = (energy(nodes, difference)?, energy(nodes, target)?);
            nodes.add("DivNoNan", &[noise, signal])?
        });
    }
    #[expect(clippy::cast_precision_loss, reason = "a model has few outputs")]
    let share = nodes.constant(Tensor::from(1.0 / losses.len().max(1) as f32))?;
    let mut sum = None;
    for loss in losses {
        sum = Some(match sum {
            None => loss,
            Some(sum) => nodes.add("AddV2", &[sum, loss])?,
        });
    }
    let sum = sum.ok_or_else(|| RunError::Request {
        message: "the model has no float32 output to match".to_owned(),
        help: "name one with `--outputs`".to_owned(),
    })?;
    Ok((nodes.add("Mul", &[sum, share])?, targets))
}

/// The sum of the squares of all elements.
fn energy(nodes: &mut Nodes<'_>, from: Output) -> Result<Output, RunError> {
    let (all, axis) = (nodes.constant(Tensor::from([-1]))?, nodes.constant(Tensor::from([0]))?);
    let squares = nodes.add("Square", &[from])?;
    let flat = nodes.add("Reshape", &[squares, all])?;
    nodes.add("Sum", &[flat, axis])
}
