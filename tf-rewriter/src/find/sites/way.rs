//! The nodes on a weight's way from where it is whole to its op.

use std::collections::BTreeSet;

use super::flow;
use super::pieces::{changes, cuts, is_fixed, value_input};
use super::weight::Weight;
use crate::error::Error;
use crate::graphdef::graph::{Graph, Place};
use crate::graphdef::index::{NodeId, Target};

/// The nodes between an op and `goal` on the way of its weight (`via`): those that have to be copied when the op is to read something else
/// in place of `goal`. `None` where the way leaves the op's scope or leads through a call, which no copy can do.
///
/// With `alone`, arguments and calls end the way instead: whatever comes from there is to be replaced.
///
/// # Errors
/// Damaged nodes.
pub(crate) fn between(
    graph: &Graph,
    (op, input): (NodeId, usize),
    goal: Place,
    via: &BTreeSet<NodeId>,
    alone: bool,
) -> Result<Option<BTreeSet<NodeId>>, Error> {
    let mut found = BTreeSet::new();
    let mut open: Vec<Place> = flow::read(graph, op, input).into_iter().collect();
    while let Some(place) = open.pop() {
        if place == goal {
            continue;
        }
        let Place::Output(id, _) = place else {
            if alone {
                continue;
            }
            return Ok(None);
        };
        if found.contains(&id) || !via.contains(&id) {
            continue;
        }
        if flow::is_call(graph, id)? {
            if alone {
                continue;
            }
            return Ok(None);
        }
        found.insert(id);
        open.extend(flow::read_by(graph, id));
    }
    Ok(Some(found))
}

/// Whether the op of a weight can read pieces of a quantized whole: the nodes that cut them off, and what stands behind those, can be
/// copied for it.
///
/// # Errors
/// Damaged nodes.
pub(crate) fn can_be_whole(graph: &Graph, (op, input): (NodeId, usize), weight: &Weight) -> Result<bool, Error> {
    let Some(cut) = weight.cut() else { return Ok(true) };
    let (_, at) = weight.whole_edge(graph, op, input);
    let Some(goal) = flow::read(graph, cut, at) else { return Ok(false) };
    let nodes = between(graph, (op, input), goal, &weight.via, false)?;
    Ok(nodes.is_some_and(|nodes| nodes.contains(&cut)))
}

/// Where the value at an input goes on, whole or in pieces, whatever its type and shape become; `None` where the node makes something else
/// of it, or where that is not known.
///
/// # Errors
/// Damaged nodes.
pub(crate) fn passed_on(graph: &Graph, id: NodeId, input: usize) -> Result<Option<Vec<Place>>, Error> {
    if let Some(places) = flow::destinations(graph, id, input)? {
        return Ok(Some(places));
    }
    let op = graph.op(id);
    if !changes(op) || input != value_input(op) || (cuts(op) && !is_fixed(graph, id)?) {
        return Ok(None);
    }
    let scope = graph.index().scope(id.scope);
    let edges = scope.map(|scope| scope.edges(id.node)).into_iter().flatten();
    let ports = edges.filter_map(|(_, _, target)| match target {
        Target::Data { port, .. } => Some(port),
        Target::Control { .. } | Target::Argument => None,
    });
    let ports: BTreeSet<u32> = ports.chain(graph.calls()?.returned_ports(id)).collect();
    Ok(Some(ports.into_iter().map(|port| Place::Output(id, port)).collect()))
}
