//! Who reads a weight constant, and what to do when not all of them are to see it quantized.

use std::collections::{BTreeMap, BTreeSet};

use protobuf::Message;

use super::{Editor, WeightWork};
use crate::Error;
use crate::graph::Graph;
use crate::index::{NodeId, ScopeKind};
use crate::pb::NodeDef;
use crate::sites::{Place, Weight, destinations, is_call, read, readers};
use crate::splice::{Segment, node_field};

/// A constant whose value goes to more places than these is shared, without looking further: a copy is never wrong.
const MAX_PLACES: usize = 1024;

/// Whether every edge out of a group's constant, through all that passes its value on or gives it another type or shape, ends at one of the
/// group's ops.
///
/// Then the constant itself may change; else the chosen ops get a quantized copy. A node on the way that is an output of the graph
/// is another reader.
pub(crate) fn owns(graph: &Graph, group: &[&WeightWork]) -> Result<bool, Error> {
    let chosen: BTreeSet<(NodeId, usize)> = group.iter().map(|work| (work.op, work.input)).collect();
    let mut seen = BTreeSet::new();
    let mut open: Vec<Place> = group.first().map(|work| Place::Output(work.weight.source, 0)).into_iter().collect();
    while let Some(place) = open.pop() {
        if !seen.insert(place) {
            continue;
        }
        if seen.len() > MAX_PLACES {
            return Ok(false);
        }
        if let Place::Output(id, _) = place {
            let scope = graph.index().scope(id.scope);
            let unread = scope.is_some_and(|s| matches!(s.kind, ScopeKind::Main) && s.consumers(id.node).is_empty());
            if unread || graph.named_outputs().contains(&id) {
                return Ok(false);
            }
        }
        let Some((edges, outside)) = readers(graph, place)? else { return Ok(false) };
        open.extend(outside);
        for (reader, input) in edges {
            if chosen.contains(&(reader, input)) {
                continue;
            }
            let changes = matches!(graph.op(reader), b"Cast" | b"Reshape" | b"ExpandDims" | b"Squeeze" | b"Transpose");
            match destinations(graph, reader, input)? {
                Some(places) => open.extend(places),
                None if changes && input == 0 => open.push(Place::Output(reader, 0)),
                None => return Ok(false),
            }
        }
    }
    Ok(true)
}

/// The nodes between an op and its weight that the op gets copies of when it alone is to read a quantized constant, which stands beside
/// the weight or, where that is outside of the op's function, beside the op. `None` where such a constant cannot take the weight's place.
fn copied(
    graph: &Graph,
    op: NodeId,
    input: usize,
    weight: &Weight,
    alone: bool,
) -> Result<Option<BTreeSet<NodeId>>, Error> {
    let mut copied = BTreeSet::new();
    let mut open: Vec<Place> = read(graph, op, input).into_iter().collect();
    while let Some(place) = open.pop() {
        let Place::Output(id, _) = place else {
            if alone {
                continue;
            }
            return Ok(None);
        };
        if id == weight.source || copied.contains(&id) || !weight.via.contains(&id) {
            continue;
        }
        if is_call(graph, id)? {
            if alone {
                continue;
            }
            return Ok(None);
        }
        copied.insert(id);
        let inputs = graph.index().scope(id.scope).zip(graph.index().node(id)).map_or(0, |(s, n)| s.inputs(n).len());
        open.extend((0..inputs).filter_map(|input| read(graph, id, input)));
    }
    let in_function = graph.index().scope(op.scope).is_some_and(|scope| !matches!(scope.kind, ScopeKind::Main));
    let possible =
        weight.changes.iter().all(|id| copied.contains(id)) && (op.scope == weight.source.scope || in_function);
    Ok(possible.then_some(copied))
}

/// Whether the op of `work` can be given a quantized constant of its own.
pub(crate) fn can_have_its_own(graph: &Graph, work: &WeightWork) -> Result<bool, Error> {
    Ok(copied(graph, work.op, work.input, &work.weight, work.is_only)?.is_some())
}

/// Where the constants of a group's ops are to stand, with the ops that share each: beside the weight, or beside the first op in a function
/// that gets it from outside. A function that calls itself may get from outside what stands in it.
pub(super) fn homes<'w>(graph: &Graph, group: &[&'w WeightWork]) -> Vec<(NodeId, Vec<&'w WeightWork>)> {
    let mut homes: BTreeMap<(u32, bool), (NodeId, Vec<&WeightWork>)> = BTreeMap::new();
    for work in group {
        let outside = work.op.scope != work.weight.source.scope || is_handed_in(graph, work);
        let home = if outside { work.op } else { work.weight.source };
        homes.entry((work.op.scope, outside)).or_insert((home, Vec::new())).1.push(work);
    }
    homes.into_values().collect()
}

/// Whether an op's weight comes to it by an argument of the function that it stands in.
fn is_handed_in(graph: &Graph, work: &WeightWork) -> bool {
    let mut seen = BTreeSet::new();
    let mut open: Vec<Place> = read(graph, work.op, work.input).into_iter().collect();
    while let Some(place) = open.pop() {
        let Place::Output(id, _) = place else { return true };
        if id == work.weight.source || !work.weight.via.contains(&id) || !seen.insert(id) {
            continue;
        }
        let inputs = graph.index().scope(id.scope).zip(graph.index().node(id)).map_or(0, |(s, n)| s.inputs(n).len());
        open.extend((0..inputs).filter_map(|input| read(graph, id, input)));
    }
    false
}

/// Ops that are to read quantized constants of their own, and the references of those.
#[derive(Debug, Default)]
pub(crate) struct Copies<'w> {
    /// By op and input; one that reads one or another of several weights may get several.
    edges: BTreeMap<(NodeId, usize), Vec<(&'w WeightWork, String)>>,
}

impl<'w> Copies<'w> {
    pub(super) fn add(&mut self, works: &[&'w WeightWork], reference: &str) {
        for work in works {
            self.edges.entry((work.op, work.input)).or_default().push((*work, reference.to_owned()));
        }
    }

    /// Let the ops read their constants: the nodes between are copied, once for all ops that want the same of them.
    ///
    /// # Errors
    /// Damaged nodes.
    pub(crate) fn reroute(&self, editor: &mut Editor<'_>) -> Result<(), Error> {
        self.edges.iter().try_for_each(|((op, input), own)| reroute(editor, (*op, *input), own))
    }
}

/// What an edge reads in place of what it read.
struct Substitutes<'a> {
    own: &'a [(&'a WeightWork, String)],
    copies: BTreeMap<NodeId, String>,
    via: BTreeSet<NodeId>,
}

impl Substitutes<'_> {
    /// The new text of an input; `None` where it stays.
    fn text(&self, graph: &Graph, reader: NodeId, input: usize) -> Option<String> {
        let place = read(graph, reader, input)?;
        if let Place::Output(id, _) = place {
            if let Some((_, reference)) = self.own.iter().find(|(work, _)| work.weight.source == id) {
                return Some(reference.clone());
            }
            if let Some(name) = self.copies.get(&id) {
                let text = graph.input(reader, input)?.text.text(graph.bytes());
                return Some(format!("{name}{}", text.find(':').and_then(|at| text.get(at..)).unwrap_or_default()));
            }
            if !self.via.contains(&id) {
                return None;
            }
        }
        // What comes out of a function or into it.
        self.own.first().map(|(_, reference)| reference.clone())
    }
}

fn reroute(editor: &mut Editor<'_>, (op, input): (NodeId, usize), own: &[(&WeightWork, String)]) -> Result<(), Error> {
    let graph = editor.graph;
    let Some((first, _)) = own.first() else { return Ok(()) };
    let nodes = copied(graph, op, input, &first.weight, first.is_only)?.unwrap_or_default();
    let how =
        own.iter().map(|(work, reference)| format!("copy {} {reference}", work.slot)).collect::<Vec<_>>().join(", ");
    let mut substitutes = Substitutes { own, copies: BTreeMap::new(), via: first.weight.via.clone() };
    let mut new = Vec::new();
    for &id in &nodes {
        let original = graph.name(id).to_owned();
        let name = if let Some(made) = editor.already_made(id.scope, &original, &how) {
            made
        } else {
            let last = original.rsplit('/').next().unwrap_or(&original);
            let name = editor.unique(id.scope, &format!("{}/weight_quant/{last}", graph.name(op)));
            editor.remember(id.scope, &original, &how, &name);
            new.push(id);
            name
        };
        substitutes.copies.insert(id, name);
    }
    for id in new {
        let Some(node) = graph.index().node(id) else { continue };
        let mut copy = NodeDef::parse_from_bytes(node.body.of(graph.bytes())).map_err(|e| Error::Wire {
            what: "NodeDef".into(),
            found: e.to_string().into(),
            expected: "a NodeDef".into(),
            at: crate::At::offset(node.body.start()),
        })?;
        copy.name = substitutes.copies.get(&id).cloned().unwrap_or_default();
        for (position, text) in copy.input.iter_mut().enumerate() {
            if let Some(new) = substitutes.text(graph, id, position) {
                *text = new;
            }
        }
        let bytes = copy.write_to_bytes().unwrap_or_default();
        editor.insert_raw(id, node_field(editor.scope_kind(id.scope), vec![Segment::Bytes(bytes)]));
    }
    if let Some(text) = substitutes.text(graph, op, input) {
        editor.reroute(op, input, text);
    }
    Ok(())
}
