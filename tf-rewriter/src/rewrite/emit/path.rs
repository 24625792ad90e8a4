//! Who reads a weight constant, and what to do when not all of them are to see it quantized.

use std::collections::{BTreeMap, BTreeSet};

use protobuf::Message;

use super::{Editor, WeightWork};
use crate::error::Error;
use crate::find::sites::{between, passed_on, read, read_by, readers};
use crate::graphdef::graph::{Graph, Place};
use crate::graphdef::index::{NodeId, ScopeKind};
use crate::graphdef::pb::NodeDef;
use crate::rewrite::splice::{Segment, node_field};

/// A constant whose value goes to more places than these is shared, without looking further: a copy is never wrong.
const MAX_PLACES: usize = 1024;

/// Whether every edge out of a group's constant, through all that passes its value on or gives it another type or shape, ends at one of the
/// group's ops.
///
/// Then the constant itself may change; else the chosen ops get a quantized copy. A node on the way that is an output of the graph
/// is another reader, and so is one of `chosen`, the edges of all groups: an op that passes pieces of its own weight on.
pub(crate) fn owns(graph: &Graph, group: &[&WeightWork], chosen: &BTreeSet<(NodeId, usize)>) -> Result<bool, Error> {
    let own: BTreeSet<(NodeId, usize)> = group.iter().map(|work| (work.op, work.input)).collect();
    let source = group.first().map(|work| Place::Output(work.weight.source, 0));
    ends_at(graph, source.into_iter().collect(), &own, chosen)
}

/// Whether every edge out of some places, through all that passes their values on or gives them another type or shape, is one of these
/// `edges`, and none of the `others`.
pub(super) fn ends_at(
    graph: &Graph,
    mut open: Vec<Place>,
    edges: &BTreeSet<(NodeId, usize)>,
    others: &BTreeSet<(NodeId, usize)>,
) -> Result<bool, Error> {
    let mut seen = BTreeSet::new();
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
        let Some((readers, outside)) = readers(graph, place)? else { return Ok(false) };
        open.extend(outside);
        for (reader, input) in readers {
            if edges.contains(&(reader, input)) {
                continue;
            }
            if others.contains(&(reader, input)) {
                return Ok(false);
            }
            match passed_on(graph, reader, input)? {
                Some(places) => open.extend(places),
                None => return Ok(false),
            }
        }
    }
    Ok(true)
}

/// The nodes between an op and its weight that the op gets copies of when it alone is to read a quantized constant, which stands beside
/// the weight or, where that is outside of the op's function, beside the op. `None` where such a constant cannot take the weight's place.
fn copied(graph: &Graph, work: &WeightWork) -> Result<Option<BTreeSet<NodeId>>, Error> {
    let (weight, op) = (&work.weight, work.op);
    let goal = Place::Output(weight.source, 0);
    let found = between(graph, (op, work.input), goal, &weight.via, work.is_only)?;
    let in_function = graph.index().scope(op.scope).is_some_and(|scope| !matches!(scope.kind, ScopeKind::Main));
    let can_stand = op.scope == weight.source.scope || in_function;
    Ok(found.filter(|nodes| can_stand && weight.changes.iter().all(|(id, _)| nodes.contains(id))))
}

/// Whether the op of `work` can be given a quantized constant of its own.
pub(crate) fn can_have_its_own(graph: &Graph, work: &WeightWork) -> Result<bool, Error> {
    Ok(copied(graph, work)?.is_some())
}

/// Where the constants of a group's ops are to stand, with the ops that share each: beside the weight, or beside the first op in a function
/// that gets it from outside. A function that calls itself may get from outside what stands in it.
pub(crate) fn homes<'w>(graph: &Graph, group: &[&'w WeightWork]) -> Vec<(NodeId, Vec<&'w WeightWork>)> {
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
        open.extend(read_by(graph, id));
    }
    false
}

/// What an edge is to read in place of a tensor on its way.
#[derive(Debug, Clone)]
pub(super) struct Substitute {
    pub(super) goal: Place,
    pub(super) reference: String,
}

/// Ops that are to read quantized constants of their own, and the references of those.
#[derive(Debug, Default)]
pub(crate) struct Copies<'w> {
    edges: BTreeMap<(NodeId, usize), Own<'w>>,
}

/// The quantized constants of an edge: several where it reads one or another of several weights.
#[derive(Debug)]
struct Own<'w> {
    /// One of the weights.
    work: &'w WeightWork,
    constants: Vec<Substitute>,
}

impl<'w> Copies<'w> {
    /// Let the ops of `works` read `reference` in place of their weight.
    pub(crate) fn add(&mut self, works: &[&'w WeightWork], reference: &str) {
        for work in works {
            let goal = Place::Output(work.weight.source, 0);
            let own = self.edges.entry((work.op, work.input)).or_insert(Own { work, constants: Vec::new() });
            own.constants.push(Substitute { goal, reference: reference.to_owned() });
        }
    }

    /// Let the ops read their constants: the nodes between are copied, once for all ops that want the same of them.
    ///
    /// # Errors
    /// Damaged nodes.
    pub(crate) fn reroute(&self, editor: &mut Editor<'_>) -> Result<(), Error> {
        for (edge, Own { work, constants }) in &self.edges {
            let nodes = copied(editor.graph, work)?.unwrap_or_default();
            reroute(editor, *edge, constants, (&nodes, &work.weight.via))?;
        }
        Ok(())
    }
}

/// What the inputs of copied nodes read.
struct Inputs<'a> {
    own: &'a [Substitute],
    copies: BTreeMap<NodeId, String>,
    via: &'a BTreeSet<NodeId>,
}

impl Inputs<'_> {
    /// The new text of an input; `None` where it stays.
    fn text(&self, graph: &Graph, reader: NodeId, input: usize) -> Option<String> {
        let place = read(graph, reader, input)?;
        if let Some(own) = self.own.iter().find(|own| own.goal == place) {
            return Some(own.reference.clone());
        }
        if let Place::Output(id, _) = place {
            if let Some(name) = self.copies.get(&id) {
                let text = graph.input(reader, input)?.text.text(graph.bytes());
                return Some(format!("{name}{}", text.find(':').and_then(|at| text.get(at..)).unwrap_or_default()));
            }
            if !self.via.contains(&id) {
                return None;
            }
        }
        // What comes out of a function or into it.
        self.own.first().map(|own| own.reference.clone())
    }
}

/// Let an edge read `own` at the end of its way: it gets copies of the `nodes` between, which stand on the way `via`.
pub(super) fn reroute(
    editor: &mut Editor<'_>,
    (op, input): (NodeId, usize),
    own: &[Substitute],
    (nodes, via): (&BTreeSet<NodeId>, &BTreeSet<NodeId>),
) -> Result<(), Error> {
    let graph = editor.graph;
    let how = own.iter().map(|own| format!("copy {}", own.reference)).collect::<Vec<_>>().join(", ");
    let mut inputs = Inputs { own, copies: BTreeMap::new(), via };
    let mut new = Vec::new();
    for &id in nodes {
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
        inputs.copies.insert(id, name);
    }
    for id in new {
        let Some(node) = graph.index().node(id) else { continue };
        let mut copy = NodeDef::parse_from_bytes(node.body.of(graph.bytes())).map_err(|e| Error::Wire {
            what: "NodeDef".into(),
            found: e.to_string().into(),
            expected: "a NodeDef".into(),
            at: crate::error::At::offset(node.body.start()),
        })?;
        copy.name = inputs.copies.get(&id).cloned().unwrap_or_default();
        for (position, text) in copy.input.iter_mut().enumerate() {
            if let Some(new) = inputs.text(graph, id, position) {
                *text = new;
            }
        }
        let bytes = copy.write_to_bytes().unwrap_or_default();
        editor.insert_raw(id, node_field(editor.scope_kind(id.scope), vec![Segment::Bytes(bytes)]));
    }
    if let Some(text) = inputs.text(graph, op, input) {
        editor.reroute(op, input, text);
    }
    Ok(())
}
