//! What a graph gives, and what it needs for that.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::find::ops::{is_variable, makes_nothing, writes_variables};
use crate::graphdef::graph::{Graph, Interface};
use crate::graphdef::index::{NodeId, Target};
use crate::rewrite::emit::Editor;

impl Graph {
    /// The tensors that the graph gives: what a user would fetch of that which nothing reads, and what was named with
    /// [`Graph::with_outputs`], as `node:0`.
    #[cfg(feature = "run")]
    pub(crate) fn output_names(&self) -> Vec<String> {
        let outputs = self.all_nodes().filter(|id| self.is_sink(*id));
        outputs.map(|id| format!("{}:0", self.name(id))).collect()
    }

    /// Whether a node's value leaves the main graph: it was named, or nothing reads it and it is neither a mere side effect nor a leaf of
    /// what trains the model.
    pub(crate) fn is_sink(&self, id: NodeId) -> bool {
        let Some(scope) = self.index().scope(id.scope).filter(|_| id.scope == 0) else { return false };
        self.named_outputs().contains(&id)
            || scope.consumers(id.node).is_empty()
                && !has_effect(self.op(id))
                && !self.reads_variable(id)
                && !self.waits_for_saver(id)
                && !is_gradient(self.name(id))
    }

    /// Whether a node does no more than to give a variable's value.
    fn reads_variable(&self, id: NodeId) -> bool {
        let mut at = id;
        while matches!(self.op(at), b"Identity" | b"ReadVariableOp") {
            match self.source(at, 0) {
                Some(source) if is_variable(self.op(source)) => return true,
                Some(source) => at = source,
                None => return false,
            }
        }
        false
    }

    /// Whether a node passes a file's name on after a Saver has written that: who saves asks for it, and nobody else.
    fn waits_for_saver(&self, id: NodeId) -> bool {
        let savers: [&[u8]; 4] = [b"MergeV2Checkpoints", b"Save", b"SaveSlices", b"SaveV2"];
        let Some((scope, node)) = self.index().scope(id.scope).zip(self.index().node(id)) else { return false };
        self.op(id) == b"Identity"
            && scope.inputs(node).iter().any(|input| match input.target {
                Target::Control { node } => savers.contains(&self.op(NodeId { scope: id.scope, node })),
                Target::Data { .. } | Target::Argument => false,
            })
    }

    /// The graph without the nodes of its main graph that no output named with [`Graph::with_outputs`] needs, by data or control. It is
    /// still known by its file: ranges that were measured on that serve it.
    ///
    /// # Errors
    /// Damaged nodes; a file that changes while it is read.
    pub fn only_outputs(self) -> Result<Self, Error> {
        self.cut_to(self.named_outputs())
    }

    /// The graph without what is there for other signatures than the one that is run, where there is such: it wants inputs of its own.
    ///
    /// # Errors
    /// Those of [`Graph::only_outputs`].
    pub fn of_signature(&self) -> Result<Option<Self>, Error> {
        let Some(origin) = self.origin() else { return Ok(None) };
        let nodes = |interface: &Interface| -> Vec<NodeId> {
            interface.outputs.iter().filter_map(|output| self.named(output.node())).collect()
        };
        let own = nodes(self.interface());
        let all: Vec<NodeId> = origin.meta.signatures().flat_map(|(_, other)| nodes(&Interface::of(other))).collect();
        let is_meant = |id: &&NodeId| own.contains(id) || !all.contains(id);
        let outputs: Vec<NodeId> = self.named_outputs().iter().filter(is_meant).copied().collect();
        (outputs.len() < self.named_outputs().len()).then(|| self.cut_to(&outputs)).transpose()
    }

    fn cut_to(&self, outputs: &[NodeId]) -> Result<Self, Error> {
        let needed = self.needed(outputs.iter().copied());
        let mut editor = Editor::new(self);
        let unneeded: Vec<NodeId> = self.all_nodes().filter(|id| id.scope == 0 && !needed.contains(&id.node)).collect();
        for id in &unneeded {
            editor.replace(*id, Vec::new());
        }
        let patched = self.patched_for(editor.finish()?, outputs)?.known_as(self, unneeded.len());
        self.settled(Ok(patched))
    }

    /// The nodes of the main graph that outputs of it need.
    pub(super) fn needed(&self, outputs: impl IntoIterator<Item = NodeId>) -> BTreeSet<u32> {
        let mut needed = BTreeSet::new();
        let Some(scope) = self.index().scope(0) else { return needed };
        let mut open: Vec<u32> = outputs.into_iter().map(|id| id.node).collect();
        while let Some(node) = open.pop() {
            if !needed.insert(node) {
                continue;
            }
            let inputs = scope.nodes.get(node as usize).map(|node| scope.inputs(node)).unwrap_or_default();
            open.extend(inputs.iter().filter_map(|input| match input.target {
                Target::Data { node, .. } | Target::Control { node } => Some(node),
                Target::Argument => None,
            }));
        }
        needed
    }
}

/// Whether an op is run for what it does, or holds something that is not made by the graph.
fn has_effect(op: &[u8]) -> bool {
    let others: [&[u8]; 11] = [
        b"Const",
        b"Exit",
        b"LoopCond",
        b"NextIteration",
        b"Placeholder",
        b"PlaceholderWithDefault",
        b"Print",
        b"RefExit",
        b"ShardedFilename",
        b"_Retval",
        b"_Send",
    ];
    // Histograms and images for a viewer, input pipelines, lookup tables.
    let is_summary = op.ends_with(b"Summary") || op.ends_with(b"SummaryV2") || op.ends_with(b"SummaryWriter");
    let feeds = op.starts_with(b"Queue") || op.starts_with(b"InitializeTable") || op.starts_with(b"LookupTable");
    others.contains(&op) || makes_nothing(op) || writes_variables(op) || is_variable(op) || is_summary || feeds
}

/// Whether a node stands where TensorFlow puts gradients: in a scope that `tf.gradients` or a gradient tape opened.
fn is_gradient(name: &str) -> bool {
    let mut scopes: Vec<&str> = name.split('/').collect();
    scopes.pop();
    scopes.into_iter().any(|scope| {
        let base = scope.trim_end_matches(|letter: char| letter.is_ascii_digit());
        scope == "gradients" || scope == "gradient_tape" || base == "gradients_" && base.len() < scope.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(text: &str) -> Vec<String> {
        let graph = Graph::from_bytes(crate::graphdef::text::parse(text.as_bytes()).unwrap()).unwrap();
        graph.all_nodes().filter(|id| graph.is_sink(*id)).map(|id| graph.name(id).to_owned()).collect()
    }

    #[test]
    fn outputs_are_what_a_user_would_fetch() {
        let text = r#"
            node { name: "v" op: "VarHandleOp" }
            node { name: "v/read" op: "ReadVariableOp" input: "v" }
            node { name: "v/read/again" op: "Identity" input: "v/read" }
            node { name: "unread" op: "VariableV2" }
            node { name: "unread/read" op: "Identity" input: "unread" }
            node { name: "start" op: "Const" }
            node { name: "v/assign" op: "AssignVariableOp" input: "v" input: "start" }
            node { name: "v/assign_add" op: "AssignAddVariableOp" input: "v" input: "start" }
            node { name: "init" op: "NoOp" input: "^v/assign" }
            node { name: "loss" op: "Square" input: "v/read" }
            node { name: "curve" op: "ScalarSummary" input: "start" input: "loss" }
            node { name: "gradients/loss_grad/Mul" op: "Mul" input: "loss" input: "start" }
            node { name: "train/gradients_12/loss_grad/Mul" op: "Mul" input: "loss" input: "start" }
            node { name: "gradients_of_taste" op: "Mul" input: "loss" input: "start" }
            node { name: "my/gradients" op: "Mul" input: "loss" input: "start" }
            node { name: "step" op: "ResourceApplyGradientDescent" input: "v" input: "start" input: "loss" }
            node { name: "path" op: "ShardedFilename" input: "start" }
            node { name: "save" op: "SaveV2" input: "start" input: "v/read" }
            node { name: "save/control_dependency" op: "Identity" input: "path" input: "^save" }
            node { name: "v/copied" op: "DisableCopyOnRead" input: "v" }
            node { name: "waiting" op: "Identity" input: "loss" input: "^init" }
            node { name: "logits" op: "Neg" input: "v/read" }
        "#;
        assert_eq!(outputs(text), ["gradients_of_taste", "my/gradients", "waiting", "logits"]);
    }
}
