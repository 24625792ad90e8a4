//! From an op's weight input back to the constant or variable that holds it.

use std::collections::{BTreeMap, BTreeSet};

use super::constant::weight_type;
use super::flow::{self, MAX_PATH};
use super::is_parameter;
use super::pieces::{self, value_input};
use super::weight::{Way, Weight};
use crate::error::Error;
use crate::find::mark;
use crate::find::ops::{is_quantizer, is_variable};
use crate::graphdef::graph::{Graph, Place};
use crate::graphdef::index::{NodeId, Span};

/// What is behind an input.
#[derive(Debug, Clone)]
pub(crate) enum Traced {
    /// A constant of a float type.
    Weight(Box<Weight>),
    /// A variable: its values are not in the graph. Type and shape are, where the graph says them.
    Variable(NodeId, Option<Box<Weight>>),
    /// Something that is quantized already.
    Quantized(NodeId),
    /// One or another of several of the above, as the graph runs.
    Several(Vec<Traced>),
    /// An argument of a function whose callers are not known.
    Argument,
    /// A computed tensor.
    Computed,
    /// A constant without a float type.
    OtherConstant,
}

impl Traced {
    /// The constants and variables of known shape among it.
    pub(crate) fn weights(&self) -> Vec<&Weight> {
        match self {
            Self::Weight(weight) | Self::Variable(_, Some(weight)) => vec![weight],
            Self::Several(all) => all.iter().flat_map(Self::weights).collect(),
            _ => Vec::new(),
        }
    }

    /// What is quantized already among it.
    pub(crate) fn quantized(&self) -> Vec<NodeId> {
        match self {
            Self::Quantized(id) => vec![*id],
            Self::Several(all) => all.iter().flat_map(Self::quantized).collect(),
            _ => Vec::new(),
        }
    }

    /// The constants among it.
    pub(crate) fn constants(&self) -> Vec<&Weight> {
        self.weights().into_iter().filter(|weight| weight.tensor.len() > 0).collect()
    }
}

/// Follow `input` of `op` back to what holds its value: through all that passes it on unchanged, be it around a loop or into a function,
/// and through what gives it another type or shape or cuts a piece off it.
pub(crate) fn trace(graph: &Graph, op: NodeId, input: usize) -> Result<Traced, Error> {
    let Some(first) = flow::read(graph, op, input) else { return Ok(Traced::Computed) };
    let mut ends: BTreeMap<NodeId, End> = BTreeMap::new();
    let mut via = BTreeSet::new();
    let mut seen: BTreeMap<Place, Vec<(NodeId, u32)>> = BTreeMap::new();
    let mut open = vec![(first, Vec::new())];
    let mut unknown = None;
    while let Some((place, mut changes)) = open.pop() {
        if let Some(before) = seen.get(&place) {
            // Turned one way here and another way there: no one weight.
            if *before != changes {
                return Ok(Traced::Computed);
            }
            continue;
        }
        // Before a node with many inputs is looked at: it may have as many readers.
        if seen.len() + open.len() > MAX_PATH || flow::has_more_sources(graph, place, MAX_PATH)? {
            return Ok(Traced::Computed);
        }
        seen.insert(place, changes.clone());
        let end = match place {
            Place::Output(id, port) => end(graph, id, port)?,
            Place::Argument(..) => None,
        };
        match (place, end) {
            (Place::Output(id, port), Some(End::Change)) => {
                via.insert(id);
                changes.push((id, port));
                match flow::read(graph, id, value_input(graph.op(id))) {
                    Some(next) => open.push((next, changes)),
                    None => return Ok(Traced::Computed),
                }
            }
            (Place::Output(id, _), Some(end)) => {
                ends.insert(id, end);
            }
            (place, _) => match flow::sources(graph, place)? {
                Some(sources) => {
                    if let Place::Output(id, _) = place {
                        via.insert(id);
                    }
                    open.extend(sources.into_iter().map(|source| (source, changes.clone())));
                }
                None if matches!(place, Place::Argument(..)) => unknown = Some(Traced::Argument),
                None => return Ok(Traced::Computed),
            },
        }
    }
    // What a loop or a function gives in turn with its activations is one of them, quantized or not.
    let is_one_of_several = unknown.is_some() || ends.len() > 1;
    for (id, _) in ends.iter().filter(|(_, end)| is_one_of_several && matches!(end, End::Quantized)) {
        if !is_parameter(graph, *id, false)? {
            return Ok(Traced::Computed);
        }
    }
    if let Some(unknown) = unknown {
        return Ok(unknown);
    }
    let changes = |id: NodeId| seen.get(&Place::Output(id, 0)).cloned().unwrap_or_default();
    let mut found = Vec::new();
    for (id, end) in ends {
        found.push(match end {
            End::Quantized => Traced::Quantized(id),
            End::Constant => constant(graph, (&via, changes(id)), id)?,
            End::Variable | End::Change => variable(graph, (&via, changes(id)), id)?,
        });
    }
    Ok(together(found))
}

/// Where following a weight ends or turns.
#[derive(Debug, Clone, Copy)]
enum End {
    Quantized,
    Constant,
    Variable,
    /// The same values in another type or shape, or some of them.
    Change,
}

fn end(graph: &Graph, id: NodeId, port: u32) -> Result<Option<End>, Error> {
    let bytes = graph.bytes();
    let Some(node) = graph.index().node(id) else { return Ok(None) };
    let kind = node.op.of(bytes);
    if port == 0 && (is_quantizer(kind) || node.attr(bytes, mark::ATTR)?.is_some()) {
        return Ok(Some(End::Quantized));
    }
    if pieces::cuts(kind) {
        return Ok(pieces::is_fixed(graph, id)?.then_some(End::Change));
    }
    if port != 0 {
        return Ok(None);
    }
    Ok(match kind {
        b"Const" => Some(End::Constant),
        // A Cast to anything else makes another tensor.
        b"Cast" if node.attr_type(bytes, "DstT")?.and_then(weight_type).is_some() => Some(End::Change),
        b"Reshape" | b"ExpandDims" | b"Squeeze" | b"Transpose" => Some(End::Change),
        _ => is_variable(kind).then_some(End::Variable),
    })
}

/// One thing, or several that can stand for each other: constants and variables that the op sees in the same shape, quantized or not.
fn together(mut found: Vec<Traced>) -> Traced {
    if found.len() < 2 {
        return found.pop().unwrap_or(Traced::Computed);
    }
    let holds = |one: &Traced| matches!(one, Traced::Weight(_) | Traced::Variable(_, Some(_)) | Traced::Quantized(_));
    let all = Traced::Several(found);
    let Traced::Several(parts) = &all else { return Traced::Computed };
    let weights = all.weights();
    let same = weights.windows(2).all(|pair| match pair {
        [a, b] => a.edge_shape().is_some() && a.edge_shape() == b.edge_shape(),
        _ => true,
    });
    if same && parts.iter().all(holds) { all } else { Traced::Computed }
}

/// The nodes on the way to a weight, and those of them that change it.
type Nodes<'a> = (&'a BTreeSet<NodeId>, Vec<(NodeId, u32)>);

fn constant(graph: &Graph, (via, changes): Nodes<'_>, source: NodeId) -> Result<Traced, Error> {
    let Some(view) = graph.constant(source)? else { return Ok(Traced::OtherConstant) };
    let Some(dtype) = view.float_dtype() else { return Ok(Traced::OtherConstant) };
    let splat = (view.stored() < view.elements()).then(|| view.stored());
    let shape = view.shape().to_vec();
    let way = Way::of(graph, &changes, &shape)?;
    let tensor = graph.constant_span(source)?.unwrap_or_default();
    let via = via.clone();
    Ok(Traced::Weight(Box::new(Weight { via, changes, source, tensor, dtype, shape, way, splat })))
}

fn variable(graph: &Graph, (via, changes): Nodes<'_>, source: NodeId) -> Result<Traced, Error> {
    let Some((dtype, shape)) = graph.variable(source)? else { return Ok(Traced::Variable(source, None)) };
    let way = Way::of(graph, &changes, &shape)?;
    let (via, tensor) = (via.clone(), Span::default());
    let weight = Weight { via, changes, source, tensor, dtype, shape, way, splat: None };
    Ok(Traced::Variable(source, Some(Box::new(weight))))
}
