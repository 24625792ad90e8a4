//! The record that says what was done, so that a second run knows.

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
        serde_json::from_str(text).ok().filter(|mark: &Self| mark.version == VERSION)
    }

    /// The record after `plan` was carried out on a model with the record `before`.
    pub(crate) fn after(before: Option<&Self>, plan: &Plan) -> Self {
        let mut runs = before.map_or_else(Vec::new, |mark| mark.runs.clone());
        let sites = plan.quantized().filter_map(|site| {
            let settings = *site.settings()?;
            Some(Done { op: site.op.clone(), kind: site.kind, tensor: site.tensor.clone(), settings })
        });
        runs.push(Run { quantizer: plan.quantizer, emit: plan.emit, sites: sites.collect() });
        Self { version: VERSION, runs }
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
        let mut all = self.runs.iter().flat_map(|run| &run.sites);
        all.find(|done| done.op == op && done.kind == kind && done.tensor == tensor).map(|done| &done.settings)
    }
}

/// What was done, in the words of the `config_list`.
pub(crate) fn text(settings: &Settings) -> String {
    let granularity = if settings.channel_axis.is_some() { "per channel" } else { "per tensor" };
    format!("{} {} bits {granularity}", settings.quantizer, settings.bits)
}
