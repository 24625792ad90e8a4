//! Who calls which function of the library, and where tensors stand inside of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Graph;
use crate::error::Error;
use crate::graphdef::index::{NodeId, Target};

const WHAT: &str = "the calls of functions";

/// Where a tensor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// What a node makes, by the number of its output.
    Output(NodeId, u32),
    /// What a function is called with: its scope and the number of the argument.
    Argument(u32, u32),
}

/// How a node uses a function of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Called {
    /// Argument n is input n, result n is output n.
    Whole,
    /// Of `If` and `Case`, whose first input chooses among the branches: argument n is input n + 1.
    Branch,
    /// Of `While`: argument n is input n or, after the first round, result n.
    Body,
    /// Of `While`: it sees what the body sees.
    Condition,
    /// In a way that is not known.
    Unknown,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub(crate) node: NodeId,
    pub(crate) function: u32,
    pub(crate) called: Called,
    /// The body of the node that is a loop.
    pub(crate) body: Option<u32>,
}

/// Who calls which function, and what its arguments and results are inside.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    by_node: BTreeMap<NodeId, Vec<Use>>,
    by_function: BTreeMap<u32, Vec<Use>>,
    /// The inputs that read an argument.
    readers: BTreeMap<(u32, u32), Vec<(NodeId, usize)>>,
    /// What a function returns, by the number of the result; and the other way around.
    results: BTreeMap<(u32, u32), Place>,
    returned: BTreeMap<Place, Vec<(u32, u32)>>,
}

impl Calls {
    /// Those of a graph.
    ///
    /// # Errors
    /// Damaged nodes.
    pub(crate) fn of(graph: &Graph) -> Result<Self, Error> {
        let bytes = graph.bytes();
        let mut calls = Self::default();
        for (id, scope) in (0u32..).zip(&graph.index().scopes) {
            for returned in &scope.returns {
                let place = graph.place(id, returned.target, returned.text.of(bytes));
                let (Some(place), Some(result)) = (place, scope.result(bytes, returned)) else { continue };
                graph.budget().take_all::<(Place, Place)>(4, WHAT)?;
                calls.results.insert((id, result), place);
                calls.returned.entry(place).or_default().push((id, result));
            }
        }
        if graph.index().scopes.len() < 2 {
            return Ok(calls);
        }
        let function = |name: &[u8]| graph.index().function(bytes, name);
        for id in graph.all_nodes() {
            let Some((scope, node)) = graph.index().scope(id.scope).zip(graph.index().node(id)) else { continue };
            for (position, input) in scope.inputs(node).iter().enumerate() {
                if let Some(Place::Argument(scope, number)) = graph.place(id.scope, input.target, input.text.of(bytes))
                {
                    graph.budget().take_all::<(Place, NodeId, usize)>(2, WHAT)?;
                    calls.readers.entry((scope, number)).or_default().push((id, position));
                }
            }
            let op = graph.op(id);
            let whole = function(op).map(|function| (function, Called::Whole));
            let named = node.functions(bytes)?;
            let named =
                named.iter().filter_map(|(key, name)| Some((function(name.of(bytes))?, called(op, key.of(bytes)))));
            // Naming a function twice in one role says no more.
            let named: BTreeSet<(u32, Called)> = whole.into_iter().chain(named).collect();
            let body = named.iter().find(|(_, called)| *called == Called::Body).map(|(function, _)| *function);
            for (function, called) in named {
                graph.budget().take_all::<Use>(4, WHAT)?;
                let found = Use { node: id, function, called, body };
                calls.by_node.entry(id).or_default().push(found);
                calls.by_function.entry(function).or_default().push(found);
            }
        }
        Ok(calls)
    }

    /// How a node uses functions.
    pub(crate) fn uses(&self, id: NodeId) -> &[Use] {
        self.by_node.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    /// The inputs that read an argument of a function.
    pub(crate) fn reading(&self, function: u32, argument: u32) -> &[(NodeId, usize)] {
        self.readers.get(&(function, argument)).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a function returns as the result with this number.
    pub(crate) fn result(&self, function: u32, number: u32) -> Option<Place> {
        self.results.get(&(function, number)).copied()
    }

    /// The functions that return what stands at a place, and the numbers of those results.
    pub(crate) fn returned(&self, place: Place) -> &[(u32, u32)] {
        self.returned.get(&place).map(Vec::as_slice).unwrap_or_default()
    }

    /// The outputs of a node that its function returns.
    pub(crate) fn returned_ports(&self, id: NodeId) -> impl Iterator<Item = u32> + '_ {
        let all = Place::Output(id, 0)..=Place::Output(id, u32::MAX);
        self.returned.range(all).filter_map(|(place, _)| match place {
            Place::Output(_, port) => Some(*port),
            Place::Argument(..) => None,
        })
    }

    /// Who uses a function.
    pub(crate) fn callers(&self, function: u32) -> &[Use] {
        self.by_function.get(&function).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The role of a function in the attribute `key` of an op (TensorFlow 2.21's op definitions).
fn called(op: &[u8], key: &[u8]) -> Called {
    match (op, key) {
        (b"PartitionedCall" | b"StatefulPartitionedCall", b"f") => Called::Whole,
        (b"If" | b"StatelessIf", b"then_branch" | b"else_branch") | (b"Case" | b"StatelessCase", b"branches") => {
            Called::Branch
        }
        (b"While" | b"StatelessWhile", b"body") => Called::Body,
        (b"While" | b"StatelessWhile", b"cond") => Called::Condition,
        _ => Called::Unknown,
    }
}

impl Graph {
    /// The function that a node stands for: one that is called, and nothing else is done.
    ///
    /// # Errors
    /// Damaged nodes.
    pub(crate) fn callee(&self, id: NodeId) -> Result<Option<u32>, Error> {
        let uses = self.calls()?.uses(id);
        Ok(uses.iter().find(|found| found.called == Called::Whole).map(|found| found.function))
    }

    /// The tensor that an edge of `scope` reads; `None` for a control edge.
    pub(crate) fn place(&self, scope: u32, target: Target, text: &[u8]) -> Option<Place> {
        match target {
            Target::Data { node, port } => Some(Place::Output(NodeId { scope, node }, port)),
            Target::Argument => {
                let number = self.index().scope(scope)?.argument(self.bytes(), text)?;
                Some(Place::Argument(scope, number))
            }
            Target::Control { .. } => None,
        }
    }
}
