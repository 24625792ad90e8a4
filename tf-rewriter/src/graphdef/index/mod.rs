//! The wire index: where every node lies, what it is called, what it does and what it reads. Nothing is decoded or copied.

mod attr;
mod build;
mod span;
mod topology;

use hashbrown::HashTable;

use crate::error::At;

pub(crate) use span::{Span, fields, payload};

/// A node by its scope and its position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId {
    pub(crate) scope: u32,
    pub(crate) node: u32,
}

/// What an input refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A node's data output (its number; in a function body, the number within the named output).
    Data { node: u32, port: u32 },
    /// A node as a whole: `^name`.
    Control { node: u32 },
    /// An argument of the function.
    Argument,
}

/// One entry of a node's `input` list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    /// The whole field.
    pub(crate) field: Span,
    /// The text.
    pub(crate) text: Span,
    pub(crate) target: Target,
}

impl Input {
    /// An edge that stands in no text: it reads this output.
    pub(crate) fn of_output(node: u32, port: u32) -> Self {
        Self { field: Span::default(), text: Span::default(), target: Target::Data { node, port } }
    }
}

/// One node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// The whole field in the graph or function.
    pub(crate) field: Span,
    /// The NodeDef.
    pub(crate) body: Span,
    /// The name's field, and its text.
    pub(crate) name_field: Span,
    pub(crate) name: Span,
    /// The op's text.
    pub(crate) op: Span,
    first_input: u32,
    input_count: u32,
}

/// Where a scope's nodes stand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ScopeKind {
    Main,
    Function {
        /// The library's field in the graph, and its payload.
        library: (Span, Span),
        /// The function's field in the library, and its payload.
        function: (Span, Span),
        /// The function's name.
        name: Span,
    },
}

/// A name space of nodes: the main graph or a function's body.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) kind: ScopeKind,
    pub(crate) nodes: Vec<Node>,
    inputs: Vec<Input>,
    names: HashTable<u32>,
    /// What leaves a function.
    pub(crate) returns: Vec<Return>,
    /// Consumers of node `n`, by data or control, are `consumers[first_consumer[n]..first_consumer[n + 1]]`; one that reads twice stands twice.
    first_consumer: Vec<u32>,
    consumers: Vec<u32>,
    /// For each of `consumers`, which of its inputs it is.
    positions: Vec<u32>,
    /// Names of a function's arguments, sorted by their text, each with its number.
    arguments: Vec<(Span, u32)>,
    /// Names of a function's results, sorted by their text, each with its number.
    results: Vec<(Span, u32)>,
}

/// An entry of a function's `ret`: the value that leaves as one of its outputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Return {
    /// The whole field in the function.
    pub(crate) field: Span,
    /// The output's name.
    pub(crate) key: Span,
    /// The value, as text: `node:output:port` or an argument's name.
    pub(crate) text: Span,
    pub(crate) target: Target,
}

impl Return {
    /// The edge that reads what leaves.
    pub(crate) fn as_input(&self) -> Input {
        Input { field: self.field, text: self.text, target: self.target }
    }
}

/// All scopes of a graph; the main graph is scope 0.
#[derive(Debug)]
pub(crate) struct GraphIndex {
    pub(crate) scopes: Vec<Scope>,
    functions: HashTable<u32>,
}

impl GraphIndex {
    pub(crate) fn scope(&self, id: u32) -> Option<&Scope> {
        self.scopes.get(id as usize)
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.scope(id.scope)?.nodes.get(id.node as usize)
    }

    /// The scope of a function.
    pub(crate) fn function(&self, bytes: &[u8], name: &[u8]) -> Option<u32> {
        let named = |id: &u32| self.scope(*id).is_some_and(|scope| scope.function_name(bytes) == name);
        self.functions.find(build::hash(name), named).copied()
    }

    /// A node of the main graph, or of a function whose name stands in front of `::`.
    pub(crate) fn named(&self, bytes: &[u8], full_name: &str) -> Option<NodeId> {
        let find = |scope: u32, name: &str| {
            let node = self.scope(scope)?.find(bytes, name.as_bytes())?;
            Some(NodeId { scope, node })
        };
        let in_function = |(at, mark): (usize, &str)| {
            let (function, name) = (full_name.get(..at)?, full_name.get(at + mark.len()..)?);
            find(self.function(bytes, function.as_bytes())?, name)
        };
        find(0, full_name).or_else(|| full_name.match_indices("::").find_map(in_function))
    }
}

/// The node of a tensor that is named `node` or `node:port`.
pub(crate) fn node_of(tensor: &str) -> &str {
    tensor.split(':').next().unwrap_or(tensor)
}

impl Scope {
    /// The name of the function that it is.
    fn function_name<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        match self.kind {
            ScopeKind::Main => &[],
            ScopeKind::Function { name, .. } => name.of(bytes),
        }
    }

    /// A node's inputs in order.
    pub(crate) fn inputs(&self, node: &Node) -> &[Input] {
        let first = node.first_input as usize;
        self.inputs.get(first..first + node.input_count as usize).unwrap_or_default()
    }

    /// The nodes that read node `id`, by data or control.
    pub(crate) fn consumers(&self, id: u32) -> &[u32] {
        self.consumers.get(self.edges_of(id)).unwrap_or_default()
    }

    /// Where the edges out of node `id` stand in the tables.
    fn edges_of(&self, id: u32) -> std::ops::Range<usize> {
        let at = |position: usize| self.first_consumer.get(position).copied().unwrap_or(0) as usize;
        at(id as usize)..at(id as usize + 1)
    }

    /// Every edge out of node `id`: the reading node, the position in its inputs, and what stands there.
    pub(crate) fn edges(&self, id: u32) -> impl Iterator<Item = (u32, usize, Target)> + '_ {
        let positions = self.positions.get(self.edges_of(id)).unwrap_or_default();
        let edges = self.consumers(id).iter().zip(positions);
        edges.filter_map(|(reader, position)| {
            let input = self.inputs(self.nodes.get(*reader as usize)?).get(*position as usize)?;
            Some((*reader, *position as usize, input.target))
        })
    }

    /// Every data edge out of node `id`: the reading node and the position in its inputs.
    pub(crate) fn data_edges(&self, id: u32) -> Vec<(u32, usize)> {
        let data = self.edges(id).filter(|(_, _, target)| matches!(target, Target::Data { .. }));
        data.map(|(reader, position, _)| (reader, position)).collect()
    }

    /// A reference in its shortest text: outside of functions `x:0` is `x`.
    pub(crate) fn plain<'t>(&self, reference: &'t [u8]) -> &'t [u8] {
        match self.kind {
            ScopeKind::Main => reference.strip_suffix(b":0").unwrap_or(reference),
            ScopeKind::Function { .. } => reference,
        }
    }

    /// How many arguments the function has.
    pub(crate) fn argument_count(&self) -> usize {
        self.arguments.len()
    }

    /// The number of the argument with this name.
    pub(crate) fn argument(&self, bytes: &[u8], name: &[u8]) -> Option<u32> {
        numbered(&self.arguments, bytes, name)
    }

    /// Which of the function's results leaves as `returned`.
    pub(crate) fn result(&self, bytes: &[u8], returned: &Return) -> Option<u32> {
        numbered(&self.results, bytes, returned.key.of(bytes))
    }

    /// The place of a node, for errors.
    pub(crate) fn at(&self, bytes: &[u8], id: usize) -> At {
        let node = self.nodes.get(id);
        At {
            node: node.map(|n| n.name.text(bytes).to_owned()),
            index: Some(id),
            offset: node.map(|n| u64::from(n.field.start)),
        }
    }

    /// The node with this name.
    pub(crate) fn find(&self, bytes: &[u8], name: &[u8]) -> Option<u32> {
        let named = |&id: &u32| self.nodes.get(id as usize).is_some_and(|n| n.name.of(bytes) == name);
        self.names.find(build::hash(name), named).copied()
    }
}

/// The number of a name in a list that is sorted by name.
fn numbered(sorted: &[(Span, u32)], bytes: &[u8], name: &[u8]) -> Option<u32> {
    let found = sorted.binary_search_by(|(known, _)| known.of(bytes).cmp(name)).ok()?;
    sorted.get(found).map(|(_, number)| *number)
}
