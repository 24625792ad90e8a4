//! What was written before is written again, byte for byte: SHA-256 of outputs, recorded in `golden/outputs.txt`.
//!
//! A change that is meant to change them replaces the file with what the test prints, and says in the changelog why. The first lines were recorded
//! before the files of both adapters were put into wings, and are what they were, but for archives of `training`: their quantizers say since then
//! which site they are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use quant_math::Emit;
use quant_math::config::ConfigList;
use quant_math::ranges::Ranges;
use sha2::{Digest as _, Sha256};

const RECORDED: &str = include_str!("golden/outputs.txt");

const EMITS: [Emit; 4] = [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training];

/// Name, and the config with its quantizer.
const CONFIGS: [(&str, &str); 7] = [
    ("naive", "{quantizer: 'naive', config_list: [{op_types: 'default'}]}"),
    ("nni", "{quantizer: 'naive', preset: 'nni', config_list: [{op_types: 'default'}]}"),
    ("qat_4", "{quantizer: 'qat', config_list: [{op_types: 'default', quant_types: ['weight'], quant_bits: 4}]}"),
    (
        "qat_live",
        "{quantizer: 'qat', config_list: [{op_types: ['default', 'ReLU6'], quant_types: ['weight', 'output'], quant_bits: 8}]}",
    ),
    ("dorefa_4", "{quantizer: 'dorefa', config_list: [{op_types: 'default', quant_bits: 4}]}"),
    (
        "dorefa_1",
        "{quantizer: 'dorefa', config_list: [{op_types: 'default', quant_bits: 1}, {op_types: 'ReLU6', quant_types: ['output'], quant_bits: 2}]}",
    ),
    (
        "lsq_2",
        "{quantizer: 'lsq', config_list: [{op_types: ['default', 'ReLU6'], quant_types: ['weight', 'output'], quant_bits: 2, per_channel: true}]}",
    ),
];

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn graph(path: &Path, config: &ConfigList, emit: Emit, ranges: Option<&Ranges>) -> Option<Vec<u8>> {
    let graph = tf_rewriter::Graph::open(path).unwrap();
    let options = tf_rewriter::PlanOptions { emit: Some(emit), ranges, ..tf_rewriter::PlanOptions::default() };
    let plan = graph.plan(config, options).ok()?;
    let mut bytes = Vec::new();
    graph.apply(&plan).unwrap().write(&mut bytes).unwrap();
    Some(bytes)
}

fn archive(path: &Path, config: &ConfigList, emit: Emit) -> Option<Vec<u8>> {
    let model = torch_adapter::Model::open(path).unwrap();
    let options = torch_adapter::PlanOptions { emit: Some(emit), ..torch_adapter::PlanOptions::default() };
    let plan = model.plan(config, options).ok()?;
    let mut bytes = Vec::new();
    model.apply(&plan).unwrap().write(&mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn outputs_are_what_they_were() {
    let ranges = Ranges::parse(&fs::read_to_string(root("examples/ranges/digits.json")).unwrap()).unwrap();
    let models = [
        "examples/models/digits.pb",
        "examples/models/digits_script.pt",
        "examples/models/digits_traced.pt",
        "tests/models/torch/mobile.freeze.pt",
    ];
    let mut found = String::new();
    for model in models {
        for (name, text) in CONFIGS {
            let config = ConfigList::parse(text, None).unwrap();
            for emit in EMITS {
                let path = root(model);
                let bytes = if Path::new(model).extension().is_some_and(|end| end == "pb") {
                    graph(&path, &config, emit, (name == "qat_live").then_some(&ranges))
                } else {
                    archive(&path, &config, emit)
                };
                // A form that the config does not have, or that needs ranges which an archive has not.
                let Some(bytes) = bytes else { continue };
                let hash: String = Sha256::digest(&bytes).iter().take(12).fold(String::new(), |mut text, byte| {
                    write!(text, "{byte:02x}").unwrap();
                    text
                });
                writeln!(found, "{model} {name} {emit} {hash}").unwrap();
            }
        }
    }
    assert!(found == RECORDED, "outputs have changed; what is written now:\n{found}");
}
