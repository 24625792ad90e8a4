//! What is added to an op's output, channel by channel.

use std::collections::{BTreeSet, VecDeque};

use super::{Traced, Weight, trace};
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{Input, NodeId, Target};

/// Nodes that are looked at behind an op. Frameworks write a handful.
const MOST: usize = 64;

/// A vector that is added to an op's output.
#[derive(Debug, Clone)]
pub(crate) struct Bias {
    /// The op that adds it, and which of its inputs it is.
    pub(crate) by: NodeId,
    pub(crate) input: usize,
    /// The constant or variable.
    pub(crate) vector: Box<Weight>,
}

/// Whether an op passes on all elements of its first input, in another shape.
pub(crate) fn changes_shape(op: &[u8]) -> bool {
    matches!(op, b"Identity" | b"Reshape" | b"Squeeze" | b"ExpandDims" | b"Transpose" | b"BatchToSpaceND")
}

/// The constants and variables with an element for each of the `channels` of `op`, or one for all of them, that are added to its output.
/// One that waits for the op is none: where it is read for the weight's scale, the op would wait for itself.
pub(crate) fn biases(graph: &Graph, op: NodeId, channels: u64) -> Result<Vec<Bias>, Error> {
    let mut waiting = Waiting { graph, op, free: BTreeSet::new() };
    applied_behind(graph, op, |reader, input| match added(graph.op(reader), input) {
        Some(input) => {
            let found = bias(graph, reader, input, channels)?;
            Ok(found.filter(|_| !waiting.waits(reader, input)).into_iter().collect())
        }
        None => Ok(Vec::new()),
    })
}

/// What waits for an op, be it by data or by control.
struct Waiting<'g> {
    graph: &'g Graph,
    op: NodeId,
    /// Nodes of the op's scope that do not.
    free: BTreeSet<u32>,
}

impl<'g> Waiting<'g> {
    /// Whether what `reader` reads at `input` waits for the op. So does what hangs on more nodes than are looked at: what holds a bias
    /// hangs on a handful.
    fn waits(&mut self, reader: NodeId, input: usize) -> bool {
        const MOST: usize = 1024;
        let mut here = Vec::new();
        let first = self.graph.input(reader, input).and_then(|input| source(input.target));
        let mut open: Vec<u32> = first.into_iter().collect();
        let mut waits = false;
        while let Some(node) = open.pop() {
            let inputs = self.inputs(node);
            waits = node == self.op.node || self.free.len() + open.len() + inputs.len() > MOST;
            if waits {
                break;
            }
            if self.free.insert(node) {
                here.push(node);
                open.extend(inputs.iter().filter_map(|input| source(input.target)));
            }
        }
        if waits {
            for node in here {
                self.free.remove(&node);
            }
        }
        waits
    }

    /// What a node hangs on; what it has from a loop's round before is there already.
    fn inputs(&self, node: u32) -> &'g [Input] {
        let id = NodeId { scope: self.op.scope, node };
        let found = self.graph.index().scope(id.scope).zip(self.graph.index().node(id));
        let found = found.filter(|_| !matches!(self.graph.op(id), b"NextIteration" | b"RefNextIteration"));
        found.map_or(&[], |(scope, node)| scope.inputs(node))
    }
}

fn source(target: Target) -> Option<u32> {
    match target {
        Target::Data { node, .. } | Target::Control { node } => Some(node),
        Target::Argument => None,
    }
}

/// What is applied to the output of `op`, one after the other, with nothing between but changes of shape: all that `applied(reader, input)`
/// finds at ops that read what was made so far.
pub(crate) fn applied_behind<T>(
    graph: &Graph,
    op: NodeId,
    mut applied: impl FnMut(NodeId, usize) -> Result<Vec<T>, Error>,
) -> Result<Vec<T>, Error> {
    let Some(scope) = graph.index().scope(op.scope) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([op]);
    let mut open = VecDeque::from([op]);
    while let Some(at) = open.pop_front() {
        for (reader, input) in scope.data_edges(at.node) {
            let reader = NodeId { scope: op.scope, node: reader };
            if seen.len() > MOST || seen.contains(&reader) {
                continue;
            }
            let here = applied(reader, input)?;
            if !here.is_empty() || (input == 0 && changes_shape(graph.op(reader))) {
                seen.insert(reader);
                open.push_back(reader);
            }
            found.extend(here);
        }
    }
    Ok(found)
}

/// The input of an op that is added to what it reads at `input`, or taken from it.
fn added(op: &[u8], input: usize) -> Option<usize> {
    match (op, input) {
        (b"BiasAdd" | b"Add" | b"AddV2" | b"Sub", 0) => Some(1),
        (b"Add" | b"AddV2", 1) => Some(0),
        _ => None,
    }
}

fn bias(graph: &Graph, by: NodeId, input: usize, channels: u64) -> Result<Option<Bias>, Error> {
    let (Traced::Weight(vector) | Traced::Variable(_, Some(vector))) = trace(graph, by, input)? else {
        return Ok(None);
    };
    if vector.cut().is_some() {
        return Ok(None);
    }
    let is_vector = vector.shape.iter().filter(|dim| **dim != 1).count() <= 1;
    let fits = [1, channels].contains(&vector.elements());
    Ok((is_vector && fits).then_some(Bias { by, input, vector }))
}
