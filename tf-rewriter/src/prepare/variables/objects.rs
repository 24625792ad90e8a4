//! Keys as Python's loader finds them: objects of the model and of the checkpoint that have the same names from the root on.

use std::collections::{BTreeMap, VecDeque};

use protobuf::Message;

use super::World;
use super::world::Made;
use crate::error::{At, Error};
use crate::find::ops::is_variable;
use crate::graphdef::bundle::Bundle;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{ScopeKind, Target};
use crate::graphdef::pb::{SavedObjectGraph, TrackableObjectGraph};
use crate::graphdef::saved_model::MetaGraph;

/// The tensor of the checkpoint that holds its object graph.
const OBJECTS: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
/// The attribute under which an object that is a variable has its value.
const VALUE: &str = "VARIABLE_VALUE";

/// A variable among the objects of a model.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) key: String,
    /// Whether training changes it.
    pub(super) is_trained: bool,
}

/// Objects of variables of the main graph that calls are given, by the number of the variable's node.
///
/// # Errors
/// Damaged object graphs.
pub(super) fn keys(graph: &Graph, meta: &MetaGraph, bundle: &Bundle) -> Result<BTreeMap<u32, Object>, Error> {
    let mut found = BTreeMap::new();
    let saved = meta.objects(graph.bytes())?;
    let Some(bytes) = bundle.strings(OBJECTS)?.and_then(|strings| strings.into_iter().next()) else { return Ok(found) };
    let stored = TrackableObjectGraph::parse_from_bytes(&bytes).map_err(|error| Error::Wire {
        what: "the checkpoint's object graph".into(),
        found: error.to_string().into(),
        expected: "a TrackableObjectGraph".into(),
        at: Box::new(At::default()),
    })?;
    let keys = keys_of_objects(&saved, &stored);
    let functions: BTreeMap<&str, &[i32]> = saved
        .concrete_functions
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.bound_inputs.as_slice()))
        .collect();
    let world = World::new(graph);
    for node in world.nodes(0) {
        let Some(scope) = graph.callee(node)?.and_then(|scope| graph.index().scope(scope)) else { continue };
        let ScopeKind::Function { name, .. } = scope.kind else { continue };
        let Some(bound) = functions.get(name.text(graph.bytes())) else { continue };
        let Some((main, own)) = graph.index().scope(0).zip(graph.index().node(node)) else { continue };
        let data = main.inputs(own).iter().filter(|input| !matches!(input.target, Target::Control { .. })).count();
        // The objects are the last arguments.
        let Some(first) = data.checked_sub(bound.len()) else { continue };
        for (position, object) in (first..data).zip(*bound) {
            let variable = world.behind(Made { env: 0, node, port: 0 }, position, &[b"Identity"]);
            let variable = variable.filter(|made| is_variable(graph.op(made.node)));
            if let Some((variable, key)) =
                variable.zip(usize::try_from(*object).ok().and_then(|object| keys.get(&object)))
            {
                found.insert(variable.node.node, key.clone());
            }
        }
    }
    Ok(found)
}

/// The keys of the model's objects, by their numbers: an object of the checkpoint is the one that is reached by the same names.
fn keys_of_objects(saved: &SavedObjectGraph, stored: &TrackableObjectGraph) -> BTreeMap<usize, Object> {
    let mut pairs: BTreeMap<usize, usize> = BTreeMap::from([(0, 0)]);
    let mut waiting = VecDeque::from([(0, 0)]);
    while let Some((ours, theirs)) = waiting.pop_front() {
        let Some((ours, theirs)) = saved.nodes.get(ours).zip(stored.nodes.get(theirs)) else { continue };
        let named: BTreeMap<&str, i32> =
            theirs.children.iter().map(|child| (child.local_name.as_str(), child.node_id)).collect();
        for child in &ours.children {
            let pair = named.get(child.local_name.as_str()).copied().map(usize::try_from);
            let (Ok(own), Some(Ok(other))) = (usize::try_from(child.node_id), pair) else { continue };
            if let std::collections::btree_map::Entry::Vacant(slot) = pairs.entry(own) {
                slot.insert(other);
                waiting.push_back((own, other));
            }
        }
    }
    let mut keys = BTreeMap::new();
    for (ours, theirs) in pairs {
        let Some(variable) = saved.nodes.get(ours).and_then(|object| object.variable.as_ref()) else { continue };
        let Some(object) = stored.nodes.get(theirs) else { continue };
        let value = object.attributes.iter().find(|attribute| attribute.name == VALUE).or(object.attributes.first());
        if let Some(value) = value {
            keys.insert(ours, Object { key: value.checkpoint_key.clone(), is_trained: variable.trainable });
        }
    }
    keys
}
