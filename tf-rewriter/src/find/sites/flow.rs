//! Ops that pass a value on unchanged, and the edges in and out of functions: where a tensor comes from, and where else it goes.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Target};

const WHAT: &str = "the calls of functions";
/// Values that can arrive at one place. A `Merge` has two, a switch over cases some.
const MOST: usize = 256;

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
enum Role {
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
struct Use {
    node: NodeId,
    function: u32,
    role: Role,
    /// The body of the node that is a loop.
    body: Option<u32>,
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
                let place = place(graph, id, returned.target, returned.text.of(bytes));
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
                if let Some(Place::Argument(scope, number)) = place(graph, id.scope, input.target, input.text.of(bytes))
                {
                    graph.budget().take_all::<(Place, NodeId, usize)>(2, WHAT)?;
                    calls.readers.entry((scope, number)).or_default().push((id, position));
                }
            }
            let op = graph.op(id);
            let whole = function(op).map(|function| (function, Role::Whole));
            let named = node.functions(bytes)?;
            let named =
                named.iter().filter_map(|(key, name)| Some((function(name.of(bytes))?, role(op, key.of(bytes)))));
            // Naming a function twice in one role says no more.
            let named: BTreeSet<(u32, Role)> = whole.into_iter().chain(named).collect();
            let body = named.iter().find(|(_, role)| *role == Role::Body).map(|(function, _)| *function);
            for (function, role) in named {
                graph.budget().take_all::<Use>(4, WHAT)?;
                let found = Use { node: id, function, role, body };
                calls.by_node.entry(id).or_default().push(found);
                calls.by_function.entry(function).or_default().push(found);
            }
        }
        Ok(calls)
    }

    fn uses(&self, id: NodeId) -> &[Use] {
        self.by_node.get(&id).map(Vec::as_slice).unwrap_or_default()
    }

    /// The inputs that read an argument of a function.
    pub(crate) fn reading(&self, function: u32, argument: u32) -> &[(NodeId, usize)] {
        self.readers.get(&(function, argument)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The outputs of a node that its function returns.
    pub(super) fn returned_ports(&self, id: NodeId) -> impl Iterator<Item = u32> + '_ {
        let all = Place::Output(id, 0)..=Place::Output(id, u32::MAX);
        self.returned.range(all).filter_map(|(place, _)| match place {
            Place::Output(_, port) => Some(*port),
            Place::Argument(..) => None,
        })
    }

    fn callers(&self, function: u32) -> &[Use] {
        self.by_function.get(&function).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The role of a function in the attribute `key` of an op (TensorFlow 2.21's op definitions).
fn role(op: &[u8], key: &[u8]) -> Role {
    match (op, key) {
        (b"PartitionedCall" | b"StatefulPartitionedCall", b"f") => Role::Whole,
        (b"If" | b"StatelessIf", b"then_branch" | b"else_branch") | (b"Case" | b"StatelessCase", b"branches") => {
            Role::Branch
        }
        (b"While" | b"StatelessWhile", b"body") => Role::Body,
        (b"While" | b"StatelessWhile", b"cond") => Role::Condition,
        _ => Role::Unknown,
    }
}

/// The inputs whose values an op passes on unchanged as its output `port`; none where it makes something else.
fn passed(op: &[u8], port: u32, inputs: usize) -> std::ops::Range<usize> {
    match op {
        b"CheckNumerics"
        | b"CheckNumericsV2"
        | b"EnsureShape"
        | b"Enter"
        | b"Exit"
        | b"GuaranteeConst"
        | b"Identity"
        | b"NextIteration"
        | b"PlaceholderWithDefault"
        | b"PreventGradient"
        | b"Print"
        | b"ReadVariableOp"
        | b"RefEnter"
        | b"RefExit"
        | b"RefIdentity"
        | b"RefNextIteration"
        | b"RefSwitch"
        | b"Snapshot"
        | b"StopGradient"
        | b"Switch" => 0..inputs.min(1),
        b"IdentityN" => {
            let at = port as usize;
            if at < inputs { at..at + 1 } else { 0..0 }
        }
        b"Merge" | b"RefMerge" if port == 0 => 0..inputs,
        b"Select" | b"SelectV2" => 1..inputs.max(1),
        _ => 0..0,
    }
}

/// Whether a node calls functions, so that a copy of it would run them again.
pub(crate) fn is_call(graph: &Graph, id: NodeId) -> Result<bool, Error> {
    Ok(!graph.calls()?.uses(id).is_empty())
}

/// The tensor that `input` of `op` reads; `None` for a control edge.
pub(crate) fn read(graph: &Graph, op: NodeId, input: usize) -> Option<Place> {
    let edge = graph.input(op, input)?;
    place(graph, op.scope, edge.target, edge.text.of(graph.bytes()))
}

fn place(graph: &Graph, scope: u32, target: Target, text: &[u8]) -> Option<Place> {
    match target {
        Target::Data { node, port } => Some(Place::Output(NodeId { scope, node }, port)),
        Target::Argument => {
            let number = graph.index().scope(scope)?.argument(graph.bytes(), text)?;
            Some(Place::Argument(scope, number))
        }
        Target::Control { .. } => None,
    }
}

pub(super) fn data_inputs(graph: &Graph, id: NodeId) -> usize {
    let found = graph.index().scope(id.scope).zip(graph.index().node(id));
    // Control edges come last.
    found.map_or(0, |(scope, node)| {
        scope.inputs(node).partition_point(|input| !matches!(input.target, Target::Control { .. }))
    })
}

/// The tensors that a node reads.
pub(crate) fn read_by(graph: &Graph, id: NodeId) -> impl Iterator<Item = Place> + '_ {
    (0..data_inputs(graph, id)).filter_map(move |input| read(graph, id, input))
}

/// Whether values can come to `place` from more than `limit` places.
///
/// # Errors
/// Damaged nodes.
pub(super) fn has_more_sources(graph: &Graph, place: Place, limit: usize) -> Result<bool, Error> {
    Ok(match place {
        Place::Output(id, port) => passed(graph.op(id), port, data_inputs(graph, id)).len() > limit,
        Place::Argument(function, _) => graph.calls()?.callers(function).len() > limit,
    })
}

/// The places whose values arrive unchanged at `place`, one or another of them; `None` where the value is made here, or where a function
/// is called in a way that is not known.
///
/// # Errors
/// Damaged nodes.
pub(crate) fn sources(graph: &Graph, place: Place) -> Result<Option<Vec<Place>>, Error> {
    let found = match place {
        Place::Output(id, port) => {
            let range = passed(graph.op(id), port, data_inputs(graph, id));
            if range.is_empty() {
                results(graph, graph.calls()?, id, port)
            } else if range.len() > MOST {
                None
            } else {
                range.map(|input| read(graph, id, input)).collect()
            }
        }
        Place::Argument(function, number) => {
            let calls = graph.calls()?;
            let uses = calls.callers(function).iter();
            let found: Option<Vec<Vec<Place>>> = uses.map(|found| argument(graph, calls, *found, number)).collect();
            found.map(|places| places.concat())
        }
    };
    Ok(found.filter(|places| !places.is_empty()))
}

/// What the caller of a function gives it.
fn argument(graph: &Graph, calls: &Calls, found: Use, number: u32) -> Option<Vec<Place>> {
    let input = |number: u32| read(graph, found.node, usize::try_from(number).ok()?);
    match found.role {
        Role::Whole => Some(vec![input(number)?]),
        Role::Branch => Some(vec![input(number.checked_add(1)?)?]),
        Role::Body | Role::Condition => Some(vec![input(number)?, *calls.results.get(&(found.body?, number))?]),
        Role::Unknown => None,
    }
}

/// What a node that calls functions gives as an output.
fn results(graph: &Graph, calls: &Calls, id: NodeId, port: u32) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    for found in calls.uses(id) {
        match found.role {
            Role::Whole | Role::Branch => places.push(*calls.results.get(&(found.function, port))?),
            Role::Body => places.extend(argument(graph, calls, *found, port)?),
            Role::Condition => {}
            Role::Unknown => return None,
        }
    }
    Some(places)
}

/// Where the value at an input goes on unchanged; `None` where the node makes something else of it, or where that is not known.
///
/// # Errors
/// Damaged nodes.
pub(crate) fn destinations(graph: &Graph, id: NodeId, input: usize) -> Result<Option<Vec<Place>>, Error> {
    let op = graph.op(id);
    let inputs = data_inputs(graph, id);
    let ports = match op {
        // A node in a function body names its outputs, and both have the number 0 there.
        b"Switch" | b"RefSwitch" => vec![0, 1],
        b"IdentityN" => vec![u32::try_from(input).unwrap_or(u32::MAX)],
        _ => vec![0],
    };
    let passing: Vec<u32> = ports.into_iter().filter(|port| passed(op, *port, inputs).contains(&input)).collect();
    if !passing.is_empty() {
        return Ok(Some(passing.into_iter().map(|port| Place::Output(id, port)).collect()));
    }
    let calls = graph.calls()?;
    let Ok(number) = u32::try_from(input) else { return Ok(None) };
    let mut places = Vec::new();
    for found in calls.uses(id) {
        match found.role {
            Role::Whole | Role::Condition => places.push(Place::Argument(found.function, number)),
            Role::Branch => match number.checked_sub(1) {
                Some(number) => places.push(Place::Argument(found.function, number)),
                None => return Ok(None),
            },
            Role::Body => places.extend([Place::Argument(found.function, number), Place::Output(id, number)]),
            Role::Unknown => return Ok(None),
        }
    }
    Ok(Some(places).filter(|places| !places.is_empty()))
}

/// What reads a place: inputs, and the places outside that a function returns it to.
type Readers = (Vec<(NodeId, usize)>, Vec<Place>);

/// The inputs that read a place, and the places outside that a function returns it to; `None` where its callers are not known.
///
/// # Errors
/// Damaged nodes.
pub(crate) fn readers(graph: &Graph, place: Place) -> Result<Option<Readers>, Error> {
    let calls = graph.calls()?;
    let edges = match place {
        Place::Output(id, _) => {
            let edges = graph.index().scope(id.scope).map(|scope| scope.data_edges(id.node)).unwrap_or_default();
            let edges = edges.into_iter().map(|(node, input)| (NodeId { scope: id.scope, node }, input));
            edges.filter(|(reader, input)| read(graph, *reader, *input) == Some(place)).collect()
        }
        Place::Argument(function, number) => calls.reading(function, number).to_vec(),
    };
    let mut outside = Vec::new();
    for (function, result) in calls.returned.get(&place).into_iter().flatten() {
        let callers = calls.callers(*function);
        if callers.is_empty() {
            return Ok(None);
        }
        for found in callers {
            match found.role {
                Role::Whole | Role::Branch => outside.push(Place::Output(found.node, *result)),
                Role::Body => {
                    outside.push(Place::Output(found.node, *result));
                    let uses = calls.uses(found.node).iter();
                    outside.extend(uses.map(|again| Place::Argument(again.function, *result)));
                }
                // Whether to go on.
                Role::Condition => {}
                Role::Unknown => return Ok(None),
            }
        }
    }
    Ok(Some((edges, outside)))
}
