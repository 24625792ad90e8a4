//! The record that says what was done, so that a second run knows.

use std::collections::BTreeMap;

use quant_math::inspection::QuantizedSite;
use quant_math::plan::{Emit, Plan, QuantType, Quantizer, Settings};
use serde::{Deserialize, Serialize};

/// Where it lies; PyTorch hands records below `extra/` to `_extra_files`.
pub(crate) const RECORD: &str = "extra/quantization.json";
const VERSION: u32 = 1;

/// What was done to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    version: u32,
    /// Every run, in order.
    runs: Vec<Run>,
    /// Run and site of what was quantized, by op, kind and tensor; the first one of several.
    #[serde(skip)]
    places: BTreeMap<(String, QuantType, String), (usize, usize)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    quantizer: Quantizer,
    emit: Emit,
    sites: Vec<Done>,
}

/// A site that was quantized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    op: String,
    kind: QuantType,
    tensor: String,
    settings: Settings,
}

impl Mark {
    /// Read the record; `None` where it is not one of this version.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mark: Option<Self> = serde_json::from_str(text).ok();
        mark.filter(|mark| mark.version == VERSION).map(|mark| Self::of(mark.runs))
    }

    /// The record after `plan` was carried out on a model with the record `before`.
    pub(crate) fn after(before: Option<&Self>, plan: &Plan) -> Self {
        let mut runs = before.map_or_else(Vec::new, |mark| mark.runs.clone());
        let sites = plan.quantized().filter_map(|site| {
            let settings = *site.settings()?;
            Some(Done { op: site.op.clone(), kind: site.kind, tensor: site.tensor.clone(), settings })
        });
        runs.push(Run { quantizer: plan.quantizer, emit: plan.emit, sites: sites.collect() });
        Self::of(runs)
    }

    fn of(runs: Vec<Run>) -> Self {
        let mut places = BTreeMap::new();
        for (number, run) in runs.iter().enumerate() {
            for (site, done) in run.sites.iter().enumerate() {
                places.entry((done.op.clone(), done.kind, done.tensor.clone())).or_insert((number, site));
            }
        }
        Self { version: VERSION, runs, places }
    }

    /// As JSON, with a line end.
    pub(crate) fn text(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// Every site that is quantized.
    pub(crate) fn sites(&self) -> Vec<QuantizedSite> {
        let all = self.runs.iter().flat_map(|run| run.sites.iter().map(move |done| (run.emit, done)));
        let site = |(emit, done): (Emit, &Done)| QuantizedSite {
            op: done.op.clone(),
            kind: done.kind,
            tensor: done.tensor.clone(),
            settings: done.settings,
            emit,
        };
        all.map(site).collect()
    }

    /// The site, if it was quantized.
    pub(crate) fn find(&self, op: &str, kind: QuantType, tensor: &str) -> Option<&Settings> {
        let (run, site) = self.places.get(&(op.to_owned(), kind, tensor.to_owned()))?;
        self.runs.get(*run)?.sites.get(*site).map(|done| &done.settings)
    }
}

/// What was done, in the words of the `config_list`.
pub(crate) fn text(settings: &Settings) -> String {
    let granularity = if settings.channel_axis.is_some() { "per channel" } else { "per tensor" };
    format!("{} {} bits {granularity}", settings.quantizer, settings.bits)
}
