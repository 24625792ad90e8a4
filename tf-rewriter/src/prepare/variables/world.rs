//! Function bodies as often as they are called: where an argument comes from depends on the call.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{Input, NodeId, Target};
use crate::prepare::depth::check_depth;

/// A body as one call of it sees it, by its position in [`World`]; 0 is the main graph.
pub(in crate::prepare) type Env = usize;

#[derive(Debug)]
struct Call {
    scope: u32,
    /// The node that calls, and where it stands.
    caller: Option<(Env, NodeId)>,
    depth: usize,
}

/// The calls that were followed so far.
#[derive(Debug)]
pub(in crate::prepare) struct World<'g> {
    pub(in crate::prepare) graph: &'g Graph,
    calls: Vec<Call>,
}

/// What a value is made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::prepare) struct Made {
    pub(in crate::prepare) env: Env,
    pub(in crate::prepare) node: NodeId,
    pub(in crate::prepare) port: u32,
}

impl<'g> World<'g> {
    pub(in crate::prepare) fn new(graph: &'g Graph) -> Self {
        Self { graph, calls: vec![Call { scope: 0, caller: None, depth: 0 }] }
    }

    fn scope(&self, env: Env) -> u32 {
        self.calls.get(env).map_or(0, |call| call.scope)
    }

    /// All nodes of a body.
    pub(in crate::prepare) fn nodes(&self, env: Env) -> impl Iterator<Item = NodeId> + use<> {
        let scope = self.scope(env);
        let count = self.graph.index().scope(scope).map_or(0, |scope| scope.nodes.len());
        (0..u32::try_from(count).unwrap_or(u32::MAX)).map(move |node| NodeId { scope, node })
    }

    /// The body that the node at `env` calls, where it calls one.
    ///
    /// # Errors
    /// Calls that are too deep, or too many.
    pub(in crate::prepare) fn enter(&mut self, env: Env, node: NodeId) -> Result<Option<Env>, Error> {
        let Some(scope) = self.graph.callee(node)? else { return Ok(None) };
        let depth = self.calls.get(env).map_or(0, |call| call.depth) + 1;
        check_depth(self.graph, scope, depth)?;
        let nodes = self.graph.index().scope(scope).map_or(0, |scope| scope.nodes.len());
        self.graph.budget().take(size_of::<Call>() as u64 + nodes as u64, "the calls of functions")?;
        self.calls.push(Call { scope, caller: Some((env, node)), depth });
        Ok(Some(self.calls.len() - 1))
    }

    /// What makes the value of an input, at whatever depth the argument was given.
    pub(in crate::prepare) fn made(&self, env: Env, input: &Input) -> Option<Made> {
        let (mut env, mut input) = (env, *input);
        loop {
            let call = self.calls.get(env)?;
            match input.target {
                Target::Data { node, port } => {
                    return Some(Made { env, node: NodeId { scope: call.scope, node }, port });
                }
                Target::Control { .. } => return None,
                Target::Argument => {
                    let argument = self
                        .graph
                        .index()
                        .scope(call.scope)?
                        .argument(self.graph.bytes(), input.text.of(self.graph.bytes()))?;
                    let (outer, by) = call.caller?;
                    input = *self.graph.input(by, argument as usize)?;
                    env = outer;
                }
            }
        }
    }

    /// What makes input `position` of a node, looking through ops of these kinds at their first input.
    pub(in crate::prepare) fn behind(&self, at: Made, position: usize, through: &[&[u8]]) -> Option<Made> {
        let mut made = self.made(at.env, self.graph.input(at.node, position)?)?;
        let mut seen = BTreeSet::new();
        while through.contains(&self.graph.op(made.node)) && seen.insert(made) {
            made = self.made(made.env, self.graph.input(made.node, 0)?)?;
        }
        Some(made)
    }
}
