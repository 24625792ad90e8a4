//! No node may depend on itself, except around a loop that `NextIteration` closes.

use super::{Scope, Target};
use crate::error::Error;

/// Fill in the consumers of each node, then Kahn's algorithm over data and control edges; edges out of a `NextIteration` do not count.
pub(super) fn check(scope: &mut Scope, bytes: &[u8]) -> Result<(), Error> {
    link(scope);
    let mut waiting: Vec<u32> = scope
        .nodes
        .iter()
        .map(|node| scope.inputs(node).iter().filter_map(|i| source(scope, bytes, i.target)).map(|_| 1).sum())
        .collect();
    let mut ready: Vec<u32> = (0u32..).zip(&waiting).filter(|(_, w)| **w == 0).map(|(id, _)| id).collect();
    let mut done = 0;
    while let Some(id) = ready.pop() {
        done += 1;
        if closes_loop(scope, bytes, id) {
            continue;
        }
        for &consumer in scope.consumers(id) {
            if let Some(w) = waiting.get_mut(consumer as usize) {
                *w -= 1;
                if *w == 0 {
                    ready.push(consumer);
                }
            }
        }
    }
    if done == scope.nodes.len() { Ok(()) } else { Err(cycle(scope, bytes, &waiting)) }
}

fn link(scope: &mut Scope) {
    let node_of = |target| match target {
        Target::Data { node, .. } | Target::Control { node } => Some(node),
        Target::Argument => None,
    };
    // A file can have a million functions without a node.
    if scope.nodes.is_empty() {
        return;
    }
    let mut first = vec![0u32; scope.nodes.len() + 1];
    for source in scope.inputs.iter().filter_map(|i| node_of(i.target)) {
        if let Some(count) = first.get_mut(source as usize + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for count in &mut first {
        sum += *count;
        *count = sum;
    }
    let mut next = first.clone();
    let mut consumers = vec![0u32; sum as usize];
    let mut positions = vec![0u32; sum as usize];
    for (id, node) in (0u32..).zip(&scope.nodes) {
        for (position, input) in (0u32..).zip(scope.inputs(node)) {
            let Some(slot) = node_of(input.target).and_then(|source| next.get_mut(source as usize)) else { continue };
            if let (Some(consumer), Some(at)) = (consumers.get_mut(*slot as usize), positions.get_mut(*slot as usize)) {
                (*consumer, *at) = (id, position);
            }
            *slot += 1;
        }
    }
    scope.first_consumer = first;
    scope.consumers = consumers;
    scope.positions = positions;
}

fn closes_loop(scope: &Scope, bytes: &[u8], id: u32) -> bool {
    let op = scope.nodes.get(id as usize).map(|n| n.op.of(bytes));
    matches!(op, Some(b"NextIteration" | b"RefNextIteration"))
}

/// The node behind an edge that orders execution.
fn source(scope: &Scope, bytes: &[u8], target: Target) -> Option<u32> {
    match target {
        Target::Data { node, .. } | Target::Control { node } => (!closes_loop(scope, bytes, node)).then_some(node),
        Target::Argument => None,
    }
}

/// Walk back along unfinished sources until a node repeats: that is a cycle.
fn cycle(scope: &Scope, bytes: &[u8], waiting: &[u32]) -> Error {
    const SHOWN: usize = 8;
    let unfinished = |id: &u32| waiting.get(*id as usize).is_some_and(|w| *w > 0);
    let mut at = (0u32..).zip(waiting).find(|(_, w)| **w > 0).map_or(0, |(id, _)| id);
    let mut visited = vec![false; scope.nodes.len()];
    let mut walk = Vec::new();
    while let Some(seen) = visited.get_mut(at as usize).filter(|seen| !**seen) {
        *seen = true;
        walk.push(at);
        let inputs = scope.nodes.get(at as usize).map(|n| scope.inputs(n)).unwrap_or_default();
        match inputs.iter().filter_map(|i| source(scope, bytes, i.target)).find(|s| unfinished(s)) {
            Some(next) => at = next,
            None => break,
        }
    }
    let name = |id: u32| scope.nodes.get(id as usize).map(|n| n.name.text(bytes)).unwrap_or_default();
    let start = walk.iter().position(|id| *id == at).unwrap_or(0);
    let mut path: Vec<&str> = walk.iter().skip(start).take(SHOWN).map(|id| name(*id)).collect();
    if walk.len() - start > SHOWN {
        path.push("…");
    }
    path.push(name(at));
    path.reverse();
    Error::Cycle { node: name(at).to_owned(), path: path.join(" → "), at: Box::new(scope.at(bytes, at as usize)) }
}
