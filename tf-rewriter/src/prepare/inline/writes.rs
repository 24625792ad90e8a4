//! What a function does besides its results: a graph of constants does it no more.

use std::collections::BTreeMap;

use super::instance::Outer;
use super::{Inliner, Value};
use crate::error::Error;
use crate::find::ops::writes_variables;
use crate::graphdef::index::NodeId;

impl Inliner<'_> {
    /// Ops with effects that the functions ran and the graph does not, each with how often.
    ///
    /// # Errors
    /// A variable that is written and read: the second run would have had other results.
    pub(in crate::prepare) fn lost_effects(&mut self) -> Result<BTreeMap<String, usize>, Error> {
        let mut by_scope: BTreeMap<u32, Vec<NodeId>> = BTreeMap::new();
        for id in self.effects.acting() {
            by_scope.entry(id.scope).or_default().push(id);
        }
        let mut lost: BTreeMap<String, usize> = BTreeMap::new();
        for at in 0..self.instances.len() {
            let own = self.instance(at)?;
            // In the main graph, only what is asked for runs.
            if matches!(own.outer, Outer::Main) {
                continue;
            }
            let nodes = by_scope.get(&own.scope).cloned().unwrap_or_default();
            for id in nodes {
                if self.instance(at)?.made(id.node).is_some() || self.child(at, id)?.is_some() {
                    continue;
                }
                let op = self.graph.op(id);
                if writes_variables(op) {
                    self.refuse_written(at, id)?;
                }
                *lost.entry(String::from_utf8_lossy(op).into_owned()).or_default() += 1;
            }
        }
        Ok(lost)
    }

    fn refuse_written(&mut self, at: usize, id: NodeId) -> Result<(), Error> {
        let Some(input) = self.graph.input(id, 0).copied() else { return Ok(()) };
        let base = self.waiting.len();
        let value = self.value(at, &input)?;
        self.waiting.truncate(base);
        let Some(Value::Variable(handle)) = value else { return Ok(()) };
        let Some(variable) =
            handle.variable.filter(|variable| self.bodies.iter().any(|body| body.constants.contains_key(variable)))
        else {
            return Ok(());
        };
        let name = self.graph.name(NodeId { scope: 0, node: variable });
        let why = format!("it changes the variable `{name}`, which the outputs are computed from");
        Err(self.refuse(
            id,
            why,
            "choose a signature that only reads its variables; a graph without variables cannot do this",
        ))
    }
}
