//! From a training graph to the float graph with constants in place of variables.

use std::collections::BTreeMap;

use super::handles::{self, Handles, uses};
use super::kept::{Kept, dies_by_control, gated_by, kept};
use super::values::Values;
use crate::error::Error;
use crate::find::mark;
use crate::find::trained::{Sites, renamed};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, ScopeKind, Target};
use crate::rewrite::emit::{Editor, NewNode, frozen_variable, read_again};

/// The float graph, and the names that producers of outputs got back.
pub(super) fn strip(
    graph: &Graph,
    sites: &Sites,
    values: &mut Values<'_>,
) -> Result<(Graph, BTreeMap<NodeId, String>), Error> {
    let renamed = renamed(graph, sites);
    let kept = kept(graph, sites)?;
    let handles = handles::follow(graph, &kept)?;
    let mut strip =
        Strip { graph, sites, renamed: &renamed, kept: &kept, handles: &handles, editor: Editor::new(graph) };
    strip.all(values)?;
    handles.change(&mut strip.editor)?;
    let float = graph.patched(strip.editor.finish()?)?;
    Ok((float, renamed))
}

struct Strip<'g, 'a> {
    graph: &'g Graph,
    sites: &'a Sites,
    renamed: &'a BTreeMap<NodeId, String>,
    kept: &'a Kept,
    handles: &'a Handles,
    editor: Editor<'g>,
}

impl Strip<'_, '_> {
    fn all(&mut self, values: &mut Values<'_>) -> Result<(), Error> {
        let graph = self.graph;
        for (id, name) in self.renamed {
            if self.kept.contains(*id) {
                self.editor.rename(*id, name);
            }
        }
        for (scope, found) in (0u32..).zip(&graph.index().scopes) {
            if !matches!(found.kind, ScopeKind::Main) && !self.kept.functions.contains(&scope) {
                self.editor.remove_function(scope);
            }
        }
        // The first node that reads a variable becomes its constant.
        let mut constants: BTreeMap<NodeId, String> = BTreeMap::new();
        for id in graph.all_nodes() {
            if self.kept.contains(id) {
                self.node(id, values, &mut constants)?;
            } else if self.kept.is_gate(id) {
                self.gate(id);
            } else if id.scope == 0 || self.kept.functions.contains(&id.scope) {
                self.editor.replace(id, Vec::new());
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        id: NodeId,
        values: &mut Values<'_>,
        constants: &mut BTreeMap<NodeId, String>,
    ) -> Result<(), Error> {
        let graph = self.graph;
        match graph.op(id) {
            b"Variable" | b"VariableV2" => {
                if let Some(value) = values.of(graph, id)? {
                    frozen_variable(&mut self.editor, id, &value);
                }
            }
            b"VarHandleOp" if self.handles.variables.contains(&id) => {
                if let Some(value) = values.of(graph, id)? {
                    frozen_variable(&mut self.editor, id, &value);
                }
            }
            // Only what reads it may stay; its handle goes.
            b"VarHandleOp" => self.editor.replace(id, Vec::new()),
            b"ReadVariableOp" if !self.handles.replaces(id) => {
                let source = graph.source(id, 0).filter(|source| graph.op(*source) == b"VarHandleOp");
                let Some(handle) = source else { return Err(uses(graph, id)) };
                if let Some(first) = constants.get(&handle) {
                    return read_again(&mut self.editor, id, first);
                }
                if let Some(value) = values.of(graph, handle)? {
                    frozen_variable(&mut self.editor, id, &value);
                }
                constants.insert(handle, graph.name(id).to_owned());
            }
            _ if self.handles.replaces(id) => {}
            _ => {
                self.node_itself(id)?;
                self.edges(id);
            }
        }
        Ok(())
    }

    /// What handles references to variables handles values, and no node is bound to one that is gone.
    fn node_itself(&mut self, id: NodeId) -> Result<(), Error> {
        let (graph, bytes) = (self.graph, self.graph.bytes());
        let Some(node) = graph.index().node(id) else { return Ok(()) };
        let by_value = match node.op.of(bytes) {
            b"RefEnter" => Some("Enter"),
            b"RefExit" => Some("Exit"),
            b"RefIdentity" => Some("Identity"),
            b"RefMerge" => Some("Merge"),
            b"RefNextIteration" => Some("NextIteration"),
            b"RefSwitch" => Some("Switch"),
            _ => None,
        };
        if let Some(op) = by_value {
            self.editor.change_op(id, op)?;
        }
        let list = node.attr_list(bytes, mark::COLOCATED)?.unwrap_or_default();
        let is_gone = |class: &Vec<u8>| class.strip_prefix(b"loc:@").is_some_and(|name| !self.is_there(id.scope, name));
        if list.s.iter().any(is_gone)
            && let Some(attr) = node.attr(bytes, mark::COLOCATED)?
        {
            self.editor.patch(id, attr.entry, Vec::new());
        }
        Ok(())
    }

    /// Whether the result has a node of this name.
    fn is_there(&self, scope: u32, name: &[u8]) -> bool {
        let node = self.graph.index().scope(scope).and_then(|found| found.find(self.graph.bytes(), name));
        node.map(|node| NodeId { scope, node }).is_some_and(|id| {
            let handle = self.graph.op(id) == b"VarHandleOp" && !self.handles.variables.contains(&id);
            self.kept.contains(id) && !handle
        })
    }

    /// Edges from sites read what the sites are made from; none waits for an assignment.
    fn edges(&mut self, id: NodeId) {
        let (graph, bytes) = (self.graph, self.graph.bytes());
        let Some((scope, node)) = graph.index().scope(id.scope).zip(graph.index().node(id)) else { return };
        let waits_for_gates = dies_by_control(graph, id);
        for (position, input) in scope.inputs(node).iter().enumerate() {
            let (source, control) = match input.target {
                Target::Data { node, .. } => (NodeId { scope: id.scope, node }, false),
                Target::Control { node } => (NodeId { scope: id.scope, node }, true),
                Target::Argument => continue,
            };
            if control && self.kept.is_idle(source) {
                if !waits_for_gates {
                    self.editor.drop_input(id, position);
                }
                continue;
            }
            let text = match (self.sites.get(&source), self.renamed.get(&source)) {
                (Some(site), _) => site.edge(graph, self.renamed),
                (None, Some(name)) => {
                    let text = input.text.text(bytes);
                    let port = text.find(':').and_then(|at| text.get(at..)).unwrap_or_default();
                    format!("{name}{port}")
                }
                (None, None) => continue,
            };
            let text = if control { format!("^{}", text.split(':').next().unwrap_or_default()) } else { text };
            self.editor.reroute(id, position, text);
        }
    }

    /// A node that waits as an assignment did, and does nothing.
    fn gate(&mut self, id: NodeId) {
        let controls = gated_by(self.graph, id).into_iter().map(|source| {
            let source =
                self.sites.get(&source).and_then(|site| site.producer).map_or(source, |(producer, _)| producer);
            format!("^{}", self.renamed.get(&source).map_or_else(|| self.graph.name(source), String::as_str))
        });
        let name = self.graph.name(id).to_owned();
        let nothing = NewNode::new("NoOp", name, controls.collect(), self.editor.device(id));
        self.editor.replace(id, vec![nothing]);
    }
}
