//! Weights of a plan: found again in the model, looked at, and how their values are made.

use std::borrow::Cow;
use std::sync::Arc;

use quant_math::DType;
use quant_math::data::{LittleEndian, write_little_endian};
use quant_math::plan::Settings;
use quant_math::weights::{ChannelLayout, WeightMap, observe};
use rayon::prelude::*;

use crate::archive::Archive;
use crate::error::Error;
use crate::model::{Model, StoreKey, Stored};
use crate::sites::heap::TensorId;

/// A weight site of a plan.
#[derive(Debug, Clone)]
pub(super) struct WeightSite {
    /// Its position in the plan.
    pub(super) site: usize,
    /// The tensor's name.
    pub(super) name: String,
    pub(super) tensor: TensorId,
    pub(super) settings: Settings,
}

/// A weight that was looked at.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub(super) site: WeightSite,
    pub(super) stored: Stored,
    pub(super) key: StoreKey,
    pub(super) map: Arc<WeightMap>,
}

/// Look at every weight once per way of quantizing it.
pub(super) fn observe_all(model: &Model, sites: Vec<WeightSite>) -> Result<Vec<Observed>, Error> {
    let mut firsts: Vec<(StoreKey, Settings)> = Vec::new();
    let mut found = Vec::new();
    for site in sites {
        let (Ok(stored), Some(key)) = (model.stored(site.tensor), model.store_key(site.tensor)) else {
            return Err(Error::Plan { message: format!("`{}` is not a tensor that can be quantized", site.name) });
        };
        let settings = Settings { entry: 0, ..site.settings };
        let number = firsts.iter().position(|first| *first == (key, settings)).unwrap_or_else(|| {
            firsts.push((key, settings));
            firsts.len() - 1
        });
        found.push((site, stored, key, number));
    }
    let first_of = |number: usize| found.iter().find(|(.., other)| *other == number);
    let maps: Vec<Arc<WeightMap>> = (0..firsts.len())
        .into_par_iter()
        .filter_map(first_of)
        .map(|(site, stored, ..)| observe_one(model.archive(), site, stored).map(Arc::new))
        .collect::<Result<_, _>>()?;
    let observed = found.iter().filter_map(|(site, stored, key, number)| {
        let map = Arc::clone(maps.get(*number)?);
        Some(Observed { site: site.clone(), stored: stored.clone(), key: *key, map })
    });
    Ok(observed.collect())
}

fn observe_one(archive: &Archive, site: &WeightSite, stored: &Stored) -> Result<WeightMap, Error> {
    let layout = layout(stored, site.settings.channel_axis)
        .ok_or_else(|| Error::Plan { message: format!("`{}` has no such channel axis", site.name) })?;
    let bytes = bytes(archive, stored)?;
    let data = LittleEndian::new(stored.dtype, &bytes);
    observe(&site.settings, layout, &data).map_err(|source| Error::Math { tensor: site.name.clone(), source })
}

/// Which elements share a scale.
pub(super) fn layout(stored: &Stored, axis: Option<usize>) -> Option<ChannelLayout> {
    match axis {
        Some(axis) => stored.dense.per_channel(axis),
        None => stored.dense.per_tensor(),
    }
}

/// The tensor's bytes.
pub(crate) fn bytes<'a>(archive: &'a Archive, stored: &Stored) -> Result<Cow<'a, [u8]>, Error> {
    let short = || Error::Plan { message: format!("record `{}` is too short", stored.record) };
    let span = usize::try_from(stored.span.start).ok().zip(usize::try_from(stored.span.end).ok());
    let (start, end) = span.ok_or_else(short)?;
    Ok(match archive.read(&stored.record)? {
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

/// Write the quantized values of the elements from byte `at` on into `out`.
pub(super) fn fill_values(map: &WeightMap, dtype: DType, bytes: &[u8], at: u64, out: &mut [u8]) {
    let size = dtype.size();
    let first = usize::try_from(at).unwrap_or(usize::MAX) / size;
    let count = out.len() / size;
    let data = LittleEndian::new(dtype, bytes);
    let source = quant_math::WeightData::chunk(&data, first..first.saturating_add(count));
    let mut values = vec![0.0; source.len()];
    map.values_into(first, &source, &mut values);
    write_little_endian(dtype, &values, out);
}

/// Write the codes of the elements from number `at` on into `out`.
pub(super) fn fill_codes(
    map: &WeightMap,
    dtype: DType,
    bytes: &[u8],
    at: u64,
    out: &mut [u8],
) -> Result<(), quant_math::MathError> {
    let first = usize::try_from(at).unwrap_or(usize::MAX);
    let data = LittleEndian::new(dtype, bytes);
    let source = quant_math::WeightData::chunk(&data, first..first.saturating_add(out.len()));
    map.codes_into(first, &source, bytemuck::cast_slice_mut(out))
}
