//! What of a training graph stays: what its outputs need, without what writes to variables.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::find::mark::part;
use crate::find::ops::{is_variable, makes_nothing, writes_variables};
use crate::find::trained::{Sites, is_site};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Scope, ScopeKind, Target};

/// The nodes that stay, and those among which a control edge says nothing once variables are constants.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) nodes: BTreeSet<NodeId>,
    /// Functions that something needs, by scope.
    pub(super) functions: BTreeSet<u32>,
    /// Nodes of the main graph that do nothing but write to variables, or wait for those that do.
    idle: BTreeSet<u32>,
    /// Those of them that others wait for in order to be dead where they are: in a branch that is not taken.
    gates: BTreeSet<u32>,
}

impl Kept {
    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains(&id)
    }

    /// Whether a control edge from `id` to what computes something can go.
    pub(super) fn is_idle(&self, id: NodeId) -> bool {
        id.scope == 0 && self.idle.contains(&id.node)
    }

    /// Whether a node goes on as one that does nothing, but is dead where it was.
    pub(super) fn is_gate(&self, id: NodeId) -> bool {
        id.scope == 0 && self.gates.contains(&id.node)
    }
}

/// What stays: in functions that are needed all but the parts of training, in the main graph what the outputs need.
pub(super) fn kept(graph: &Graph, sites: &Sites) -> Result<Kept, Error> {
    let Some(scope) = graph.index().scope(0).filter(|scope| matches!(scope.kind, ScopeKind::Main)) else {
        let (nodes, functions) = (BTreeSet::new(), BTreeSet::new());
        return Ok(Kept { nodes, functions, idle: BTreeSet::new(), gates: BTreeSet::new() });
    };
    let main = Main { graph, scope, sites };
    let fate = main.fates();
    let outputs = main.outputs(&fate)?;
    let (mut nodes, gates) = main.needed(outputs, &fate.idle);
    if nodes.iter().all(|id| graph.op(*id) == b"Placeholder") {
        return Err(Error::NotTraining {
            found: "every node depends on what changes variables: name the outputs with `--outputs`".to_owned(),
        });
    }
    let functions = functions(graph, &nodes)?;
    let inside = graph.all_nodes().filter(|id| functions.contains(&id.scope) && part(graph, *id).is_none());
    nodes.extend(inside);
    Ok(Kept { nodes, functions, idle: fate.idle, gates })
}

struct Main<'g> {
    graph: &'g Graph,
    scope: &'g Scope,
    sites: &'g Sites,
}

/// What writing to variables means for the other nodes.
struct Fates {
    /// Its values come from what writes to variables, or from what training added.
    gone: BTreeSet<u32>,
    /// It runs only after something was written. Behind a `Merge` that is true of one branch alone.
    waiting: BTreeSet<u32>,
    /// It writes, or only waits for what writes.
    idle: BTreeSet<u32>,
}

impl Main<'_> {
    fn all(&self) -> impl Iterator<Item = NodeId> + use<> {
        let count = u32::try_from(self.scope.nodes.len()).unwrap_or(u32::MAX);
        (0..count).map(|node| NodeId { scope: 0, node })
    }

    fn sources(&self, node: u32) -> impl Iterator<Item = (u32, bool)> {
        let inputs = self.scope.nodes.get(node as usize).map(|node| self.scope.inputs(node)).unwrap_or_default();
        inputs.iter().filter_map(|input| match input.target {
            Target::Data { node, .. } => Some((node, true)),
            Target::Control { node } => Some((node, false)),
            Target::Argument => None,
        })
    }

    fn fates(&self) -> Fates {
        let ours: BTreeSet<u32> = self
            .all()
            .filter(|id| part(self.graph, *id).is_some() && !is_site(self.graph, *id))
            .map(|id| id.node)
            .collect();
        let writers: BTreeSet<u32> = self
            .all()
            .filter(|id| writes_variables(self.graph.op(*id)) && !ours.contains(&id.node))
            .map(|id| id.node)
            .collect();
        // What a site gives is the tensor that it stands for, whatever moves its ranges.
        let mut stand_ins: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (last, site) in self.sites.iter().filter(|(last, _)| last.scope == 0) {
            if let Some((producer, _)) = site.producer {
                stand_ins.entry(producer.node).or_default().push(last.node);
            }
        }
        let behind = |seeds: &[&BTreeSet<u32>], by_control: bool| {
            let mut found: BTreeSet<u32> = seeds.iter().flat_map(|seeds| seeds.iter().copied()).collect();
            let mut open: Vec<u32> = found.iter().copied().collect();
            while let Some(node) = open.pop() {
                let is_site = |reader: u32| self.sites.contains_key(&NodeId { scope: 0, node: reader });
                let merges = |reader: u32| by_control && self.is_merge(reader);
                let readers: Vec<u32> = if by_control {
                    self.scope.consumers(node).to_vec()
                } else {
                    self.scope.data_edges(node).into_iter().map(|(reader, _)| reader).collect()
                };
                let readers = readers.into_iter().filter(|reader| !is_site(*reader) && !merges(*reader));
                for reader in readers.chain(stand_ins.get(&node).into_iter().flatten().copied()) {
                    if found.insert(reader) {
                        open.push(reader);
                    }
                }
            }
            found
        };
        let gone = behind(&[&writers, &ours], false);
        let waiting = behind(&[&gone], true);
        Fates { idle: self.idle(&writers, &ours), gone, waiting }
    }

    fn is_merge(&self, node: u32) -> bool {
        matches!(self.graph.op(NodeId { scope: 0, node }), b"Merge" | b"RefMerge")
    }

    /// Writers, and the `NoOp`s that wait for nothing else.
    fn idle(&self, writers: &BTreeSet<u32>, ours: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut idle: BTreeSet<u32> = writers.union(ours).copied().collect();
        let mut open: Vec<u32> = idle.iter().copied().collect();
        let mut busy: BTreeMap<u32, usize> = BTreeMap::new();
        while let Some(node) = open.pop() {
            // One that waits for it twice stands there twice.
            for &reader in self.scope.consumers(node) {
                if self.graph.op(NodeId { scope: 0, node: reader }) != b"NoOp" {
                    continue;
                }
                let left = busy.entry(reader).or_insert_with(|| self.sources(reader).count());
                *left = left.saturating_sub(1);
                if *left == 0 && idle.insert(reader) {
                    open.push(reader);
                }
            }
        }
        idle
    }

    fn outputs(&self, fates: &Fates) -> Result<Vec<NodeId>, Error> {
        let graph = self.graph;
        let is_result = |id: NodeId| {
            let fed = graph.op(id) == b"Placeholder";
            let last = self.scope.consumers(id.node).is_empty() && is_output(graph, id);
            (fed || last) && !fates.gone.contains(&id.node) && !fates.waiting.contains(&id.node)
        };
        let mut outputs: Vec<NodeId> = self.all().filter(|id| is_result(*id)).collect();
        for id in graph.named_outputs() {
            if fates.gone.contains(&id.node) {
                return Err(Error::NotTraining {
                    found: format!("the output `{}` depends on what changes variables", graph.name(*id)),
                });
            }
            outputs.push(*id);
        }
        Ok(outputs)
    }

    /// All that `open` needs, and the gates. What was assigned in the training pass alone does not count.
    fn needed(&self, mut open: Vec<NodeId>, idle: &BTreeSet<u32>) -> (BTreeSet<NodeId>, BTreeSet<u32>) {
        let (mut kept, mut gates) = (BTreeSet::new(), BTreeSet::new());
        while let Some(id) = open.pop() {
            if let Some(site) = self.sites.get(&id) {
                open.extend(site.producer.map(|(id, _)| id));
                continue;
            }
            if !kept.insert(id) {
                continue;
            }
            let sources = self.sources(id.node).filter(|(node, data)| *data || !idle.contains(node));
            open.extend(sources.map(|(node, _)| NodeId { scope: 0, node }));
            if !dies_by_control(self.graph, id) {
                continue;
            }
            let mut shut: Vec<u32> =
                self.sources(id.node).map(|(node, _)| node).filter(|node| idle.contains(node)).collect();
            while let Some(gate) = shut.pop() {
                if gates.insert(gate) {
                    for source in gated_by(self.graph, NodeId { scope: 0, node: gate }) {
                        if idle.contains(&source.node) { shut.push(source.node) } else { open.push(source) }
                    }
                }
            }
        }
        (kept, gates)
    }
}

/// Whether a node is dead, in a branch that is not taken, because of what it waits for alone: it has no data inputs. Where that is an
/// assignment, which goes, a node that does nothing stands in its place.
pub(super) fn dies_by_control(graph: &Graph, id: NodeId) -> bool {
    let found = graph.index().scope(id.scope).zip(graph.index().node(id));
    // Inputs of both kinds never mix: TensorFlow wants the others first.
    found.is_some_and(|(scope, node)| {
        scope.inputs(node).first().is_none_or(|input| matches!(input.target, Target::Control { .. }))
    })
}

/// What a gate waits for: what the assignment waited for, and the nodes whose values it assigned.
pub(super) fn gated_by(graph: &Graph, gate: NodeId) -> Vec<NodeId> {
    let Some((scope, node)) = graph.index().scope(gate.scope).zip(graph.index().node(gate)) else { return Vec::new() };
    let at = |node: u32| NodeId { scope: gate.scope, node };
    let sources = scope.inputs(node).iter().filter_map(|input| match input.target {
        // Not the variable itself, which is in no branch.
        Target::Data { node, .. } => Some(at(node)).filter(|id| !leads_to_variable(graph, *id)),
        Target::Control { node } => Some(at(node)),
        Target::Argument => None,
    });
    let sources: BTreeSet<NodeId> = sources.collect();
    sources.into_iter().collect()
}

fn leads_to_variable(graph: &Graph, id: NodeId) -> bool {
    is_variable(graph.op(id)) || matches!(graph.op(id), b"RefSwitch" | b"RefIdentity" | b"RefMerge" | b"RefEnter")
}

/// Whether a node that nothing reads is a result of the forward pass.
fn is_output(graph: &Graph, id: NodeId) -> bool {
    let op = graph.op(id);
    let reads_only = matches!(op, b"ReadVariableOp" | b"Identity")
        && graph.source(id, 0).is_some_and(|source| is_variable(graph.op(source)));
    !reads_only && op != b"Const" && !makes_nothing(op) && !is_variable(op)
}

/// The functions that `nodes` call, directly or through others.
fn functions(graph: &Graph, nodes: &BTreeSet<NodeId>) -> Result<BTreeSet<u32>, Error> {
    let bytes = graph.bytes();
    let mut found = BTreeSet::new();
    let mut open = Vec::new();
    let mut look = |id: NodeId, open: &mut Vec<u32>| -> Result<(), Error> {
        let Some(node) = graph.index().node(id) else { return Ok(()) };
        let called = node.functions(bytes)?.into_iter().map(|(_, name)| name).chain([node.op]);
        for scope in called.filter_map(|name| graph.index().function(bytes, name.of(bytes))) {
            if found.insert(scope) {
                open.push(scope);
            }
        }
        Ok(())
    };
    for id in nodes {
        look(*id, &mut open)?;
    }
    while let Some(scope) = open.pop() {
        let count = graph.index().scope(scope).map_or(0, |scope| scope.nodes.len());
        for node in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            look(NodeId { scope, node }, &mut open)?;
        }
    }
    Ok(found)
}
