//! The graph without the batch normalizations that are folded. All other nodes are copied byte for byte, and the elements of long constants stay
//! in the graph's file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quant_math::fold::stored;

use super::Candidate;
use super::constants::is_computed_by;
use super::find::{Step, step};
use super::layer::Layer;
use super::neutral;
use super::weights::Own;
use crate::error::Error;
use crate::graphdef::attrs;
use crate::graphdef::graph::{Graph, Neutral, Refolded, mark};
use crate::graphdef::index::{Input, NodeId, Scope, Target};
use crate::graphdef::pb::attr_value::Value;
use crate::graphdef::tensor::{encode_tensor, pb_type, shape_and_type};
use crate::graphdef::wire::put_bytes;
use crate::prepare::copied::Copied;

/// The graph with these candidates in their layers.
///
/// # Errors
/// Damaged nodes; more new nodes than the budget of the graph's file.
pub(super) fn refolded(
    graph: &Graph,
    folded: &[(Candidate, Own)],
    named: &BTreeSet<NodeId>,
) -> Result<Refolded, Error> {
    let Some(scope) = graph.index().scope(0) else {
        return Err(Error::Verify { message: "the graph has no nodes".to_owned() });
    };
    let mut rewrite = Rewrite {
        graph,
        scope,
        copy: Copied::of(graph),
        gone_edges: BTreeSet::new(),
        kept: BTreeSet::new(),
        taken: BTreeSet::new(),
        new: Vec::new(),
        biases: BTreeMap::new(),
        weights: BTreeMap::new(),
    };
    for (candidate, own) in folded {
        rewrite.candidate(candidate, own)?;
    }
    rewrite.remove_unread(named);
    let Rewrite { copy, weights, new, .. } = rewrite;
    let neutral = Neutral { weights, ..neutral::of(graph, folded, &copy.gone)? };
    let (bytes, pieces) = copy.made(graph)?;
    Ok(Refolded { bytes, pieces, neutral, new })
}

struct Rewrite<'g> {
    graph: &'g Graph,
    /// The main graph, whose nodes all numbers below are.
    scope: &'g Scope,
    /// What of the nodes is another.
    copy: Copied,
    /// Inputs that read something else now.
    gone_edges: BTreeSet<(u32, usize)>,
    /// Nodes on the way of a normalization that stay.
    kept: BTreeSet<u32>,
    taken: BTreeSet<String>,
    new: Vec<(String, String)>,
    /// New constants by the weight of their layer and their TensorProto.
    biases: BTreeMap<(NodeId, Vec<u8>), String>,
    /// Constants that are folded weights, with the numbers of their elements.
    weights: BTreeMap<String, u64>,
}

impl Rewrite<'_> {
    fn candidate(&mut self, candidate: &Candidate, own: &Own) -> Result<(), Error> {
        let graph = self.graph;
        let Candidate { way, layer, linear, at } = candidate;
        let Some((last, before)) = way.links.split_last() else { return Ok(()) };
        let mut controls = Vec::new();
        // What stands for the value that a link reads.
        let mut reads = graph.name(way.layer).to_owned();
        for link in before {
            let passes = step(graph, link.node)?.is_some_and(|(step, _)| step == Step::Passes);
            if passes {
                self.kept.insert(link.node.node);
                let text = graph.input(link.node, link.input).map(|edge| edge.text.text(graph.bytes()));
                if text.is_some_and(|text| text.strip_suffix(":0").unwrap_or(text) != reads) {
                    self.read_instead(link.node, link.input, &reads);
                }
                graph.name(link.node).clone_into(&mut reads);
            } else {
                self.copy.gone.insert(link.node.node);
                controls.extend(self.controls(link.node));
            }
        }
        controls.extend(self.controls(last.node));
        controls.dedup();
        self.weight(candidate, own)?;

        let dtype = layer.weight.dtype;
        let name = graph.name(last.node);
        let device = graph.device(last.node);
        let is_last_axis = at.axis + 1 == at.rank;
        let has_format = is_last_axis || (at.axis == 1 && (3..=5).contains(&at.rank));
        let mut shape = vec![linear.shift.len() as u64];
        if !has_format {
            shape.extend(std::iter::repeat_n(1, at.rank.saturating_sub(at.axis + 1)));
        }
        let value = encode_tensor(pb_type(dtype), &shape, &stored(dtype, &linear.shift));
        let (bias, constant) = self.bias(&format!("{name}/bias"), layer, value, device);
        let format = if is_last_axis { "NHWC" } else { "NCHW" };
        let mut inputs = vec![reads, bias.clone()];
        inputs.extend(controls);
        let typed = ("T", attrs::of_type(pb_type(dtype)));
        let sum = if has_format {
            let format = ("data_format", Value::S(format.into()));
            node(name, "BiasAdd", &inputs, device, &attrs::entries(&[typed, format]))
        } else {
            node(name, "AddV2", &inputs, device, &attrs::entries(&[typed]))
        };
        graph.budget().take((constant.as_ref().map_or(0, Vec::len) + sum.len()) as u64, super::WHAT)?;
        self.copy.instead.insert(last.node.node, constant.into_iter().chain([sum]).collect());
        Ok(())
    }

    /// The constant that is added behind a layer, and its node where it is a new one: calls of one function have one layer's weight and add the
    /// same, and what is trained is trained in all of them.
    fn bias(&mut self, wanted: &str, layer: &Layer, value: Vec<u8>, device: &str) -> (String, Option<Vec<u8>>) {
        let (weight, dtype) = (layer.weight.source, pb_type(layer.weight.dtype));
        let key = (weight, value);
        if let Some(known) = self.biases.get(&key) {
            return (known.clone(), None);
        }
        let name = self.unique(wanted);
        let constant = node(&name, "Const", &[], device, &attrs::constant(dtype, &key.1));
        self.new.push((name.clone(), self.graph.name(weight).to_owned()));
        self.biases.insert(key, name.clone());
        (name, Some(constant))
    }

    /// The weight with its factors: in its constant's place, or as a copy for the layer.
    fn weight(&mut self, candidate: &Candidate, own: &Own) -> Result<(), Error> {
        let graph = self.graph;
        let (layer, weight) = (candidate.way.layer, &candidate.layer.weight);
        let mut value = shape_and_type(pb_type(weight.dtype), &weight.shape);
        value.extend(mark(self.copy.pieces.len()));
        let attr =
            graph.index().node(weight.source).map(|node| node.attr(graph.bytes(), "value")).transpose()?.flatten();
        if own.in_place {
            // Layers that share it take the same factors.
            if let (Some(attr), false) = (attr, self.copy.within.contains_key(&weight.source.node)) {
                self.copy.within.insert(weight.source.node, vec![(attr.entry, attrs::tensor("value", &value))]);
                self.weights.insert(graph.full_name(weight.source), self.copy.pieces.len() as u64);
                self.copy.pieces.push(Arc::clone(&own.piece));
            }
            return Ok(());
        }
        let name = self.unique(&format!("{}/folded_weight", graph.name(layer)));
        let constant = attrs::constant(pb_type(weight.dtype), &value);
        let constant = node(&name, "Const", &[], graph.device(weight.source), &constant);
        self.copy.before.entry(layer.node).or_default().push(constant);
        self.copy.pieces.push(Arc::clone(&own.piece));
        self.read_instead(layer, candidate.layer.input, &name);
        self.gone_edges.insert((layer.node, candidate.layer.input));
        Ok(())
    }

    fn read_instead(&mut self, id: NodeId, input: usize, reads: &str) {
        if let Some(edge) = self.graph.input(id, input) {
            let mut field = Vec::new();
            put_bytes(&mut field, 3, reads.as_bytes());
            self.copy.within.entry(id.node).or_default().push((edge.field, field));
        }
    }

    /// The control edges into a node, as they stand in its inputs.
    fn controls(&self, id: NodeId) -> Vec<String> {
        let inputs = self.inputs(id.node).iter();
        let controls = inputs.filter(|input| matches!(input.target, Target::Control { .. }));
        controls.map(|input| input.text.text(self.graph.bytes()).to_owned()).collect()
    }

    fn inputs(&self, node: u32) -> &[Input] {
        self.scope.nodes.get(node as usize).map(|node| self.scope.inputs(node)).unwrap_or_default()
    }

    fn unique(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 0u64;
        while self.scope.find(self.graph.bytes(), name.as_bytes()).is_some() || self.taken.contains(&name) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        self.taken.insert(name.clone());
        name
    }

    /// Leave out what nothing reads any more: the parameters of what is gone.
    fn remove_unread(&mut self, named: &BTreeSet<NodeId>) {
        let (graph, scope) = (self.graph, self.scope);
        let inputs = |node: u32| scope.nodes.get(node as usize).map(|node| scope.inputs(node)).unwrap_or_default();
        let source = |input: &Input| match input.target {
            Target::Data { node, .. } | Target::Control { node } => Some(node),
            Target::Argument => None,
        };
        let sources = |node: u32| inputs(node).iter().filter_map(source);
        let edges = self.gone_edges.iter().filter_map(|(node, input)| inputs(*node).get(*input).and_then(source));
        let beginning = self.copy.gone.iter().chain(self.copy.instead.keys());
        let mut open: Vec<u32> = beginning.flat_map(|node| sources(*node)).chain(edges).collect();
        let mut gone = std::mem::take(&mut self.copy.gone);
        while let Some(node) = open.pop() {
            let id = NodeId { scope: 0, node };
            let stays = self.kept.contains(&node)
                || gone.contains(&node)
                || self.copy.within.contains_key(&node)
                || !is_computed_by(graph.op(id))
                || named.contains(&id);
            let unread = || {
                scope.edges(node).all(|(reader, input, _)| {
                    gone.contains(&reader)
                        || self.copy.instead.contains_key(&reader)
                        || self.gone_edges.contains(&(reader, input))
                })
            };
            if !stays && unread() {
                gone.insert(node);
                open.extend(sources(node));
            }
        }
        self.copy.gone = gone;
    }
}

/// NodeDef: name = 1, op = 2, input = 3, device = 4.
fn node(name: &str, op: &str, inputs: &[String], device: &str, attrs: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, name.as_bytes());
    put_bytes(&mut out, 2, op.as_bytes());
    for input in inputs {
        put_bytes(&mut out, 3, input.as_bytes());
    }
    if !device.is_empty() {
        put_bytes(&mut out, 4, device.as_bytes());
    }
    out.extend_from_slice(attrs);
    out
}
