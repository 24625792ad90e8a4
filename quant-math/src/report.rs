//! The report: what was done to every site, and what it cost.

use serde::{Deserialize, Serialize};

use crate::codes;
use crate::fold::Folded;
use crate::metrics::Metrics;
use crate::plan::{Emit, QuantType, Quantizer, Reason, Site};
use crate::quantizers::table::StepSource;
use crate::reconstruct::Reconstructed;

/// What became of one site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteReport {
    /// The site, with the decision that was carried out.
    #[serde(flatten)]
    pub site: Site,
    /// The smallest and largest scale over the channels; equal where there is one. `None`: not quantized, or no scale exists (DoReFa).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<(f32, f32)>,
    /// How far the quantized values are from the float ones; weights only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Weights that were rounded by reconstruction: what the layer's output keeps, on the data of the moments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconstructed: Option<Gain>,
    /// How far apart the ranges of its channels are, where one scale serves all of them: [`channel_spread`](crate::weights::channel_spread).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_spread: Option<f32>,
    /// Bytes of the tensor in the input.
    pub bytes_before: u64,
    /// Bytes of the tensor in the output, scales included.
    pub bytes_after: u64,
}

/// What rounding a weight by reconstruction was worth: the signal-to-noise ratio of what its layer makes, in dB. `None`: no noise, or no signal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// With rounding to nearest.
    pub nearest_db: Option<f64>,
    /// With the codes that were written.
    pub output_db: Option<f64>,
}

impl Gain {
    /// From the shares of the output's power that both cost.
    pub fn of(made: &Reconstructed) -> Self {
        let ratio = |share: f64| (share > 0.0).then(|| -10.0 * share.log10());
        Self { nearest_db: ratio(made.nearest), output_db: ratio(made.error) }
    }
}

/// What `compress` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The quantizer.
    pub quantizer: Quantizer,
    /// The form of the output.
    pub emit: Emit,
    /// Every site of the plan, in its order.
    pub sites: Vec<SiteReport>,
    /// Bytes of the input file.
    pub bytes_before: u64,
    /// Bytes of the output file.
    pub bytes_after: u64,
    /// Nodes that were left out since no named output needs them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nodes_left_out: usize,
    /// What was done to the model before it was quantized, and keeps what it computes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepared: Vec<Reason>,
    /// The batch normalizations of the model, and which of them are in the layers before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folds: Vec<Folded>,
    /// What a user should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Below so many decibels of signal over quantization noise a site is worth a look: the noise has more than a hundredth of the signal's
/// power, a tenth of its amplitude. Weights of a bell's shape have some 40 dB with 8 bits, and 6 dB less with each bit less.
pub const LOW_SQNR_DB: f64 = 20.0;

/// Above this [`channel_spread`](crate::weights::channel_spread), one scale for the tensor costs the channel in the middle more than
/// three bits.
pub const WIDE_SPREAD: f32 = 8.0;

impl Report {
    /// What of a model that is not trained further is likely to hurt, each sort once, with the way out: weights whose channels have very
    /// different ranges and one scale, and weights that keep little signal over the noise.
    pub fn advice(&self) -> Vec<Reason> {
        let mut advice = Vec::new();
        let quantized = |site: &&SiteReport| site.site.kind == QuantType::Weight && site.site.settings().is_some();
        let weights = || self.sites.iter().filter(quantized);
        let wide =
            weights().filter_map(|site| Some((site, site.channel_spread.filter(|spread| *spread > WIDE_SPREAD)?)));
        let wide: Vec<_> = wide.collect();
        if let Some((worst, spread)) = wide.iter().max_by(|(_, a), (_, b)| a.total_cmp(b)) {
            advice.push(Reason::new(
                codes::CHANNELS_DIFFER,
                format!(
                    "one scale serves channels with very different ranges in {}, for example `{}` (largest over median {spread:.1}, more than \
                     {WIDE_SPREAD}): give each channel its own, with `per_channel: \"auto\"`, which is the default",
                    weights_of(wide.len()),
                    worst.site.op,
                ),
            ));
        }
        if self.quantizer.row().steps == StepSource::Levels || self.emit == Emit::Training {
            return advice;
        }
        let decibels = |site: &SiteReport| site.metrics.as_ref().and_then(|metrics| metrics.sqnr_db);
        // What reconstruction keeps is not each element.
        let low = weights()
            .filter(|site| site.reconstructed.is_none())
            .filter_map(|site| Some((site, decibels(site).filter(|db| *db < LOW_SQNR_DB)?)));
        let low: Vec<_> = low.collect();
        if let Some((worst, db)) = low.iter().min_by(|(_, a), (_, b)| a.total_cmp(b)) {
            advice.push(Reason::new(
                codes::LOW_SQNR,
                format!(
                    "quantization noise has more than a hundredth of the signal's power in {}, for example `{}` ({db:.1} dB, less than \
                     {LOW_SQNR_DB}): give it more bits, a scale per channel or `exclude: true`, or train with `qat`",
                    weights_of(low.len()),
                    worst.site.op,
                ),
            ));
        }
        advice
    }
}

fn weights_of(count: usize) -> String {
    if count == 1 { "1 weight".to_owned() } else { format!("{count} weights") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::plan::{Decision, Settings};

    fn report(quantizer: Quantizer, emit: Emit, sites: &[(&str, f64, Option<f32>)]) -> Report {
        let site = |(op, db, spread): &(&str, f64, Option<f32>)| SiteReport {
            site: Site {
                op: (*op).to_owned(),
                op_type: "Conv2D".to_owned(),
                kind: QuantType::Weight,
                tensor: format!("{op}/w"),
                dtype: None,
                shape: None,
                decision: Decision::Quantize(Settings::new(quantizer, 8)),
                range: None,
                steps: None,
            },
            scale: None,
            metrics: Some(Metrics { sqnr_db: Some(*db), max_error: 0.0, cosine: 1.0, mse: 0.0 }),
            reconstructed: None,
            channel_spread: *spread,
            bytes_before: 0,
            bytes_after: 0,
        };
        let sites = sites.iter().map(site).collect();
        Report {
            quantizer,
            emit,
            sites,
            bytes_before: 0,
            bytes_after: 0,
            nodes_left_out: 0,
            prepared: Vec::new(),
            folds: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn each_sort_of_trouble_is_told_once_with_the_worst() {
        let sites = [("a", 40.0, Some(8.0)), ("b", 19.9, Some(8.5)), ("c", 3.0, Some(100.0)), ("d", 20.0, None)];
        let told: Vec<_> = report(Quantizer::Naive, Emit::Baked, &sites).advice();
        let [differ, low] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((differ.code.as_str(), low.code.as_str()), ("channels-differ", "low-sqnr"));
        assert!(differ.text.contains("2 weights, for example `c` (largest over median 100.0"), "{}", differ.text);
        assert!(low.text.contains("2 weights, for example `c` (3.0 dB"), "{}", low.text);
        assert!(differ.text.contains("per_channel") && low.text.contains("more bits"), "the way out");
        assert_eq!(report(Quantizer::Naive, Emit::Baked, &sites[..1]).advice(), [], "8 and less is no trouble");
        // DoReFa's weights are others on purpose, and a training is going to move them.
        assert_eq!(report(Quantizer::DoReFa, Emit::Baked, &[("a", 1.0, None)]).advice(), []);
        assert_eq!(report(Quantizer::Qat, Emit::Training, &[("a", 1.0, None)]).advice(), []);
    }
}
