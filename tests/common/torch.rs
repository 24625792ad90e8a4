//! What the tests of TorchScript archives share.

use quant_math::config::ConfigList;
use quant_math::plan::{Observer, Site};
use quant_math::ranges::{ModelId, RANGES_VERSION, Ranges, SiteRange};
use quant_math::{Emit, QuantType, Range};
use torch_adapter::{Model, PlanOptions};

/// Every activation from −3 to 3: the ranges do not matter, that they arrive does.
pub(crate) fn ranges(model: &Model, config: &ConfigList) -> Ranges {
    let training = PlanOptions { emit: Some(Emit::Training), ..PlanOptions::default() };
    let plan = model.plan(config, training).expect("a config that can train");
    let range = Range::new(-3.0, 3.0).expect("a range");
    let range = |site: &Site| SiteRange::new(&site.op, site.kind, &site.tensor, range);
    Ranges {
        version: RANGES_VERSION,
        framework: "torch 1.13.0".to_owned(),
        model: ModelId { file: "model.pt".to_owned(), fingerprint: model.fingerprint() },
        config: None,
        observer: Observer::MinMax,
        samples: 1,
        batch: None,
        folded: Vec::new(),
        ranges: plan.quantized().filter(|site| site.kind != QuantType::Weight).map(range).collect(),
    }
}
