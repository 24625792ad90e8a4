//! Tensors inside two models, side by side: where the error enters.

use std::collections::BTreeMap;

use quant_math::evaluation::{Entrance, Layer, entrances, noise_to_signal};
use quant_math::metrics::{Metrics, MetricsAccumulator};
use tensorflow::{DataType, Operation, Output};

use super::super::session::Model;
use super::super::value::Value;
use crate::find::frames::Frames;
use crate::graphdef::graph::{Graph, without_calls};

#[derive(Debug)]
pub(super) struct Layers {
    tensors: Vec<Tensor>,
    /// Every node after its inputs.
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Tensor {
    name: String,
    op_type: String,
    own: Output,
    other: Output,
    sums: MetricsAccumulator,
}

#[derive(Debug)]
struct Node {
    /// The nodes that it reads, by position.
    inputs: Vec<usize>,
    /// The tensor that it makes, by position, where that is compared.
    tensor: Option<usize>,
}

impl Layers {
    /// The float32 activations that both models call by one name, the calls in front apart, each after those that it is computed from.
    pub(super) fn new(model: &Model, reference: &Model, graph: &Graph) -> Self {
        let frames = Frames::of_main(graph);
        let mut layers = Self { tensors: Vec::new(), nodes: Vec::new() };
        let mut positions: BTreeMap<String, usize> = BTreeMap::new();
        let others = alike(reference);
        for operation in in_order(model) {
            let name = operation.name().unwrap_or_default();
            let read = inputs(&operation);
            let read = read.iter().filter_map(|input| positions.get(&input.name().ok()?).copied()).collect();
            let beside = || {
                let other = || others.get(without_calls(&name)).cloned().flatten();
                reference.tensor(&name).ok().or_else(|| reference.tensor(&other()?).ok())
            };
            let other = compared((graph, &frames), &operation, &name).then(beside).flatten();
            let other = other.filter(|other| is_float(&other.operation));
            let tensor = other.map(|other| {
                let op_type = operation.op_type().unwrap_or_default();
                layers.tensors.push(Tensor {
                    name: graph.named(&name).map_or_else(|| name.clone(), |id| graph.site_name(id)),
                    op_type,
                    own: Output { operation, index: 0 },
                    other,
                    sums: MetricsAccumulator::default(),
                });
                layers.tensors.len() - 1
            });
            positions.insert(name, layers.nodes.len());
            layers.nodes.push(Node { inputs: read, tensor });
        }
        layers
    }

    /// What has to be fetched: from the model, and from the reference.
    pub(super) fn fetches(&self) -> Vec<(Output, Output)> {
        self.tensors.iter().map(|tensor| (tensor.own.clone(), tensor.other.clone())).collect()
    }

    pub(super) fn add(&mut self, own: &[Value], others: &[Value]) {
        for ((tensor, own), other) in self.tensors.iter_mut().zip(own).zip(others) {
            if own.shape() == other.shape() {
                tensor.sums.update(&other.to_f32(), &own.to_f32());
            }
        }
    }

    pub(super) fn finish(&self) -> (Vec<Layer>, Vec<Entrance>) {
        let errors: Vec<Metrics> = self.tensors.iter().map(|tensor| tensor.sums.finish()).collect();
        let error = |position: usize| errors.get(position).copied();
        let noise = |position: usize| error(position).as_ref().map_or(0.0, noise_to_signal);
        // Of each node, the worst of the nearest tensors that it is computed from, itself among them.
        let mut worst_of: Vec<Option<usize>> = Vec::with_capacity(self.nodes.len());
        let mut compared = Vec::with_capacity(self.tensors.len());
        for node in &self.nodes {
            let before = node.inputs.iter().filter_map(|input| worst_of.get(*input).copied().flatten());
            let worst = before.max_by(|a, b| noise(*a).total_cmp(&noise(*b)).then(a.cmp(b)));
            worst_of.push(node.tensor.or(worst));
            let found = node.tensor.and_then(|at| Some((self.tensors.get(at)?.name.as_str(), error(at)?)));
            compared.extend(found.map(|(name, own)| (name, worst.and_then(error), own)));
        }
        let entrances = entrances(compared);
        let layer = |(tensor, error): (&Tensor, Metrics)| Layer {
            name: tensor.name.clone(),
            op_type: tensor.op_type.clone(),
            error,
        };
        (self.tensors.iter().zip(errors).map(layer).collect(), entrances)
    }
}

/// Whether a node's first output is an activation that can be fetched.
fn compared((graph, frames): (&Graph, &Frames), operation: &Operation, name: &str) -> bool {
    let depends_on_input = !matches!(
        operation.op_type().as_deref(),
        Ok("Const" | "Placeholder" | "VarHandleOp" | "VariableV2" | "Variable")
    );
    depends_on_input
        && is_float(operation)
        && !graph.named(name).is_some_and(|id| frames.hold(id))
        && !graph.is_parameter_named(name)
}

fn is_float(operation: &Operation) -> bool {
    operation.num_outputs() > 0 && operation.output_type(0) == DataType::Float
}

fn inputs(operation: &Operation) -> Vec<Operation> {
    (0..operation.num_inputs()).map(|position| operation.input(position).0).collect()
}

/// The names of a model's nodes by what is left without calls; nothing where several have that.
fn alike(model: &Model) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    for name in model.graph.operation_iter().filter_map(|operation| operation.name().ok()) {
        let short = without_calls(&name).to_owned();
        found.entry(short).and_modify(|known| *known = None).or_insert(Some(name));
    }
    found
}

/// Every node after its inputs, as far as the graph has no loop.
fn in_order(model: &Model) -> Vec<Operation> {
    let mut done: BTreeMap<String, bool> = BTreeMap::new();
    let mut order = Vec::new();
    for start in model.graph.operation_iter() {
        let mut open = vec![start];
        while let Some(operation) = open.last().cloned() {
            let name = operation.name().unwrap_or_default();
            match done.get(&name) {
                None => {
                    done.insert(name, false);
                    let waiting = inputs(&operation)
                        .into_iter()
                        .filter(|input| !done.contains_key(&input.name().unwrap_or_default()));
                    open.extend(waiting);
                }
                Some(false) => {
                    done.insert(name, true);
                    order.push(operation);
                    open.pop();
                }
                Some(true) => {
                    open.pop();
                }
            }
        }
    }
    order
}
