//! A set of nodes and of functions' arguments.

use super::Place;
use crate::graphdef::index::Scope;

/// Which nodes and arguments have a mark; all outputs of a node are one thing here.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    /// By scope.
    nodes: Vec<Vec<bool>>,
    arguments: Vec<Vec<bool>>,
}

impl Marked {
    /// None of those of `scope`, which is the next one.
    pub(crate) fn extend(&mut self, scope: &Scope) {
        self.nodes.push(vec![false; scope.nodes.len()]);
        self.arguments.push(vec![false; scope.argument_count()]);
    }

    /// Mark a place; whether it is there and was not marked before.
    pub(crate) fn mark(&mut self, place: Place) -> bool {
        let (all, scope, number) = match place {
            Place::Output(id, _) => (&mut self.nodes, id.scope, id.node),
            Place::Argument(scope, number) => (&mut self.arguments, scope, number),
        };
        let known = all.get_mut(scope as usize).and_then(|all| all.get_mut(number as usize));
        known.is_some_and(|known| !std::mem::replace(known, true))
    }

    /// Whether a place is marked; `None` where the graph has no such place.
    pub(crate) fn is_marked(&self, place: Place) -> Option<bool> {
        let (all, scope, number) = match place {
            Place::Output(id, _) => (&self.nodes, id.scope, id.node),
            Place::Argument(scope, number) => (&self.arguments, scope, number),
        };
        all.get(scope as usize)?.get(number as usize).copied()
    }
}
