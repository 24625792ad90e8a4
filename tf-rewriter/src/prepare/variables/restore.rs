//! Keys as a session finds them: what the restore op reads from the checkpoint, and to which variables it goes.

use std::collections::{BTreeMap, BTreeSet};

use super::strings::strings;
use super::world::Made;
use super::{Env, World};
use crate::error::Error;
use crate::find::ops::{is_variable, writes_variables};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Target, node_of};
use crate::graphdef::saved_model::Key;

/// What hands a value on as it is.
const PASSES: [&[u8]; 6] = [b"Identity", b"Reshape", b"Cast", b"EnsureShape", b"IdentityN", b"RefIdentity"];

/// Variables of the main graph that a node of it assigns what `source` gives.
pub(super) fn assigned_from(graph: &Graph, source: NodeId) -> Vec<u32> {
    let world = World::new(graph);
    let Some(main) = graph.index().scope(0) else { return Vec::new() };
    let mut found = Vec::new();
    for (reader, position) in main.data_edges(source.node) {
        let by = NodeId { scope: 0, node: reader };
        if position == 1 && writes_variables(graph.op(by)) {
            let made = world.behind(Made { env: 0, node: by, port: 0 }, 0, &PASSES);
            found.extend(made.filter(|made| is_variable(graph.op(made.node))).map(|made| made.node.node));
        }
    }
    found
}

/// The keys of the variables that what `restore` waits for assigns, by the number of the variable's node in the main graph.
///
/// # Errors
/// Calls that are too deep; damaged names of tensors.
pub(super) fn keys(graph: &Graph, restore: &str) -> Result<BTreeMap<u32, Key>, Error> {
    let mut found = BTreeMap::new();
    let name = node_of(restore);
    let Some(root) = graph.named(name) else { return Ok(found) };
    let mut world = World::new(graph);
    let mut waiting = vec![(0, root)];
    let mut seen: BTreeSet<(Env, NodeId)> = BTreeSet::new();
    while let Some((env, node)) = waiting.pop() {
        if !seen.insert((env, node)) {
            continue;
        }
        let Some(scope) = graph.index().scope(node.scope) else { continue };
        let inputs = graph.index().node(node).map(|own| scope.inputs(own)).unwrap_or_default();
        for input in inputs {
            if let Target::Data { node: source, .. } | Target::Control { node: source } = input.target {
                waiting.push((env, NodeId { scope: node.scope, node: source }));
            }
        }
        if let Some(body) = world.enter(env, node)? {
            waiting.extend(world.nodes(body).map(|node| (body, node)));
        }
        if matches!(graph.op(node), b"AssignVariableOp" | b"Assign")
            && let Some((variable, key)) = assigned(&world, env, node)?
        {
            found.insert(variable, key);
        }
    }
    Ok(found)
}

/// The variable that an op assigns what it was restored from.
fn assigned(world: &World<'_>, env: Env, node: NodeId) -> Result<Option<(u32, Key)>, Error> {
    let graph = world.graph;
    let at = Made { env, node, port: 0 };
    let variable = world.behind(at, 0, &PASSES).filter(|made| made.node.scope == 0 && is_variable(graph.op(made.node)));
    let restored = world.behind(at, 1, &PASSES);
    let Some((variable, restored)) = variable.zip(restored) else { return Ok(None) };
    // Restore and RestoreSlice, of ages ago, give one tensor.
    let (name_at, slice_at) = match graph.op(restored.node) {
        b"RestoreV2" | b"RestoreSlice" => (1, Some(2)),
        b"Restore" => (1, None),
        _ => return Ok(None),
    };
    let text = |position: usize| -> Result<Option<String>, Error> {
        let Some(made) = world.behind(restored, position, &PASSES) else { return Ok(None) };
        let mut all = strings(graph, made.node)?;
        let position = restored.port as usize;
        Ok((position < all.len()).then(|| all.swap_remove(position)))
    };
    let Some(name) = text(name_at)? else { return Ok(None) };
    let slice = slice_at.map(text).transpose()?.flatten().unwrap_or_default();
    Ok(Some((variable.node.node, Key { name, slice })))
}
