//! Ops that pass a value on unchanged, and the edges in and out of functions: where a tensor comes from, and where else it goes.

use crate::error::Error;
use crate::graphdef::graph::{Called, Calls, Graph, Place, Use};
use crate::graphdef::index::{NodeId, Target};

/// Values that can arrive at one place. A `Merge` has two, a switch over cases some.
const MOST: usize = 256;

/// The most places between a constant and its op. Frameworks write a handful; without a limit, a long chain with many readers would
/// take time and memory that grow with the square of the file.
pub(super) const MAX_PATH: usize = 64;

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
    graph.place(op.scope, edge.target, edge.text.of(graph.bytes()))
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
    match found.called {
        Called::Whole => Some(vec![input(number)?]),
        Called::Branch => Some(vec![input(number.checked_add(1)?)?]),
        Called::Body | Called::Condition => Some(vec![input(number)?, calls.result(found.body?, number)?]),
        Called::Unknown => None,
    }
}

/// What a node that calls functions gives as an output.
fn results(graph: &Graph, calls: &Calls, id: NodeId, port: u32) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    for found in calls.uses(id) {
        match found.called {
            Called::Whole | Called::Branch => places.push(calls.result(found.function, port)?),
            Called::Body => places.extend(argument(graph, calls, *found, port)?),
            Called::Condition => {}
            Called::Unknown => return None,
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
        match found.called {
            Called::Whole | Called::Condition => places.push(Place::Argument(found.function, number)),
            Called::Branch => match number.checked_sub(1) {
                Some(number) => places.push(Place::Argument(found.function, number)),
                None => return Ok(None),
            },
            Called::Body => places.extend([Place::Argument(found.function, number), Place::Output(id, number)]),
            Called::Unknown => return Ok(None),
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
    for (function, result) in calls.returned(place) {
        let callers = calls.callers(*function);
        if callers.is_empty() {
            return Ok(None);
        }
        for found in callers {
            match found.called {
                Called::Whole | Called::Branch => outside.push(Place::Output(found.node, *result)),
                Called::Body => {
                    outside.push(Place::Output(found.node, *result));
                    let uses = calls.uses(found.node).iter();
                    outside.extend(uses.map(|again| Place::Argument(again.function, *result)));
                }
                // Whether to go on.
                Called::Condition => {}
                Called::Unknown => return Ok(None),
            }
        }
    }
    Ok(Some((edges, outside)))
}
