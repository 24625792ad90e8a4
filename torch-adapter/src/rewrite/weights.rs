//! Weights of a plan: found again in the model, looked at, and how their values are made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quant_math::Emit;
use quant_math::fate::{Cost, Fate};
use quant_math::plan::Settings;
use quant_math::weights::{Biases, ChannelLayout, Look, Way, WeightMap, has_floor, look_once, measure};

use crate::error::Error;
use crate::find::model::Model;
use crate::torchscript::contents::{StoreKey, Stored};
use crate::torchscript::heap::TensorId;

/// A weight site of a plan.
#[derive(Debug, Clone)]
pub(crate) struct WeightSite {
    /// Its position in the plan.
    pub(crate) site: usize,
    /// The tensor's name.
    pub(crate) name: String,
    pub(crate) tensor: TensorId,
    pub(crate) settings: Settings,
    /// Its steps, where they were learnt.
    pub(crate) steps: Option<Vec<f32>>,
    /// The axis of its output channels, where that is known.
    pub(crate) axis: Option<usize>,
    /// The vectors that are added to its channels.
    pub(crate) biases: Vec<TensorId>,
}

/// A weight that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) site: WeightSite,
    pub(crate) stored: Stored,
    pub(crate) key: StoreKey,
    /// Sites that are quantized alike have the same.
    pub(crate) number: usize,
    pub(crate) map: Arc<WeightMap>,
    /// What is added to its channels.
    pub(crate) biases: Arc<Biases>,
    /// How far apart the ranges of its channels are, where one scale serves all.
    pub(crate) spread: Option<f32>,
}

impl Observed {
    /// Tell the fate of its site what was seen. The error is found where the values are made; `inference` makes them when it runs.
    pub(crate) fn tell(&self, model: &Model, emit: Emit, fate: &mut Fate) -> Result<(), Error> {
        fate.observed(&self.map, self.spread);
        fate.cost = match emit {
            _ if *self.map == WeightMap::Unchanged => Cost::Nothing,
            Emit::Inference => {
                let bytes = self.stored.bytes(model.archive())?;
                Cost::Measured(measure(&self.map, &self.stored.data(&bytes)))
            }
            Emit::Baked | Emit::Packed | Emit::Training => Cost::Written(self.number),
        };
        Ok(())
    }
}

/// A weight site, found in the archive.
struct Found {
    site: WeightSite,
    stored: Stored,
    key: StoreKey,
    layout: ChannelLayout,
}

impl Found {
    fn of(model: &Model, site: WeightSite) -> Result<Self, Error> {
        let plan = |what: &str| Error::Plan { message: format!("`{}` {what}", site.name) };
        let found = model.contents().stored(site.tensor).ok().zip(model.contents().store_key(site.tensor));
        let (stored, key) = found.ok_or_else(|| plan("is not a tensor that can be quantized"))?;
        let layout = layout(&stored, site.settings.channel_axis);
        let layout = layout.ok_or_else(|| plan("has no such channel axis"))?;
        Ok(Self { site, stored, key, layout })
    }

    /// Two sites with the same key have the same map.
    fn way(&self) -> (StoreKey, Way) {
        (self.key, Way::new(&self.site.settings, self.layout, self.site.steps.as_deref()))
    }
}

/// Look at every weight once per way of quantizing it; what was seen, by the positions of the sites.
pub(crate) fn observe_all(model: &Model, sites: Vec<WeightSite>) -> Result<BTreeMap<usize, Observed>, Error> {
    let found = sites.into_iter().map(|site| Found::of(model, site).map(|found| (found.way(), found)));
    let seen = look_once(found.collect::<Result<_, _>>()?, |found, alike| {
        let biases = alike.iter().flat_map(|found| &found.site.biases).copied().collect();
        observe_one(model, found, &biases)
    })?;
    let observed = seen.into_iter().map(|(found, number, Looked { map, biases, spread })| {
        let Found { site, stored, key, .. } = found;
        (site.site, Observed { site, stored, key, number, map, biases, spread })
    });
    Ok(observed.collect())
}

/// What a look at a weight has shown.
#[derive(Clone)]
struct Looked {
    map: Arc<WeightMap>,
    biases: Arc<Biases>,
    spread: Option<f32>,
}

fn observe_one(model: &Model, found: &Found, biases: &BTreeSet<TensorId>) -> Result<Looked, Error> {
    let Found { site, stored, layout, .. } = found;
    let archive = model.archive();
    let bytes = stored.peek(archive)?;
    let channels = site.axis.and_then(|axis| stored.dense.per_channel(axis));
    let biases = Arc::new(values(model, site, *layout, biases)?);
    let (settings, steps) = (&site.settings, site.steps.as_deref());
    let look = Look { settings, layout: *layout, steps, biases: &biases, channels };
    let seen = look.at(&stored.data(&bytes));
    seen.map(|(map, spread)| Looked { map: Arc::new(map), biases, spread }).or_else(|source| {
        // Numbers without a quantized form may be the work of damage, which then is the better thing to say.
        archive.read(&stored.record)?;
        Err(Error::Math { tensor: site.name.clone(), source })
    })
}

/// The values of vectors that are added to channels.
fn values(
    model: &Model,
    site: &WeightSite,
    layout: ChannelLayout,
    biases: &BTreeSet<TensorId>,
) -> Result<Biases, Error> {
    // A batch norm that is in the layer adds its shift behind it.
    let shift = model.added_to(site.tensor);
    if biases.is_empty() && shift.is_none() || !has_floor(&site.settings) {
        return Ok(Biases::default());
    }
    let mut values = Biases::none(layout.channels);
    for stored in biases.iter().filter_map(|bias| model.contents().stored(*bias).ok()) {
        values.add(&stored.data(&stored.peek(model.archive())?));
    }
    if let Some(shift) = shift {
        values.add(shift);
    }
    Ok(values)
}

/// Which elements share a scale.
pub(crate) fn layout(stored: &Stored, axis: Option<usize>) -> Option<ChannelLayout> {
    match axis {
        Some(axis) => stored.dense.per_channel(axis),
        None => stored.dense.per_tensor(),
    }
}
