//! Weights of a plan: found again in the model, looked at, and how their values are made.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quant_math::data::LittleEndian;
use quant_math::plan::Settings;
use quant_math::quantizers::lsq;
use quant_math::weights::{Biases, ChannelLayout, WeightMap, has_floor, observe_with_spread};
use rayon::prelude::*;

use crate::error::Error;
use crate::find::model::Model;
use crate::torchscript::archive::Archive;
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
    pub(crate) map: Arc<WeightMap>,
    /// What is added to its channels.
    pub(crate) biases: Arc<Biases>,
    /// How far apart the ranges of its channels are, where one scale serves all.
    pub(crate) spread: Option<f32>,
}

/// How a weight is quantized: the settings, and the steps that were learnt.
type Way = (Settings, Option<Vec<f32>>);

/// Look at every weight once per way of quantizing it.
pub(crate) fn observe_all(model: &Model, sites: Vec<WeightSite>) -> Result<Vec<Observed>, Error> {
    // By weight: every way of quantizing it, with its number; by number: the first site.
    let mut ways: BTreeMap<StoreKey, Vec<(Way, usize)>> = BTreeMap::new();
    let mut firsts = Vec::new();
    // Ops that share a weight share its scales: the largest of their biases counts.
    let mut biases: Vec<BTreeSet<TensorId>> = Vec::new();
    let mut found = Vec::new();
    for site in sites {
        let (Ok(stored), Some(key)) = (model.contents().stored(site.tensor), model.contents().store_key(site.tensor))
        else {
            return Err(Error::Plan { message: format!("`{}` is not a tensor that can be quantized", site.name) });
        };
        let way = (Settings { entry: 0, ..site.settings }, site.steps.clone());
        let ways = ways.entry(key).or_default();
        let known = ways.iter().find(|(known, _)| *known == way).map(|(_, number)| *number);
        let number = known.unwrap_or_else(|| {
            ways.push((way, firsts.len()));
            firsts.push(found.len());
            biases.push(BTreeSet::new());
            firsts.len() - 1
        });
        if let Some(biases) = biases.get_mut(number) {
            biases.extend(&site.biases);
        }
        found.push((site, stored, key, number));
    }
    let maps: Vec<Looked> = firsts
        .par_iter()
        .zip(&biases)
        .filter_map(|(first, biases)| Some((found.get(*first)?, biases)))
        .map(|((site, stored, ..), biases)| observe_one(model, site, stored, biases))
        .collect::<Result<_, _>>()?;
    let observed = found.iter().filter_map(|(site, stored, key, number)| {
        let Looked { map, biases, spread } = maps.get(*number)?.clone();
        Some(Observed { site: site.clone(), stored: stored.clone(), key: *key, map, biases, spread })
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

fn observe_one(
    model: &Model,
    site: &WeightSite,
    stored: &Stored,
    biases: &BTreeSet<TensorId>,
) -> Result<Looked, Error> {
    let archive = model.archive();
    let layout = layout(stored, site.settings.channel_axis)
        .ok_or_else(|| Error::Plan { message: format!("`{}` has no such channel axis", site.name) })?;
    let bytes = cut(archive.peek(&stored.record)?, stored)?;
    let data = LittleEndian::new(stored.dtype, &bytes);
    let channels = site.axis.and_then(|axis| stored.dense.per_channel(axis));
    let biases = Arc::new(values(model, site, layout, biases)?);
    let observed = match &site.steps {
        Some(steps) => lsq::learnt(&site.settings, layout, steps, &data).map(|map| (map, None)),
        None => observe_with_spread(&site.settings, layout, &biases, channels, &data),
    };
    let observed = observed.map(|(map, spread)| Looked { map: Arc::new(map), biases, spread });
    observed.or_else(|source| {
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
    if biases.is_empty() || !has_floor(&site.settings) {
        return Ok(Biases::default());
    }
    let mut values = Biases::none(layout.channels);
    for stored in biases.iter().filter_map(|bias| model.contents().stored(*bias).ok()) {
        values.add(&LittleEndian::new(stored.dtype, &cut(model.archive().peek(&stored.record)?, &stored)?));
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

/// The tensor's bytes.
pub(crate) fn bytes<'a>(archive: &'a Archive, stored: &Stored) -> Result<Cow<'a, [u8]>, Error> {
    cut(archive.read(&stored.record)?, stored)
}

fn cut<'a>(record: Cow<'a, [u8]>, stored: &Stored) -> Result<Cow<'a, [u8]>, Error> {
    let short = || Error::Plan { message: format!("record `{}` is too short", stored.record) };
    let span = usize::try_from(stored.span.start).ok().zip(usize::try_from(stored.span.end).ok());
    let (start, end) = span.ok_or_else(short)?;
    Ok(match record {
        Cow::Borrowed(record) => Cow::Borrowed(record.get(start..end).ok_or_else(short)?),
        Cow::Owned(mut record) => {
            record.truncate(end);
            if record.len() < end {
                return Err(short());
            }
            record.drain(..start);
            Cow::Owned(record)
        }
    })
}
