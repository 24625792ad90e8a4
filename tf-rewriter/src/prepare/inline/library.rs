//! Functions that stay as they are, and the library of what is made.

use super::Inliner;
use crate::error::Error;
use crate::graphdef::index::{NodeId, ScopeKind};
use crate::graphdef::wire::put_bytes;

impl Inliner<'_> {
    /// Keep the functions that a node names as they are.
    pub(super) fn keep_functions_of(&mut self, id: NodeId) -> Result<(), Error> {
        let used: Vec<u32> = self.graph.calls()?.uses(id).iter().map(|used| used.function).collect();
        used.into_iter().try_for_each(|function| self.keep(function))
    }

    /// Keep a function and all that it uses as they are.
    pub(super) fn keep(&mut self, scope: u32) -> Result<(), Error> {
        let calls = self.graph.calls()?;
        let mut waiting = vec![scope];
        while let Some(scope) = waiting.pop() {
            if !self.kept.insert(scope) {
                continue;
            }
            let count = self.graph.index().scope(scope).map_or(0, |scope| scope.nodes.len());
            for node in 0..u32::try_from(count).unwrap_or(u32::MAX) {
                waiting.extend(calls.uses(NodeId { scope, node }).iter().map(|used| used.function));
            }
        }
        Ok(())
    }

    /// The library of the graph that is made: copies, and what stays as it is. FunctionDefLibrary: function = 1.
    pub(super) fn library(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for function in &self.functions {
            put_bytes(&mut bytes, 1, function);
        }
        for scope in &self.kept {
            if let Some(ScopeKind::Function { function, .. }) = self.graph.index().scope(*scope).map(|scope| scope.kind)
            {
                bytes.extend_from_slice(function.0.of(self.graph.bytes()));
            }
        }
        bytes
    }
}
