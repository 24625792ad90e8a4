//! Batch normalizations, and the way from each back to the layer that can take it.

use std::collections::BTreeSet;

use quant_math::plan::Reason;

use crate::codes;
use crate::error::Error;
use crate::find::norm::{is_fused, uses_batch_statistics};
use crate::find::sites::{is_parameter, read};
use crate::graphdef::graph::{Graph, Place};
use crate::graphdef::index::{NodeId, Target};

/// Nodes between a layer and its normalization, and between a factor and the root in it. Frameworks write a handful.
const MOST: usize = 64;

/// A batch normalization.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    /// The node that makes the normalized tensor.
    pub(super) last: NodeId,
    /// Whether it is surely one: an op of that name, or with a root in its factor. Else it is one where it stands behind a layer.
    pub(super) is_sure: bool,
}

/// A node on the way from a layer to the end of its normalization, and its input on that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) node: NodeId,
    pub(super) input: usize,
}

/// What a node on the way does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All elements go on, in another order of axes or none.
    Passes,
    /// The parameter at this input is added.
    Adds(usize),
    /// The parameter at this input is taken away.
    Subtracts(usize),
    /// By the parameter at this input.
    Multiplies(usize),
    /// A batch normalization in one op.
    Normalizes,
}

/// A layer, and all nodes from behind it to the end of a normalization.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) layer: NodeId,
    /// From the layer on; the last one ends the normalization.
    pub(super) links: Vec<Link>,
}

/// The layers that take a normalization (SPEC).
fn is_layer(op: &[u8]) -> bool {
    matches!(op, b"Conv2D" | b"Conv2DBackpropInput" | b"Conv3D" | b"DepthwiseConv2dNative" | b"MatMul")
}

/// All batch normalizations of a graph, in its order.
///
/// # Errors
/// Damaged nodes.
pub(super) fn norms(graph: &Graph) -> Result<Vec<Norm>, Error> {
    let mut found = Vec::new();
    for id in graph.all_nodes() {
        if is_fused(graph.op(id)) {
            found.push(Norm { last: id, is_sure: true });
        } else if let Some(factor) = product_and_sum(graph, id)? {
            found.push(Norm { last: id, is_sure: has_root(graph, factor) });
        }
    }
    Ok(found)
}

/// The factor of `Add(Mul(x, factor), shift)` of an activation `x` and parameters, if `id` is such a sum.
fn product_and_sum(graph: &Graph, id: NodeId) -> Result<Option<NodeId>, Error> {
    let inputs: &[usize] = match graph.op(id) {
        b"Add" | b"AddV2" => &[0, 1],
        b"BiasAdd" | b"Sub" => &[0],
        _ => return Ok(None),
    };
    for &input in inputs {
        let Some(mut product) = graph.source(id, input) else { continue };
        for _ in 0..MOST {
            match graph.source(product, 0).filter(|_| graph.op(product) == b"Identity") {
                Some(before) => product = before,
                None => break,
            }
        }
        if graph.op(product) != b"Mul" || !is_parameter_at(graph, id, 1 - input)? {
            continue;
        }
        if let Step::Multiplies(factor) = step(graph, product)?.map_or(Step::Passes, |(step, _)| step) {
            return Ok(graph.source(product, factor));
        }
    }
    Ok(None)
}

fn is_parameter_at(graph: &Graph, id: NodeId, input: usize) -> Result<bool, Error> {
    match graph.source(id, input) {
        Some(source) => is_parameter(graph, source, false),
        None => Ok(false),
    }
}

/// Whether a factor is made with a root: γ/√(σ² + ε).
fn has_root(graph: &Graph, factor: NodeId) -> bool {
    let (mut open, mut seen) = (vec![factor], BTreeSet::new());
    while let Some(id) = open.pop() {
        if matches!(graph.op(id), b"Rsqrt" | b"Sqrt") {
            return true;
        }
        if seen.len() < MOST && seen.insert(id) {
            open.extend([0, 1].into_iter().filter_map(|input| graph.source(id, input)));
        }
    }
    false
}

/// What a node does with an activation, and the input that it reads it at; `None` where that is more than a factor and a shift for each channel.
///
/// # Errors
/// Damaged nodes.
pub(super) fn step(graph: &Graph, id: NodeId) -> Result<Option<(Step, usize)>, Error> {
    let either = |step: fn(usize) -> Step| -> Result<Option<(Step, usize)>, Error> {
        let (first, second) = (is_parameter_at(graph, id, 0)?, is_parameter_at(graph, id, 1)?);
        Ok(match (first, second) {
            (false, true) => Some((step(1), 0)),
            (true, false) => Some((step(0), 1)),
            _ => None,
        })
    };
    match graph.op(id) {
        b"BatchToSpaceND" | b"ExpandDims" | b"Identity" | b"Reshape" | b"Squeeze" => Ok(Some((Step::Passes, 0))),
        b"BiasAdd" => Ok(is_parameter_at(graph, id, 1)?.then_some((Step::Adds(1), 0))),
        b"Sub" => Ok(is_parameter_at(graph, id, 1)?.then_some((Step::Subtracts(1), 0))),
        b"Add" | b"AddV2" => either(Step::Adds),
        b"Mul" => either(Step::Multiplies),
        op if is_fused(op) => Ok(Some((Step::Normalizes, 0))),
        _ => Ok(None),
    }
}

/// The way from a layer to the normalization, or why there is none.
///
/// # Errors
/// Damaged nodes.
pub(super) fn way(graph: &Graph, norm: Norm) -> Result<Result<Way, Reason>, Error> {
    let (mut links, mut at) = (Vec::new(), norm.last);
    let layer = loop {
        if is_fused(graph.op(at)) && uses_batch_statistics(graph, at)? {
            let text = format!("`{}` normalizes by the statistics of each batch", graph.name(at));
            return Ok(Err(Reason::new(codes::NORM_TRAINS, text)));
        }
        let Some((_, input)) = step(graph, at)?.filter(|_| links.len() < MOST) else {
            return Ok(Err(no_layer(graph, norm.last, Some(at))));
        };
        links.push(Link { node: at, input });
        let Some(Place::Output(source, port)) = read(graph, at, input) else {
            return Ok(Err(no_layer(graph, norm.last, None)));
        };
        // In a function body which output it is does not stand in a number.
        if port != 0 {
            return Ok(Err(no_layer(graph, norm.last, Some(source))));
        }
        if is_layer(graph.op(source)) {
            break source;
        }
        at = source;
    };
    links.reverse();
    Ok(Ok(Way { layer, links }))
}

/// No layer stands before it, but `found`.
fn no_layer(graph: &Graph, norm: NodeId, found: Option<NodeId>) -> Reason {
    let scope = graph.index().scope(norm.scope);
    let readers = scope.map(|scope| scope.data_edges(norm.node)).unwrap_or_default();
    if let [(reader, 0)] = readers.as_slice()
        && let reader = (NodeId { scope: norm.scope, node: *reader })
        && is_layer(graph.op(reader))
    {
        let text = format!("it stands before `{}`: at a padded border its shift would be missing", graph.name(reader));
        return Reason::new(codes::NORM_BEFORE_LAYER, text);
    }
    let text = match found {
        Some(found) => {
            let op = String::from_utf8_lossy(graph.op(found));
            format!("it stands behind `{}` ({op}), which is no layer", graph.name(found))
        }
        None => "it stands behind no layer".to_owned(),
    };
    Reason::new(codes::NORM_NO_LAYER, text)
}

/// The nodes that are fed or fetched by name.
pub(super) fn named(graph: &Graph) -> BTreeSet<NodeId> {
    let interface = graph.interface().inputs.iter().chain(&graph.interface().outputs);
    let named = interface.filter_map(|tensor| graph.named(tensor.node()));
    named.chain(graph.named_outputs().iter().copied()).collect()
}

/// Who but the nodes of a way reads what is on it, be it one of the `named` nodes; no reason where nobody does.
pub(super) fn other_reader(graph: &Graph, way: &Way, named: &BTreeSet<NodeId>) -> Option<Reason> {
    let scope = graph.index().scope(way.layer.scope)?;
    let own = std::iter::once(way.layer).chain(way.links.iter().map(|link| link.node));
    for (at, link) in own.zip(&way.links) {
        if named.contains(&at) {
            let text = format!("`{}` is an output of the model", graph.name(at));
            return Some(Reason::new(codes::NORM_WANTED, text));
        }
        let node = link.node.node;
        if let Some(reader) = scope.consumers(at.node).iter().find(|reader| **reader != node) {
            let reader = graph.name(NodeId { scope: way.layer.scope, node: *reader });
            return Some(Reason::new(codes::NORM_SHARED, format!("`{reader}` reads `{}` too", graph.name(at))));
        }
        if scope.consumers(at.node).len() != 1 {
            let text = format!("`{}` reads `{}` twice", graph.name(link.node), graph.name(at));
            return Some(Reason::new(codes::NORM_SHARED, text));
        }
    }
    // A batch normalization in one op has other outputs: its statistics.
    let last = way.links.last()?.node;
    let port = |target: Target| match target {
        Target::Data { port, .. } => port,
        Target::Control { .. } | Target::Argument => 0,
    };
    let name = format!("{}:", graph.name(last));
    let outputs = || graph.interface().outputs.iter().filter(|out| out.tensor.starts_with(&name));
    let is_fetched = named.contains(&last) && outputs().any(|out| !out.tensor.ends_with(":0"));
    (is_fetched || scope.edges(last.node).any(|(_, _, target)| port(target) != 0)).then(|| {
        Reason::new(codes::NORM_SHARED, format!("the statistics that `{}` gives are read too", graph.name(last)))
    })
}
