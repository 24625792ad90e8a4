//! `inspect` of what was quantized: which sites, and how.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::borrow::Cow;

use common::{model, open};
use quant_math::config::ConfigList;
use quant_math::inspection::Inspection;
use quant_math::{Emit, QuantType, Quantizer};
use torch_adapter::archive::{Body, Edits, write};
use torch_adapter::{Model, PlanOptions};

fn compressed(quantizer: Quantizer, types: &str, emit: Emit) -> Vec<u8> {
    let config = format!("[{{op_types: 'default', quant_types: [{types}], quant_bits: 4, per_channel: true}}]");
    let config = ConfigList::parse(&config, Some(quantizer)).unwrap();
    let model = Model::from_bytes(model("mlp.script.pt")).unwrap();
    let plan = model.plan(&config, PlanOptions { emit: Some(emit), ..PlanOptions::default() }).unwrap();
    let mut out = Vec::new();
    model.apply(&plan).unwrap().write(&mut out).unwrap();
    out
}

fn inspect(bytes: Vec<u8>) -> Inspection {
    Model::from_bytes(bytes).unwrap().inspect().unwrap()
}

#[test]
fn inference_and_training_say_what_is_quantized_and_how() {
    let inference = inspect(compressed(Quantizer::Naive, "'weight'", Emit::Inference));
    assert!(!inference.quantized.is_empty());
    for site in &inference.quantized {
        assert_eq!((site.kind, site.emit, site.settings.bits), (QuantType::Weight, Emit::Inference, 4));
        assert!(site.settings.quantizer == Quantizer::Naive && site.settings.channel_axis.is_some());
    }
    let training = inspect(compressed(Quantizer::Qat, "'weight', 'output'", Emit::Training));
    let kinds: Vec<QuantType> = training.quantized.iter().map(|site| site.kind).collect();
    assert!(kinds.contains(&QuantType::Weight) && kinds.contains(&QuantType::Output));
    assert!(training.quantized.iter().all(|site| site.emit == Emit::Training && site.settings.bits == 4));
    // Every quantizer is a module, which says what it is.
    assert_eq!(training.ranges.len(), training.quantized.len());
    assert_eq!(inference.weights.len(), training.weights.len());
}

#[test]
fn each_weight_says_how_it_is_quantized() {
    let said =
        |bytes| -> Vec<Option<String>> { inspect(bytes).weights.into_iter().map(|weight| weight.quantized).collect() };
    let float = said(model("mlp.script.pt"));
    assert!(!float.is_empty() && float.iter().all(Option::is_none));
    for (quantizer, emits) in [
        (Quantizer::Naive, &[Emit::Baked, Emit::Packed, Emit::Inference][..]),
        (Quantizer::Qat, &[Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training]),
    ] {
        for emit in emits {
            let how = Some(format!("{quantizer} 4 bits per channel"));
            assert_eq!(said(compressed(quantizer, "'weight'", *emit)), vec![how; float.len()], "{quantizer}, {emit}");
        }
    }
}

/// `torch.jit.save` does not keep the record of what was done.
#[test]
fn quantizers_say_how_they_quantize_without_a_record_of_it() {
    let bytes = compressed(Quantizer::Qat, "'weight', 'output'", Emit::Training);
    let mut edits = Edits::new();
    edits.remove("extra/quantization.json");
    let mut out = Vec::new();
    write(&open(bytes), &edits, &mut out, &|_| {}).unwrap();
    let found = inspect(out);
    assert!(found.quantized.is_empty());
    let types: std::collections::BTreeSet<&str> = found.ranges.iter().map(|info| info.op_type.as_str()).collect();
    assert_eq!(types.into_iter().collect::<Vec<_>>(), ["RangeAffine", "WeightSymmetricPerChannel"]);
    assert!(found.ranges.iter().all(|info| info.bits == Some(4)));
    assert!(found.ranges.iter().any(|info| info.op.ends_with("weight_quantizer")));
}

/// What a quantizer is called may change: it says itself which tensor it quantizes.
#[test]
fn names_of_quantizers_say_nothing() {
    let bytes = compressed(Quantizer::Qat, "'weight', 'input', 'output'", Emit::Training);
    let archive = open(bytes.clone());
    let mut edits = Edits::new();
    for record in archive.records().filter(|record| *record == "data.pkl" || record.starts_with("code/")) {
        let mut content = archive.read(record).unwrap().into_owned();
        let (old, new) = (b"_quantizer", b"_something");
        while let Some(at) = content.windows(old.len()).position(|window| window == old) {
            content.splice(at..at + old.len(), *new);
        }
        edits.replace(record, Body::Bytes(Cow::Owned(content)));
    }
    let mut renamed = Vec::new();
    write(&archive, &edits, &mut renamed, &|_| {}).unwrap();
    let sites = |bytes: Vec<u8>| -> Vec<_> {
        let frozen = Model::from_bytes(bytes).unwrap().freeze(Emit::Inference).unwrap();
        frozen.plan().sites.iter().map(|site| (site.op.clone(), site.kind, site.tensor.clone())).collect()
    };
    let mut expected: Vec<_> =
        inspect(bytes.clone()).quantized.into_iter().map(|it| (it.op, it.kind, it.tensor)).collect();
    let (mut found, again) = (sites(bytes), sites(renamed));
    assert_eq!(found, again);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}
