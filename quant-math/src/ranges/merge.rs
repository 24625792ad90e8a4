//! Several ranges files as one: the parts of a data set that were run apart.

use std::collections::{BTreeMap, BTreeSet};

use super::{Calibration, Ranges, RangesError, SiteRange, version_for};
use crate::plan::{Observer, QuantType};
use crate::range::Range;

type Key = (String, QuantType, String);

impl Ranges {
    /// The ranges over everything that the files were measured on, in the order of the list.
    ///
    /// All are of one model, one config and the same observers. That no sample is in two of them is the caller's word. Exact
    /// (what one run gives, bit for bit, at any split and order) for every observer but `ema`, which depends on the order of the
    /// batches: there it is one run over the parts in this order, up to rounding. Smallest and largest values can be joined
    /// without statistics.
    ///
    /// # Errors
    /// [`RangesError`] with the position of the file that does not fit the first one.
    pub fn merge(parts: Vec<Self>) -> Result<Self, RangesError> {
        let mut parts = parts.into_iter().enumerate();
        let (_, mut whole) = parts.next().ok_or(RangesError::Nothing)?;
        let (order, mut sites) = keyed(0, std::mem::take(&mut whole.ranges))?;
        for (part, other) in parts {
            whole.check_head(part, &other)?;
            whole.samples = whole.samples.checked_add(other.samples).ok_or(RangesError::Samples)?;
            whole.framework = joined_names(&whole.framework, &other.framework);
            let (other_order, mut others) = keyed(part, other.ranges)?;
            for key in &order {
                let missing = || {
                    let (site, kind, tensor) = key.clone();
                    RangesError::Missing { part, site, kind, tensor }
                };
                let other = others.remove(key).ok_or_else(missing)?;
                let entry = sites.remove(key).ok_or_else(missing)?;
                sites.insert(key.clone(), join(part, whole.observer, entry, other)?);
            }
            if let Some((site, kind, tensor)) = other_order.into_iter().find(|key| others.contains_key(key)) {
                return Err(RangesError::Unexpected { part, site, kind, tensor });
            }
        }
        let ranges = order.iter().filter_map(|key| sites.remove(key)).collect();
        Ok(Self { version: version_for(&whole.folded), batch: None, ranges, ..whole })
    }

    fn check_head(&self, part: usize, other: &Self) -> Result<(), RangesError> {
        let differ = |what: &str, found: String, expected: String| {
            Err(RangesError::Differ { part, what: what.to_owned(), found, expected })
        };
        if other.model.fingerprint != self.model.fingerprint {
            let shown = |ranges: &Self| format!("`{}` ({})", ranges.model.file, ranges.model.fingerprint);
            return differ("the model", shown(other), shown(self));
        }
        if other.config != self.config {
            let shown = |ranges: &Self| ranges.config.clone().unwrap_or_else(|| "not named".to_owned());
            return differ("the config", shown(other), shown(self));
        }
        if other.folded != self.folded {
            let shown = |ranges: &Self| format!("{} of them", ranges.folded.len());
            return differ("the layers that had taken batch normalizations", shown(other), shown(self));
        }
        if other.observer != self.observer {
            return differ("the observer", other.observer.to_string(), self.observer.to_string());
        }
        Ok(())
    }
}

/// The entries by what they belong to, with their order.
fn keyed(part: usize, entries: Vec<SiteRange>) -> Result<(Vec<Key>, BTreeMap<Key, SiteRange>), RangesError> {
    let (mut order, mut sites) = (Vec::with_capacity(entries.len()), BTreeMap::new());
    for entry in entries {
        let key = (entry.site.clone(), entry.kind, entry.tensor.clone());
        if sites.insert(key.clone(), entry).is_some() {
            let (site, kind, tensor) = key;
            return Err(RangesError::Unexpected { part, site, kind, tensor });
        }
        order.push(key);
    }
    Ok((order, sites))
}

fn join(part: usize, observer: Observer, first: SiteRange, other: SiteRange) -> Result<SiteRange, RangesError> {
    let (site, kind) = (first.site.clone(), first.kind);
    match (first.calibration, other.calibration) {
        (Some(a), Some(b)) => {
            same_settings(part, &site, kind, &a, &b)?;
            let joined = a.merge(b).and_then(|joined| SiteRange::measured(site.clone(), kind, first.tensor, joined));
            joined.map_err(|source| RangesError::Statistics { part, site, kind, source })
        }
        // The smallest and the largest value are their own statistics.
        (a, b) if [&a, &b].into_iter().all(|c| c.as_ref().map_or(observer, |c| c.observer) == Observer::MinMax) => {
            let range = Range { min: first.min, max: first.max }.merge(Range { min: other.min, max: other.max });
            Ok(SiteRange::new(site, kind, first.tensor, range))
        }
        (a, _) => Err(RangesError::NoStatistics { part: if a.is_none() { 0 } else { part }, site, kind }),
    }
}

fn same_settings(
    part: usize,
    site: &str,
    kind: QuantType,
    first: &Calibration,
    other: &Calibration,
) -> Result<(), RangesError> {
    let shown = |c: &Calibration| {
        let symmetry = if c.symmetric { "symmetric" } else { "asymmetric" };
        format!("{}, {} bits, {symmetry}", c.observer, c.bits)
    };
    let (found, expected) = (shown(other), shown(first));
    if found == expected {
        return Ok(());
    }
    Err(RangesError::Differ { part, what: format!("the calibration of the {kind} of `{site}`"), found, expected })
}

/// The names of both, each once.
fn joined_names(a: &str, b: &str) -> String {
    let names: BTreeSet<&str> = a.split(", ").chain(b.split(", ")).filter(|name| !name.is_empty()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
