//! What becomes of the sites of a plan.

use std::sync::Arc;

use quant_math::plan::{Reason, Site};
use quant_math::weights::WeightMap;

use super::weights::Observed;
use crate::codes;
use crate::torchscript::contents::Stored;

/// What is reported about a site besides its error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate {
    pub(crate) scale: Option<(f32, f32)>,
    pub(crate) spread: Option<f32>,
    /// The weight and its map, for the error.
    pub(crate) weight: Option<(Stored, Arc<WeightMap>)>,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
    /// Found out only with the values: why nothing was done after all.
    pub(crate) unchanged: Option<Reason>,
}

impl Fate {
    /// What is known of a site before anything is done.
    pub(crate) fn before(site: &Site) -> Self {
        let elements = site.shape.as_ref().map_or(0, |shape| shape.iter().fold(1, |n: u64, s| n.saturating_mul(*s)));
        let bytes = elements.saturating_mul(site.dtype.map_or(0, |dtype| dtype.size() as u64));
        Self { bytes_before: bytes, bytes_after: bytes, ..Self::default() }
    }

    pub(crate) fn observed(&mut self, observed: &Observed) {
        self.scale = observed.map.scale_span();
        self.spread = observed.spread;
        if *observed.map == WeightMap::Unchanged {
            self.unchanged = Some(Reason::new(codes::ALL_ZERO, "all weights are 0 and stay so"));
        } else {
            self.weight = Some((observed.stored.clone(), Arc::clone(&observed.map)));
        }
    }
}
