//! From a training graph to the float graph with constants in place of variables.

use std::collections::{BTreeMap, BTreeSet};

use super::sites::{Sites, is_site, renamed};
use super::values::Values;
use crate::Error;
use crate::emit::training::part;
use crate::emit::{Editor, frozen_variable, read_again};
use crate::graph::Graph;
use crate::index::{NodeId, ScopeKind, Target};
use crate::ops::is_variable;

/// The float graph, and the names that producers of outputs got back.
pub(super) fn strip(
    graph: &Graph,
    sites: &Sites,
    values: &mut Values<'_>,
) -> Result<(Graph, BTreeMap<NodeId, String>), Error> {
    let renamed = renamed(graph, sites);
    let kept = kept(graph, sites)?;
    let mut editor = Editor::new(graph);
    for (id, name) in &renamed {
        if kept.contains(id) {
            editor.rename(*id, name);
        }
    }
    // The first node that reads a variable becomes its constant.
    let mut constants: BTreeMap<NodeId, String> = BTreeMap::new();
    for id in graph.all_nodes() {
        if !kept.contains(&id) {
            editor.replace(id, Vec::new());
            continue;
        }
        match graph.op(id) {
            b"Variable" | b"VariableV2" => {
                if let Some(value) = values.of(graph, id)? {
                    frozen_variable(&mut editor, id, &value);
                }
            }
            // Only what reads it may stay; its handle goes.
            b"VarHandleOp" => editor.replace(id, Vec::new()),
            b"ReadVariableOp" => {
                let Some(handle) = data_source(graph, id) else { return Err(captured(graph, id)) };
                if let Some(first) = constants.get(&handle) {
                    read_again(&mut editor, id, first)?;
                    continue;
                }
                if let Some(value) = values.of(graph, handle)? {
                    frozen_variable(&mut editor, id, &value);
                }
                constants.insert(handle, graph.name(id).to_owned());
            }
            _ => reroute(graph, sites, &renamed, &mut editor, id)?,
        }
    }
    Ok((graph.patched(editor.finish())?, renamed))
}

/// The variable of the main graph that a `ReadVariableOp` reads.
fn data_source(graph: &Graph, id: NodeId) -> Option<NodeId> {
    graph.source(id, 0).filter(|source| graph.op(*source) == b"VarHandleOp")
}

fn captured(graph: &Graph, id: NodeId) -> Error {
    Error::NotTraining {
        found: format!(
            "`{}` ({}) uses a variable otherwise than by reading it",
            graph.full_name(id),
            String::from_utf8_lossy(graph.op(id))
        ),
    }
}

/// Edges from sites read what the sites are made from.
fn reroute(
    graph: &Graph,
    sites: &Sites,
    renamed: &BTreeMap<NodeId, String>,
    editor: &mut Editor<'_>,
    id: NodeId,
) -> Result<(), Error> {
    let Some((scope, node)) = graph.index().scope(id.scope).zip(graph.index().node(id)) else { return Ok(()) };
    for (position, input) in scope.inputs(node).iter().enumerate() {
        let (source, control) = match input.target {
            Target::Data { node, .. } => (NodeId { scope: id.scope, node }, false),
            Target::Control { node } => (NodeId { scope: id.scope, node }, true),
            Target::Argument => continue,
        };
        if graph.op(source) == b"VarHandleOp" && !control {
            return Err(captured(graph, id));
        }
        let text = match (sites.get(&source), renamed.get(&source)) {
            (Some(site), _) => site.edge(graph, id.scope, sites, renamed),
            (None, Some(name)) => {
                let text = input.text.text(graph.bytes());
                let port = text.find(':').and_then(|at| text.get(at..)).unwrap_or_default();
                format!("{name}{port}")
            }
            (None, None) => continue,
        };
        let text = if control { format!("^{}", text.split(':').next().unwrap_or_default()) } else { text };
        editor.reroute(id, position, text);
    }
    Ok(())
}

/// What stays: in functions all but the parts of training, in the main graph what the outputs need.
fn kept(graph: &Graph, sites: &Sites) -> Result<BTreeSet<NodeId>, Error> {
    let mut kept: BTreeSet<NodeId> =
        graph.all_nodes().filter(|id| id.scope != 0 && part(graph, *id).is_none()).collect();
    let Some(scope) = graph.index().scope(0).filter(|scope| matches!(scope.kind, ScopeKind::Main)) else {
        return Ok(kept);
    };
    let count = u32::try_from(scope.nodes.len()).unwrap_or(u32::MAX);
    let all = || (0..count).map(|node| NodeId { scope: 0, node });

    // What writes variables goes, and what waits for it; so does all that training added, but for the tensors that stand for others.
    let mut gone: BTreeSet<NodeId> = BTreeSet::new();
    let mut open: Vec<NodeId> = Vec::new();
    for id in all() {
        let ours = part(graph, id).is_some() && !is_site(graph, id);
        if ours || touches_variables(graph.op(id)) {
            open.push(id);
        }
    }
    while let Some(id) = open.pop() {
        if gone.insert(id) {
            let readers = scope.consumers(id.node).iter().map(|node| NodeId { scope: 0, node: *node });
            open.extend(readers.filter(|reader| !sites.contains_key(reader)));
        }
    }

    let mut open: Vec<NodeId> = Vec::new();
    for id in all() {
        let fed = graph.op(id) == b"Placeholder";
        if (fed || scope.consumers(id.node).is_empty() && is_output(graph, id)) && !gone.contains(&id) {
            open.push(id);
        }
    }
    for id in graph.named_outputs() {
        if gone.contains(id) {
            return Err(Error::NotTraining {
                found: format!("the output `{}` depends on what changes variables", graph.name(*id)),
            });
        }
        open.push(*id);
    }
    while let Some(id) = open.pop() {
        if let Some(site) = sites.get(&id) {
            open.extend(site.producer(0, sites).map(|(id, _)| id));
            continue;
        }
        if !kept.insert(id) {
            continue;
        }
        let Some(node) = graph.index().node(id) else { continue };
        open.extend(scope.inputs(node).iter().filter_map(|input| match input.target {
            Target::Data { node, .. } | Target::Control { node } => Some(NodeId { scope: 0, node }),
            Target::Argument => None,
        }));
    }
    if all().all(|id| !kept.contains(&id) || graph.op(id) == b"Placeholder") {
        return Err(Error::NotTraining {
            found: "every node depends on what changes variables: name the outputs with `--outputs`".to_owned(),
        });
    }
    Ok(kept)
}

/// Whether a node that nothing reads is a result of the forward pass.
fn is_output(graph: &Graph, id: NodeId) -> bool {
    let op = graph.op(id);
    let reads_only = matches!(op, b"ReadVariableOp" | b"Identity")
        && graph.source(id, 0).is_some_and(|source| is_variable(graph.op(source)));
    !reads_only && !matches!(op, b"NoOp" | b"Const") && !is_variable(op)
}

/// Whether an op writes, saves or asks for the state of variables (TensorFlow 2.21's op names).
fn touches_variables(op: &[u8]) -> bool {
    let families: [&[u8]; 6] =
        [b"Assign", b"Apply", b"SparseApply", b"ResourceApply", b"ResourceSparseApply", b"ResourceScatter"];
    let others: [&[u8]; 18] = [
        b"CountUpTo",
        b"DestroyResourceOp",
        b"IsVariableInitialized",
        b"MergeV2Checkpoints",
        b"Restore",
        b"RestoreSlice",
        b"RestoreV2",
        b"Save",
        b"SaveSlices",
        b"SaveV2",
        b"ScatterAdd",
        b"ScatterDiv",
        b"ScatterMax",
        b"ScatterMin",
        b"ScatterMul",
        b"ScatterSub",
        b"ScatterUpdate",
        b"VarIsInitializedOp",
    ];
    families.iter().any(|family| op.starts_with(family)) || others.contains(&op)
}
