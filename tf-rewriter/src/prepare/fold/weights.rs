//! Whose a weight is: of the layers that take the same factors, or of others too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quant_math::WeightData;
use quant_math::fold::{Factors, stored};
use quant_math::plan::Reason;

use super::Candidate;
use crate::codes;
use crate::error::Error;
use crate::find::sites::{MAX_SPREAD, Weight};
use crate::graphdef::graph::{Graph, Piece};
use crate::graphdef::index::{NodeId, fields};
use crate::graphdef::tensor::{MARK, Payload};
use crate::graphdef::wire::Value;

/// Where the folded weight of a layer goes.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) piece: Arc<Piece>,
    /// Its constant itself; else a copy for this layer.
    pub(super) in_place: bool,
}

/// What stands for a candidate in the list of all normalizations.
type Numbered = (usize, Candidate);

/// A candidate, and its weight or why it cannot have one.
type Owning = (Numbered, Result<Own, Reason>);

/// The candidates, each with its weight, or why it cannot have one.
///
/// # Errors
/// Damaged tensors.
pub(super) fn own(graph: &Graph, chosen: Vec<Numbered>, named: &BTreeSet<NodeId>) -> Result<Vec<Owning>, Error> {
    let mut by_source: BTreeMap<NodeId, Vec<&Candidate>> = BTreeMap::new();
    for (_, candidate) in &chosen {
        by_source.entry(candidate.layer.weight.source).or_default().push(candidate);
    }
    let mut alone = BTreeSet::new();
    for (source, candidates) in by_source {
        let same = candidates.windows(2).all(|pair| match pair {
            [a, b] => factors(a) == factors(b),
            _ => true,
        });
        let layers: BTreeSet<NodeId> = candidates.iter().map(|one| one.way.layer).collect();
        if same && readers(graph, &candidates, named) == layers {
            alone.insert(source);
        }
    }
    let mut pieces: BTreeMap<NodeId, Arc<Piece>> = BTreeMap::new();
    let mut own = |candidate: &Candidate| -> Result<Result<Own, Reason>, Error> {
        let weight = &candidate.layer.weight;
        let in_place = alone.contains(&weight.source);
        let no = |text: String| Ok(Err(Reason::new(codes::NORM_WEIGHT, text)));
        if !in_place && weight.via.iter().any(|id| graph.op(*id) != b"Identity") {
            return no(format!(
                "others read `{}` too, which changes on its way to the layer",
                graph.name(weight.source)
            ));
        }
        if weight.splat.is_some() && weight.elements() > MAX_SPREAD {
            return no(format!(
                "`{}` is stored in short form and has more than {MAX_SPREAD} elements",
                graph.name(weight.source)
            ));
        }
        let as_it_was = if let Some(known) = pieces.get(&weight.source) {
            Arc::clone(known)
        } else {
            let made = piece(graph, weight)?;
            pieces.insert(weight.source, Arc::clone(&made));
            made
        };
        let piece = as_it_was.scaled(weight.dtype, factors(candidate));
        Ok(Ok(Own { piece: Arc::new(piece), in_place }))
    };
    chosen.into_iter().map(|numbered| own(&numbered.1).map(|own| (numbered, own))).collect()
}

fn factors(candidate: &Candidate) -> Factors {
    let layout = candidate.layer.axes.source.layout(&candidate.layer.weight.shape);
    Factors { layout, factors: candidate.linear.scale.clone() }
}

/// The nodes that read a weight and do more than to pass it on to one of the candidates; empty where it can be read from outside.
fn readers(graph: &Graph, candidates: &[&Candidate], named: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let own: BTreeMap<NodeId, usize> = candidates.iter().map(|one| (one.way.layer, one.layer.input)).collect();
    let via: BTreeSet<NodeId> = candidates.iter().flat_map(|one| one.layer.weight.via.iter().copied()).collect();
    let mut found = BTreeSet::new();
    let mut open: Vec<NodeId> = candidates.iter().map(|one| one.layer.weight.source).collect();
    let mut seen = BTreeSet::new();
    while let Some(at) = open.pop() {
        if !seen.insert(at) {
            continue;
        }
        if named.contains(&at) {
            return BTreeSet::new();
        }
        let scope = graph.index().scope(at.scope);
        for reader in scope.map(|scope| scope.data_edges(at.node)).unwrap_or_default() {
            let (reader, input) = (NodeId { scope: at.scope, node: reader.0 }, reader.1);
            match own.get(&reader) {
                _ if via.contains(&reader) => open.push(reader),
                // A layer that reads it somewhere else, too.
                Some(own) if *own != input => return BTreeSet::new(),
                _ => drop(found.insert(reader)),
            }
        }
    }
    found
}

/// The elements of a weight where they lie.
fn piece(graph: &Graph, weight: &Weight) -> Result<Arc<Piece>, Error> {
    let view = graph.tensor(weight.tensor, graph.name(weight.source))?;
    if weight.splat.is_none() {
        match view.payload() {
            Payload::Content(span) | Payload::Values { contiguous: Some(span), .. } => {
                let bytes = || graph.bytes().get(span.clone()).unwrap_or_default().to_vec();
                if graph.mapped().is_none() {
                    graph.budget().take(span.len() as u64, super::WHAT)?;
                }
                let file = graph.mapped().map(|file| Piece::File(file.clone(), span.clone()));
                return Ok(Arc::new(file.unwrap_or_else(|| Piece::Memory(bytes()))));
            }
            Payload::Elsewhere => {
                let mut walk = fields(graph.bytes(), weight.tensor, "TensorProto");
                while let Some(field) = walk.next()? {
                    if let (MARK, Value::Varint(number)) = (field.number, &field.value) {
                        let piece = usize::try_from(*number).ok().and_then(|at| graph.elsewhere().pieces().get(at));
                        if let Some(piece) = piece {
                            return Ok(Arc::clone(piece));
                        }
                    }
                }
            }
            Payload::Values { .. } | Payload::Opaque => {}
        }
    }
    let data = view.float_data()?;
    graph.budget().take(data.len() as u64 * weight.dtype.size() as u64, super::WHAT)?;
    let values: Vec<f64> = data.chunk(0..data.len()).iter().map(|x| f64::from(*x)).collect();
    Ok(Arc::new(Piece::Memory(stored(weight.dtype, &values))))
}
