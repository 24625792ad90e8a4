//! Weights that are rounded by reconstruction: a graph in which they are others, and everything after it rounds them to nearest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quant_math::fate::{Cost, Fate};
use quant_math::fold::stored;
use quant_math::metrics::Metrics;
use quant_math::moments::LayerMoments;
use quant_math::plan::Reason;
use quant_math::reconstruct::{Matrix, Reconstructed, reconstruct};
use quant_math::report::Gain;
use quant_math::weights::{WeightMap, observe_beside};
use quant_math::{Plan, Rounding, WeightData};
use rayon::prelude::*;

use super::{Located, locate, values};
use crate::codes;
use crate::error::Error;
use crate::find::product::Product;
use crate::find::sites::{Bias, readers};
use crate::graphdef::attrs;
use crate::graphdef::graph::{Graph, Piece, Place, Refolded, mark, without_calls};
use crate::graphdef::index::NodeId;
use crate::graphdef::tensor::{pb_type, shape_and_type};
use crate::prepare::Copied;
use crate::rewrite::splice::WeightSource;

/// What was rounded by reconstruction.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    /// By the site's index in the plan: how far it is from the float weight, and what it is worth.
    sites: BTreeMap<usize, (Metrics, Gain)>,
    /// Weights that are rounded to nearest in its place, and why.
    pub(super) warnings: Vec<Reason>,
}

impl Rebuilt {
    /// Tell what only these know of.
    pub(super) fn tell(&self, fates: &mut [Fate]) {
        for (site, (metrics, gain)) in &self.sites {
            if let Some(fate) = fates.get_mut(*site) {
                fate.cost = Cost::Measured(*metrics);
                fate.reconstructed = Some(*gain);
            }
        }
    }
}

/// A weight in another form.
struct Made {
    source: NodeId,
    sites: Vec<usize>,
    piece: Piece,
    metrics: Metrics,
    gain: Gain,
}

impl Graph {
    /// The graph with the weights that a plan rounds by reconstruction, where it has some; and what was done.
    ///
    /// # Errors
    /// A graph without moments; those of finding weights and of [`reconstruct`].
    pub(super) fn rebuilt(&self, plan: &Plan) -> Result<(Option<Self>, Rebuilt), Error> {
        let is_rebuilt = |site: &Located| site.settings.rounding == Rounding::Reconstruct;
        let asks = plan.quantized().any(|site| site.settings().is_some_and(|s| s.rounding == Rounding::Reconstruct));
        if !asks {
            return Ok((None, Rebuilt::default()));
        }
        let Some(moments) = self.moments() else { return Err(Error::NoMoments) };
        let mut by_source: BTreeMap<NodeId, Vec<Located>> = BTreeMap::new();
        for located in locate::weights(self, plan)? {
            by_source.entry(located.weight.source).or_default().push(located);
        }
        by_source.retain(|_, sites| sites.iter().any(is_rebuilt));
        let made: Vec<Result<Result<Made, Reason>, Error>> = by_source
            .into_par_iter()
            .map(|(source, sites)| {
                let name = self.name(source);
                let nearest = |why: String| {
                    let text = format!("the weight `{name}` is rounded to nearest and not by reconstruction: {why}");
                    Reason::new(codes::NEAREST_INSTEAD, text)
                };
                let wanted = match self.wanted(&sites, &moments.layers)? {
                    Ok(wanted) => wanted,
                    Err(why) => return Ok(Err(nearest(why))),
                };
                self.rebuild(source, &sites, wanted).map(Ok)
            })
            .collect();
        let mut rebuilt = Rebuilt::default();
        let mut copy = Copied::of(self);
        let mut neutral = self.neutral().clone();
        for made in made {
            let Made { source, sites, piece, metrics, gain } = match made? {
                Ok(made) => made,
                Err(reason) => {
                    rebuilt.warnings.push(reason);
                    continue;
                }
            };
            let node = self.index().node(source).map(|node| node.attr(self.bytes(), "value")).transpose()?.flatten();
            let (Some(attr), Some(view)) = (node, self.constant(source)?) else { continue };
            let Some(dtype) = view.float_dtype() else { continue };
            let mut value = shape_and_type(pb_type(dtype), view.shape());
            value.extend(mark(copy.pieces.len()));
            copy.within.insert(source.node, vec![(attr.entry, attrs::tensor("value", &value))]);
            if let Some(number) = neutral.weights.get_mut(&self.full_name(source)) {
                *number = copy.pieces.len() as u64;
            }
            copy.pieces.push(Arc::new(piece));
            rebuilt.sites.extend(sites.into_iter().map(|site| (site, (metrics, gain))));
        }
        if rebuilt.sites.is_empty() {
            return Ok((None, rebuilt));
        }
        let (bytes, pieces) = copy.made(self)?;
        let refolded = Refolded { bytes, pieces, neutral, new: Vec::new() };
        Ok((Some(self.folded_to(refolded, self.folds().to_vec(), None)?), rebuilt))
    }

    /// How the elements of a weight lie, and the moments of all that it is multiplied with; or why it is not to be rebuilt.
    fn wanted(
        &self,
        sites: &[Located],
        layers: &BTreeMap<String, LayerMoments>,
    ) -> Result<Result<(Matrix, LayerMoments), String>, Error> {
        let no = |why: String| Ok(Err(why));
        let Some(first) = sites.first() else { return no("nothing reads it".to_owned()) };
        if sites.iter().any(|site| site.key() != first.key()) {
            return no("its readers are quantized in different ways".to_owned());
        }
        let weight = &first.weight;
        if weight.source.scope != 0 || sites.iter().any(|site| site.op.scope != 0) {
            return no("it is in a function, where nothing can be measured".to_owned());
        }
        if weight.splat.is_some() {
            return no("it is stored in short form".to_owned());
        }
        if !self.is_read_by_these_alone(sites)? {
            return no("others read it too".to_owned());
        }
        let mut found: Option<(Matrix, LayerMoments)> = None;
        for site in sites {
            let name = self.site_name(site.op);
            // Where each signature calls the layer, the data were run through one of them.
            let Some(own) = layers.get(&name).or_else(|| layers.get(without_calls(&name))) else { continue };
            let product = match Product::of(self, site.op, site.input, &site.weight)? {
                Ok(product) => product,
                Err(why) => return no(why),
            };
            let Some(matrix) = product.matrix(own.inputs()) else {
                return no(format!("the moments of `{name}` are of a layer with another number of inputs"));
            };
            found = match found {
                None => Some((matrix, own.clone())),
                Some((known, all)) if known == matrix => match all.merge(own) {
                    Some(all) => Some((matrix, all)),
                    None => return no("its readers have different inputs".to_owned()),
                },
                Some(_) => return no("its readers see it in different ways".to_owned()),
            };
        }
        let nothing = || no(format!("there are no moments of `{}`", self.site_name(first.op)));
        found.map_or_else(nothing, |found| Ok(Ok(found)))
    }

    fn is_read_by_these_alone(&self, sites: &[Located]) -> Result<bool, Error> {
        let own: BTreeSet<(NodeId, usize)> = sites.iter().map(|site| (site.op, site.input)).collect();
        let via: BTreeSet<NodeId> = sites.iter().flat_map(|site| site.weight.via.iter().copied()).collect();
        let mut open: Vec<NodeId> = sites.first().map(|site| site.weight.source).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let found = readers(self, Place::Output(id, 0))?;
            let Some((found, outside)) = found.filter(|_| !self.named_outputs().contains(&id)) else {
                return Ok(false);
            };
            if !outside.is_empty() {
                return Ok(false);
            }
            for (reader, input) in found {
                match via.contains(&reader) {
                    true => open.push(reader),
                    false if own.contains(&(reader, input)) => {}
                    false => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    fn rebuild(
        &self,
        source: NodeId,
        sites: &[Located],
        (matrix, moments): (Matrix, LayerMoments),
    ) -> Result<Made, Error> {
        let name = self.name(source).to_owned();
        let math = |source| Error::Math { tensor: name.clone(), source };
        let Some(first) = sites.first() else { return Err(Error::NoMoments) };
        let data = WeightSource { tensor: first.weight.tensor, node: name.clone() };
        let data = data.data(self)?;
        let layout = first.layout();
        let biases: Vec<&Bias> = sites.iter().flat_map(|site| &site.biases).collect();
        let channels = first.axes.map_or(1, |axes| axes.source.layout(&first.weight.shape).channels);
        let biases = values(self, &biases, channels)?;
        let dtype = first.weight.dtype;
        let held = (data.len() as u64).saturating_mul(dtype.size() as u64);
        self.budget().take(held, "weights that are rounded by reconstruction")?;
        let made: Reconstructed =
            reconstruct(&first.settings, layout, &biases, &data, (matrix, &moments)).map_err(math)?;
        let stored = stored(dtype, &made.values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        // What is written is measured: the codes of what was stored.
        let map = observe_beside(&first.settings, layout, &biases, &made.values[..]).map_err(math)?;
        let mut quantized = vec![0.0; made.values.len()];
        if map != WeightMap::Unchanged {
            map.values_into(0, &made.values, &mut quantized);
        }
        let metrics = Metrics::of(&data.chunk(0..data.len()), &quantized);
        let sites = sites.iter().map(|site| site.site).collect();
        Ok(Made { source, sites, piece: Piece::Memory(stored), metrics, gain: Gain::of(&made) })
    }
}
