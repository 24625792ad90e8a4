//! What becomes of the sites of a plan while it is carried out, and the report that tells it.

use std::collections::BTreeMap;

use crate::codes;
use crate::metrics::Metrics;
use crate::plan::{Decision, Plan, Reason, Site};
use crate::report::{Gain, Report, SiteReport};
use crate::weights::WeightMap;

/// How far a weight's values are from the float ones.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Cost {
    /// It has none: it is no weight, or its values are not made.
    #[default]
    Nothing,
    /// So far.
    Measured(Metrics),
    /// It is found out where the weight with this number is written.
    Written(usize),
}

/// What is reported about a site besides what the plan says of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fate {
    /// The smallest and the largest scale over the channels.
    pub scale: Option<(f32, f32)>,
    /// How far apart the ranges of its channels are, where one scale serves all.
    pub spread: Option<f32>,
    /// The error of a weight.
    pub cost: Cost,
    /// What rounding it by reconstruction was worth.
    pub reconstructed: Option<Gain>,
    /// Bytes of the tensor in the input.
    pub bytes_before: u64,
    /// Bytes of the tensor in the output, scales included.
    pub bytes_after: u64,
    /// Found out only with the values: why nothing was done after all.
    pub unchanged: Option<Reason>,
}

impl Fate {
    /// What is known of the sites of a plan before anything is done.
    pub fn all_of(plan: &Plan) -> Vec<Self> {
        plan.sites.iter().map(Self::before).collect()
    }

    fn before(site: &Site) -> Self {
        let elements = site.shape.as_ref().map_or(0, |shape| shape.iter().fold(1, |n: u64, s| n.saturating_mul(*s)));
        let bytes = elements.saturating_mul(site.dtype.map_or(0, |dtype| dtype.size() as u64));
        Self { bytes_before: bytes, bytes_after: bytes, ..Self::default() }
    }

    /// What a look at a weight has shown: its map, and how far apart the ranges of its channels are.
    pub fn observed(&mut self, map: &WeightMap, spread: Option<f32>) {
        self.scale = map.scale_span();
        self.spread = spread;
        if *map == WeightMap::Unchanged {
            self.unchanged = Some(Reason::new(codes::ALL_ZERO, "all weights are 0 and stay so"));
        }
    }

    fn report(&self, site: &Site, written: &BTreeMap<usize, Metrics>) -> SiteReport {
        let mut site = site.clone();
        if let Some(reason) = &self.unchanged {
            site.decision = Decision::Skip(reason.clone());
        }
        let metrics = match self.cost {
            Cost::Nothing => None,
            Cost::Measured(metrics) => Some(metrics),
            Cost::Written(number) => written.get(&number).copied(),
        };
        let Self { scale, reconstructed, spread: channel_spread, bytes_before, bytes_after, .. } = *self;
        SiteReport { site, scale, metrics, reconstructed, channel_spread, bytes_before, bytes_after }
    }
}

impl Report {
    /// The report of a plan that was carried out, from the fates of its sites and the errors of weights that were `written`, by their numbers.
    /// What it says of whole files is for the adapter to fill in.
    pub fn of(plan: &Plan, fates: &[Fate], written: &BTreeMap<usize, Metrics>) -> Self {
        Self {
            quantizer: plan.quantizer,
            emit: plan.emit,
            sites: plan.sites.iter().zip(fates).map(|(site, fate)| fate.report(site, written)).collect(),
            bytes_before: 0,
            bytes_after: 0,
            nodes_left_out: 0,
            prepared: plan.prepared.clone(),
            folds: plan.folds.clone(),
            warnings: plan.warnings.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Gradient, PLAN_VERSION, Settings};
    use crate::{DType, Emit, QuantType, Quantizer};

    #[test]
    fn a_site_is_reported_as_it_ended() {
        let settings = Settings::new(Quantizer::DoReFa, 4);
        let site = Site {
            op: "conv".to_owned(),
            op_type: "Conv2D".to_owned(),
            kind: QuantType::Weight,
            tensor: "w".to_owned(),
            dtype: Some(DType::F16),
            shape: Some(vec![3, 5]),
            decision: Decision::Quantize(settings),
            range: None,
            steps: None,
        };
        let plan = Plan {
            version: PLAN_VERSION,
            quantizer: Quantizer::DoReFa,
            emit: Emit::Baked,
            gradient: Gradient::default(),
            sites: vec![site.clone(), site.clone(), site.clone()],
            prepared: Vec::new(),
            folds: Vec::new(),
            warnings: vec![Reason::new(codes::DOREFA_RESCALES, "it does")],
        };
        let mut fates = Fate::all_of(&plan);
        let exact = Metrics::of(&[1.0], &[1.0]);
        let near = Metrics::of(&[1.0], &[0.5]);
        let [zero, written, measured] = fates.as_mut_slice() else { panic!("three sites") };
        zero.observed(&WeightMap::Unchanged, None);
        written.observed(&WeightMap::Sign { mean_abs: 1.0 }, Some(2.0));
        (written.cost, measured.cost) = (Cost::Written(7), Cost::Measured(near));
        let report = Report::of(&plan, &fates, &BTreeMap::from([(7, exact)]));
        let [zero, written, measured] = report.sites.as_slice() else { panic!("three sites") };
        assert!(matches!(&zero.site.decision, Decision::Skip(reason) if reason.is(codes::ALL_ZERO)));
        assert_eq!((zero.metrics, zero.bytes_before, zero.bytes_after), (None, 30, 30));
        assert_eq!((&written.site, written.metrics, written.channel_spread), (&site, Some(exact), Some(2.0)));
        assert_eq!(measured.metrics, Some(near));
        assert_eq!(report.warnings, plan.warnings);
    }
}
