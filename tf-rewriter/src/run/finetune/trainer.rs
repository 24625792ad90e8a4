//! A training graph in TensorFlow, with a loss and an optimizer on it.

use quant_math::plan::Reason;
use tensorflow::{DataType, Operation, Output, Tensor};

use super::super::RunError;
use super::super::data::Batch;
use super::super::nodes::Nodes;
use super::super::session::Model;
use super::super::value::Value;
use super::goals::TrainedOutput;
use super::loss;
use super::options::{FinetuneOptions, Optimizer};
use super::reach::{self, Choice};
use super::variables::Variable;
use crate::codes;
use crate::rewrite::thaw::Trainable;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-7;

/// The nodes of a training.
#[derive(Debug)]
pub(super) struct Trainer {
    pub(super) model: Model,
    loss: Output,
    /// What the loss is made of.
    pub(super) outputs: Vec<TrainedOutput>,
    /// The scores of each class, for accuracy.
    scores: Option<Output>,
    /// What the targets are fed to: the labels, or the float model's outputs.
    targets: Vec<Operation>,
    apply: Vec<Operation>,
    learning_rate: Operation,
    method: Method,
    /// The optimizer's own variables.
    pub(super) slots: Vec<Variable>,
    /// What is not trained, and why.
    pub(super) untouched: Vec<Reason>,
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

/// A loss with its gradients.
struct Differentiated {
    choice: Choice,
    loss: Output,
    targets: Vec<Operation>,
    gradients: Vec<Option<Output>>,
}

/// The loss of what can be trained, and its gradients. Where TensorFlow has none of an op, what only leads through it is left out.
///
/// # Errors
/// Nothing is left to train; TensorFlow's own.
fn differentiated(
    nodes: &mut Nodes<'_>,
    outputs: &[TrainedOutput],
    handles: &[Output],
    options: &FinetuneOptions,
) -> Result<Differentiated, RunError> {
    let outputs = loss::about(outputs, options.objective)?;
    let mut blocked = reach::without_gradient();
    loop {
        let choice = reach::choose(outputs, handles, &blocked);
        if choice.reached.is_empty() {
            return Err(nothing_left(&choice));
        }
        let (loss, targets) = loss::loss(nodes, &choice.outputs, options)?;
        let reached: Vec<Output> = choice.reached.iter().filter_map(|at| handles.get(*at).cloned()).collect();
        // Each attempt needs a scope of its own.
        let scope = format!("finetune/gradients_{}", blocked.len());
        match nodes.model.graph.add_gradients(Some(&scope), std::slice::from_ref(&loss), &reached, None) {
            Ok(gradients) => return Ok(Differentiated { choice, loss, targets, gradients }),
            Err(status) => {
                let named = reach::named_in(&status.to_string());
                if !named.is_some_and(|op| blocked.insert(op)) {
                    return Err(RunError::Request {
                        message: format!("the model cannot be trained here: {status}"),
                        help: PYTHON.to_owned(),
                    });
                }
            }
        }
    }
}

const PYTHON: &str =
    "TensorFlow's C API has fewer gradients than Python: `--emit training` gives a graph to train there";

fn nothing_left(choice: &Choice) -> RunError {
    match choice.others.iter().find_map(|(_, by)| by.as_ref()) {
        Some(by) => RunError::Request {
            message: format!(
                "nothing is left to train: every weight is behind an op through which no gradient passes, as {by}"
            ),
            help: PYTHON.to_owned(),
        },
        None => RunError::Request {
            message: "the loss depends on no weight that can be trained".to_owned(),
            help: "see whether the outputs are the right ones, and `--outputs`".to_owned(),
        },
    }
}

impl Trainer {
    /// Add loss, gradients and optimizer. The session's variables must have their values.
    ///
    /// # Errors
    /// No output or weight that can be trained.
    pub(super) fn new(
        mut model: Model,
        outputs: &[TrainedOutput],
        variables: &[Trainable],
        options: &FinetuneOptions,
    ) -> Result<Self, RunError> {
        let mut nodes = Nodes::new(&mut model, "finetune");
        let mut handles = Vec::with_capacity(variables.len());
        for variable in variables {
            handles.push(nodes.model.tensor(&variable.variable)?);
        }
        let Differentiated { choice, loss, targets, gradients } =
            differentiated(&mut nodes, outputs, &handles, options)?;
        let mut untouched: Vec<Reason> = choice
            .left_out
            .iter()
            .map(|(output, by)| {
                let text =
                    format!("`{output}` is not trained on: {by} stands before it, through which no gradient passes");
                Reason::new(codes::NOT_TRAINED, text)
            })
            .collect();
        for (at, by) in &choice.others {
            let name = variables.get(*at).map(|variable| variable.read.as_str()).unwrap_or_default();
            let text = match by {
                Some(by) => format!(
                    "`{name}` stays as it is: its gradient would pass through {by}, which has none in TensorFlow's C API"
                ),
                None => format!("the loss does not depend on `{name}`"),
            };
            untouched.push(Reason::new(codes::NOT_TRAINED, text));
        }
        let learning_rate = nodes.placeholder(DataType::Float, &[])?.operation;
        let method = Method::new(&mut nodes, options.optimizer)?;
        let (mut apply, mut slots) = (Vec::new(), Vec::new());
        for (at, gradient) in choice.reached.iter().zip(gradients) {
            let (Some(variable), Some(handle)) = (variables.get(*at), handles.get(*at)) else { continue };
            if let Some(gradient) = gradient {
                let what = (variable, handle.clone(), gradient);
                apply.push(step(&mut nodes, (&learning_rate, &method), what, &mut slots)?);
            } else {
                let text = format!("the loss does not depend on `{}`", variable.read);
                untouched.push(Reason::new(codes::NOT_TRAINED, text));
            }
        }
        if apply.is_empty() {
            return Err(nothing_left(&choice));
        }
        let scores = outputs.iter().find(|output| output.classes.is_some()).map(|output| output.output.clone());
        Ok(Self {
            model,
            loss,
            outputs: choice.outputs,
            scores,
            targets,
            apply,
            learning_rate,
            method,
            slots,
            untouched,
        })
    }

    /// The outputs that are trained, with their names.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(super) fn outputs(&self, batch: &Batch) -> Result<Vec<(String, Value)>, RunError> {
        let fetches: Vec<Output> = self.outputs.iter().map(|output| output.output.clone()).collect();
        let values = self.model.run(batch, &fetches)?;
        Ok(self.outputs.iter().map(|output| output.name.clone()).zip(values).collect())
    }

    /// A training pass without a step: what follows batches sees this one.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(super) fn pass(&self, batch: &Batch, targets: &[Value]) -> Result<(), RunError> {
        self.model.run_with(self.feeds(batch, targets), std::slice::from_ref(&self.loss), &[]).map(drop)
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
        self.model.feeds(batch).chain(self.targets.iter().zip(targets).map(|(operation, value)| (operation, 0, value)))
    }
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
