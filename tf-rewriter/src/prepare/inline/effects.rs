//! Which nodes do more than compute: a control edge from any other orders nothing once variables are constants.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::find::ops::is_variable;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::graphdef::types::signature;

/// Ops that have state, and only read it.
const READS: [&[u8]; 7] = [
    b"Const",
    b"DisableCopyOnRead",
    b"Placeholder",
    b"ReadVariableOp",
    b"ResourceGather",
    b"ResourceGatherNd",
    b"VarIsInitializedOp",
];

/// Ops whose functions say what they do.
const CALLS: [&[u8]; 6] =
    [b"If", b"While", b"Case", b"PartitionedCall", b"StatefulPartitionedCall", b"SymbolicGradient"];

#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Nodes that have effects, and nodes that are computed from their outputs or wait for them.
    touched: BTreeSet<NodeId>,
    /// Nodes that have effects themselves.
    own: BTreeSet<NodeId>,
}

impl Effects {
    pub(super) fn of(graph: &Graph) -> Result<Self, Error> {
        let mut own: BTreeSet<NodeId> = graph.all_nodes().filter(|id| acts(graph, *id)).collect();
        // Who uses a function with effects has them.
        let mut waiting: Vec<u32> = own.iter().map(|id| id.scope).filter(|scope| *scope != 0).collect();
        let mut known: BTreeSet<u32> = waiting.iter().copied().collect();
        let calls = graph.calls()?;
        while let Some(function) = waiting.pop() {
            for user in calls.callers(function) {
                own.insert(user.node);
                if user.node.scope != 0 && known.insert(user.node.scope) {
                    waiting.push(user.node.scope);
                }
            }
        }
        let mut touched = own.clone();
        let mut waiting: Vec<NodeId> = own.iter().copied().collect();
        while let Some(id) = waiting.pop() {
            let readers = graph.index().scope(id.scope).map(|scope| scope.consumers(id.node)).unwrap_or_default();
            for reader in readers {
                let reader = NodeId { scope: id.scope, node: *reader };
                if touched.insert(reader) {
                    waiting.push(reader);
                }
            }
        }
        Ok(Self { touched, own })
    }

    /// Whether waiting for a node is waiting for nothing that anybody could see.
    pub(super) fn is_pure(&self, id: NodeId) -> bool {
        !self.touched.contains(&id)
    }

    /// Nodes that have effects themselves, or through functions that they use.
    pub(super) fn acting(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.own.iter().copied()
    }
}

/// Whether an op has effects by itself. One that TensorFlow does not know may have some.
fn acts(graph: &Graph, id: NodeId) -> bool {
    let op = graph.op(id);
    let is_call = CALLS.contains(&op) || graph.index().function(graph.bytes(), op).is_some();
    if is_call || READS.contains(&op) || is_variable(op) {
        return false;
    }
    // The registrations of these say that they have no state: it is in their reference.
    let writes_reference = crate::find::ops::writes_variables(op);
    writes_reference || signature(op).is_none_or(|known| known.is_stateful)
}
