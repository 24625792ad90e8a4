//! The example files belong together: the configs parse, the ranges are those of the model that lies beside them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::repository;
use quant_math::config::ConfigList;
use quant_math::ranges::{Ranges, fingerprint};
use quant_math::{QuantType, Quantizer};

fn config(name: &str, quantizer: Quantizer) -> ConfigList {
    let text = fs::read_to_string(repository("examples/configs").join(name)).unwrap();
    ConfigList::parse(&text, Some(quantizer)).unwrap_or_else(|errors| panic!("{name}: {errors:?}"))
}

#[test]
fn every_example_config_parses() {
    let qat = config("nni_qat.py.txt", Quantizer::Qat);
    assert_eq!(qat.entries.len(), 2);
    assert!(qat.uses(QuantType::Weight) && qat.uses(QuantType::Output));
    // NNI renamed the key; both spellings say the same.
    assert_eq!(
        config("nni_dorefa.py.txt", Quantizer::DoReFa).entries,
        config("nni_dorefa_q_bits.py.txt", Quantizer::DoReFa).entries
    );
    for name in ["tflite_int8.json", "tflite_int8_per_channel.json"] {
        assert!(config(name, Quantizer::Qat).uses(QuantType::Output), "{name}");
    }
    let known = [
        "nni_dorefa.py.txt",
        "nni_dorefa_q_bits.py.txt",
        "nni_qat.py.txt",
        "tflite_int8.json",
        "tflite_int8_per_channel.json",
    ];
    let mut names: Vec<_> = fs::read_dir(repository("examples/configs"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, known, "a config that this test does not know");
}

#[test]
fn the_example_ranges_are_the_example_models() {
    let ranges = Ranges::parse(&fs::read_to_string(repository("examples/ranges/digits.json")).unwrap()).unwrap();
    let model = fs::read(repository("examples/models/digits.pb")).unwrap();
    assert_eq!(ranges.model.file, "digits.pb");
    assert_eq!(ranges.model.fingerprint, fingerprint(crc32c::crc32c(&model), model.len() as u64));
    let input = ranges.find("image", QuantType::Output, "image:0").unwrap();
    assert_eq!((input.min, input.max), (0.0, 1.0), "pixels lie in 0..1");
    assert!(ranges.find("logits", QuantType::Output, "logits:0").is_some());
}
