//! Training in PyTorch beside an eager straight-through reference: gradients, ranges, start step and outputs are the same bits.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{Framework, oracle, run_python};
use quant_math::config::ConfigList;
use quant_math::plan::Site;
use quant_math::{Emit, QuantType, Quantizer};
use serde_json::{Value, json};
use torch_adapter::{Model, PlanOptions};

const SCRIPT: &str = "tests/torch/check_training.py";

/// Name, quantizer, config.
const CONFIGS: [(&str, Quantizer, &str); 14] = [
    ("weights", Quantizer::Qat, "[{op_types: 'default', quant_types: ['weight'], quant_bits: 8}]"),
    ("weights per channel", Quantizer::Qat, "[{op_types: 'default', quant_types: ['weight'], quant_bits: 4, per_channel: true}]"),
    (
        "affine weights, input and output, from step 3",
        Quantizer::Qat,
        "[{op_types: ['default', 'ReLU', 'ReLU6'], quant_types: ['weight', 'input', 'output'],
           quant_bits: {weight: 5, input: 8, output: 6}, symmetric: false, quant_start_step: 3}]",
    ),
    (
        "affine weights per channel, symmetric activations, a fast average",
        Quantizer::Qat,
        "[{op_types: 'default', quant_types: ['weight', 'input', 'output'], quant_bits: 8, per_channel: true, ema_decay: 0.5,
           symmetric: {weight: false, input: true, output: true}}]",
    ),
    (
        "outputs, from step 1",
        Quantizer::Qat,
        "[{op_types: ['default', 'ReLU', 'ReLU6', 'AvgPool2d'], quant_types: ['output'], quant_bits: 8, quant_start_step: 1}]",
    ),
    (
        "two settings",
        Quantizer::Qat,
        "[{op_types: 'default', quant_types: ['weight', 'output'], quant_bits: 8},
          {op_names: ['fc', 'up'], quant_types: ['weight', 'input'], quant_bits: 3, per_channel: true, ema_decay: 0.9}]",
    ),
    ("dorefa", Quantizer::DoReFa, "[{op_types: 'default', q_bits: 4}]"),
    ("dorefa activations", Quantizer::DoReFa, "[{op_types: ['default', 'ReLU', 'ReLU6'], quant_types: ['weight', 'input', 'output'], q_bits: 8}]"),
    ("dorefa 1", Quantizer::DoReFa, "[{op_types: 'default', q_bits: 1}]"),
    ("lsq weights", Quantizer::Lsq, "[{op_types: 'default', quant_types: ['weight'], quant_bits: 2}]"),
    ("lsq weights per channel", Quantizer::Lsq, "[{op_types: 'default', quant_types: ['weight'], quant_bits: 4, per_channel: true}]"),
    (
        "lsq inputs and outputs",
        Quantizer::Lsq,
        "[{op_types: ['default', 'ReLU', 'ReLU6', 'AvgPool2d'], quant_types: ['weight', 'output'], quant_bits: 3},
          {op_names: ['fc'], quant_types: ['weight', 'input'], quant_bits: {weight: 8, input: 5}, per_channel: true}]",
    ),
    (
        "lsq on the grids that the entry names",
        Quantizer::Lsq,
        "[{op_types: ['default', 'ReLU'], quant_types: ['weight', 'output'], quant_bits: 4, symmetric: true},
          {op_names: ['conv', 'last'], quant_types: ['weight', 'input'], quant_bits: 4, symmetric: {input: false}}]",
    ),
    ("lsq inputs", Quantizer::Lsq, "[{op_types: 'default', quant_types: ['weight', 'input'], quant_bits: 2, per_channel: true}]"),
];

/// Write the training form of one archive; what the reference must know of it.
fn case(folder: &Path, form: &str, number: usize) -> Value {
    let (name, quantizer, text) = CONFIGS.get(number).unwrap();
    let config = ConfigList::parse(text, Some(*quantizer)).unwrap();
    let model = Model::open(folder.join(format!("net.{form}.pt"))).unwrap();
    let plan = model.plan(&config, PlanOptions { emit: Some(Emit::Training), ..PlanOptions::default() }).unwrap();
    // A frozen archive has no module names; its ops come in the order of the net's layers.
    let frozen = form == "freeze";
    let mut ops: Vec<&str> =
        plan.sites.iter().filter(|site| site.kind == QuantType::Weight).map(|s| s.op.as_str()).collect();
    ops.dedup();
    let layer = |op: &str| match ops.iter().position(|known| *known == op).filter(|_| frozen) {
        Some(number) => ["conv", "depthwise", "up", "fc", "last"].get(number).unwrap().to_string(),
        None => op.to_owned(),
    };
    let site = |site: &Site| json!({"op": layer(&site.op), "kind": site.kind, "settings": site.settings()});
    let sites: Vec<Value> = plan.quantized().map(site).collect();
    assert!(sites.len() >= 5, "{name} for {form}: {sites:?}");
    let archive = folder.join(format!("net.{form}.{number}.pt"));
    model.apply(&plan).unwrap().write_to(&archive).unwrap();
    json!({"name": name, "archive": archive, "sites": sites, "frozen": frozen})
}

#[test]
fn training_is_the_straight_through_reference_bit_for_bit() {
    let Some(python) = oracle(Framework::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    run_python(&python, SCRIPT, &["make".as_ref(), folder.path()], &[]);
    let mut cases = Vec::new();
    for (number, (_, _, config)) in CONFIGS.iter().enumerate() {
        for form in ["script", "trace", "freeze"] {
            if form != "freeze" || !config.contains("ReLU") && !config.contains("op_names") {
                cases.push(case(folder.path(), form, number));
            }
        }
    }
    assert_eq!(cases.len(), 2 * CONFIGS.len() + 8);
    let told = run_python(&python, SCRIPT, &["check"], &serde_json::to_vec(&cases).unwrap());
    assert_eq!(String::from_utf8(told).unwrap(), format!("{} archives\n", cases.len()));
}
