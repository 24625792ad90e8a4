//! The record that says what was done, so that a second run knows.

use std::collections::BTreeMap;

use quant_math::inspection::QuantizedSite;
use quant_math::plan::{Emit, Plan, QuantType, Quantizer, Settings};
use serde::{Deserialize, Serialize};

use crate::torchscript::heap::join;

/// Where it lies; PyTorch hands records below `extra/` to `_extra_files`.
pub(crate) const RECORD: &str = "extra/quantization.json";
const VERSION: u32 = 1;

/// The attribute of a quantizer of `training` that says which site it is, as JSON: `torch.jit.save` keeps attributes, and no records below
/// `extra/`.
pub(crate) const SITE: &str = "site";

/// What a quantizer of `training` says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainingSite {
    /// The path of the module that holds it, as it was then.
    pub(crate) home: String,
    pub(crate) op: String,
    pub(crate) kind: QuantType,
    pub(crate) tensor: String,
    pub(crate) settings: Settings,
}

impl TrainingSite {
    /// Read the attribute of a quantizer that the module `home` holds now; `None` where it is none of ours.
    pub(crate) fn parse(text: &str, home: &str) -> Option<Self> {
        let said: Self = serde_json::from_str(text).ok()?;
        // Whoever holds the whole model as a part of another one has put a path before its names.
        let before = home.strip_suffix(said.home.as_str())?;
        let before = if said.home.is_empty() || before.is_empty() { before } else { before.strip_suffix('.')? };
        let (op, tensor) = (join(before, &said.op), join(before, &said.tensor));
        Some(Self { home: home.to_owned(), op, tensor, ..said })
    }

    /// As JSON, for a quantizer that the module `home` holds. Settings are numbers and words: they always have a JSON form.
    pub(crate) fn text(&self, home: &str) -> String {
        let Self { op, kind, tensor, settings, .. } = self;
        serde_json::json!({ "home": home, "op": op, "kind": kind, "tensor": tensor, "settings": settings }).to_string()
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_found_where_the_model_is_a_part_of_another() {
        let settings = Settings::new(Quantizer::Qat, 8);
        let said = |home: &str, op: &str| {
            let (op, tensor) = (op.to_owned(), format!("{op}:output"));
            TrainingSite { home: String::new(), op, kind: QuantType::Output, tensor, settings }.text(home)
        };
        let found = |text: &str, home: &str| TrainingSite::parse(text, home).map(|site| (site.op, site.tensor));
        let names = |op: &str| Some((op.to_owned(), format!("{op}:output")));
        assert_eq!(found(&said("", "relu"), ""), names("relu"));
        assert_eq!(found(&said("", "relu"), "a.b"), names("a.b.relu"));
        assert_eq!(found(&said("m", "m.relu"), "m"), names("m.relu"));
        assert_eq!(found(&said("m", "m.relu"), "a.m"), names("a.m.relu"));
        for (text, home) in [(said("m", "m.relu"), "a.n"), (said("m", "m.relu"), "am"), ("{}".to_owned(), "")] {
            assert_eq!(found(&text, home), None);
        }
    }
}
