//! The ops and tensors that the sites of a plan name, found again.

use std::collections::BTreeMap;

use quant_math::QuantType;
use quant_math::plan::Site;

use crate::find::model::Model;
use crate::find::sites::{Edge, Op, OpWeight};

/// The op and weight of a weight site, with their positions.
#[derive(Clone, Copy)]
pub(crate) struct WeightOp<'m> {
    pub(crate) number: usize,
    pub(crate) op: &'m Op,
    pub(crate) index: usize,
    pub(crate) weight: &'m OpWeight,
}

/// Ops by name, and what they read and make by name.
pub(crate) struct Locator<'m> {
    ops: BTreeMap<&'m str, (usize, &'m Op)>,
    /// Weights that can be quantized, by op.
    weights: BTreeMap<(usize, &'m str), usize>,
    /// Activations, by op; of those ops that were asked for.
    activations: BTreeMap<(usize, QuantType), BTreeMap<String, &'m Edge>>,
}

impl<'m> Locator<'m> {
    pub(crate) fn of(model: &'m Model) -> Self {
        let (mut ops, mut weights) = (BTreeMap::new(), BTreeMap::new());
        for (number, op) in model.sites().ops.iter().enumerate() {
            ops.entry(op.name.as_str()).or_insert((number, op));
            for (index, weight) in op.weights.iter().enumerate().filter(|(_, weight)| weight.blocked.is_none()) {
                weights.entry((number, weight.name.as_str())).or_insert(index);
            }
        }
        Self { ops, weights, activations: BTreeMap::new() }
    }

    /// The weight of a site.
    pub(crate) fn weight(&self, site: &Site) -> Option<WeightOp<'m>> {
        let (number, op) = self.ops.get(site.op.as_str()).copied()?;
        let index = self.weights.get(&(number, site.tensor.as_str())).copied()?;
        Some(WeightOp { number, op, index, weight: op.weights.get(index)? })
    }

    /// The op and the tensor of a site that is no weight.
    pub(crate) fn activation(&mut self, site: &Site) -> Option<(&'m Op, &'m Edge)> {
        let (number, op) = self.ops.get(site.op.as_str()).copied()?;
        let edges = self.activations.entry((number, site.kind));
        let edges = edges.or_insert_with(|| op.activations(site.kind).into_iter().collect());
        Some((op, *edges.get(&site.tensor)?))
    }
}
