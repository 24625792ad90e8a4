//! Every small archive of `tests/models/torch` in every form of output: PyTorch loads, runs, trains, saves, copies and freezes each, and the
//! weights that it holds are quant-math's.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use common::{Framework, oracle, repository, run_python};
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter};
use quant_math::config::ConfigList;
use quant_math::plan::Reason;
use quant_math::ranges::{ModelId, Ranges};
use quant_math::weights::fake_quant_view;
use quant_math::{Emit, Plan, QuantType, Quantizer};
use serde_json::{Value, json};
use torch_adapter::{Fold, Model, PlanOptions};

const READER: &str = "tests/torch/reader.py";
const CHECK: &str = "tests/torch/check_archives.py";

/// Name, quantizer, config.
const CONFIGS: [(&str, Quantizer, &str); 8] = [
    ("naive", Quantizer::Naive, "[{op_types: 'default'}]"),
    ("naive per channel", Quantizer::Naive, "[{op_types: ['default', 'LSTM', 'GRU'], per_channel: true}]"),
    ("naive affine 5", Quantizer::Naive, "[{op_types: 'default', quant_bits: 5, symmetric: false, per_channel: true}]"),
    (
        "qat all",
        Quantizer::Qat,
        "[{op_types: 'default', quant_types: ['weight', 'input', 'output'], quant_bits: 8},
          {op_types: ['ReLU', 'ReLU6', 'Hardtanh', 'GELU', 'Softmax', 'LayerNorm'], quant_types: ['output'], quant_bits: 8}]",
    ),
    (
        "qat 4 per channel",
        Quantizer::Qat,
        "[{op_types: ['default', 'LSTM', 'GRU'], quant_types: ['weight', 'output'], quant_bits: {weight: 4, output: 6},
           per_channel: true, symmetric: {weight: false, output: true}, quant_start_step: 2}]",
    ),
    ("dorefa", Quantizer::DoReFa, "[{op_types: 'default', q_bits: 4}, {op_types: ['ReLU', 'ReLU6'], quant_types: ['output'], q_bits: 4}]"),
    ("dorefa 1", Quantizer::DoReFa, "[{op_types: 'default', q_bits: 1}]"),
    (
        "lsq",
        Quantizer::Lsq,
        "[{op_types: 'default', quant_types: ['weight', 'input'], quant_bits: 4, per_channel: true},
          {op_types: ['ReLU', 'ReLU6', 'Hardtanh', 'GELU', 'LSTM', 'GRU'], quant_types: ['weight', 'output'], quant_bits: 3}]",
    ),
];

fn sources() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(repository("tests/models/torch")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "pt"));
    paths.sort();
    assert!(paths.len() > 40, "the small archives are missing: {} found", paths.len());
    paths
}

/// What quant-math makes of the weights that the plan names.
fn expected(plan: &Plan, floats: &Path, out: &Path) {
    let mut reader = NpzReader::new(File::open(floats).unwrap()).unwrap();
    let mut writer = NpzWriter::new(File::create_new(out).unwrap());
    let mut written = Vec::new();
    for site in plan.quantized().filter(|site| site.kind == QuantType::Weight) {
        if written.contains(&&site.tensor) {
            continue;
        }
        let weights: ArrayD<f32> = reader.by_name::<_, IxDyn>(&format!("{}.npy", site.tensor)).unwrap();
        let values = fake_quant_view(site.settings().unwrap(), &weights.view()).unwrap();
        writer.add_array(site.tensor.as_str(), &values).unwrap();
        written.push(&site.tensor);
    }
    writer.finish().unwrap();
}

/// Write one form of one archive; its case, or `None` where the request does not exist.
fn case(source: &Path, floats: &Path, folder: &Path, number: usize, emit: Emit) -> Option<Value> {
    let (config_name, quantizer, text) = CONFIGS[number];
    let config = ConfigList::parse(text, Some(quantizer)).unwrap();
    let model = Model::open(source).unwrap();
    let ranges =
        (quantizer == Quantizer::Qat && emit == Emit::Inference).then(|| common::torch::ranges(&model, &config));
    // What the weights must be is made of the archive's own; `torch_fold` has other ones.
    let options = PlanOptions { emit: Some(emit), ranges: ranges.as_ref(), fold: Fold::Off, ..PlanOptions::default() };
    let plan = match model.plan(&config, options) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(error.code() == "T0501" && !quantizer.row().has(emit), "{quantizer} {emit}: {error}");
            return None;
        }
    };
    let file = source.file_stem().unwrap().to_string_lossy().into_owned();
    let output = folder.join(format!("{file}.{number}.{emit}.pt"));
    let expectation = folder.join(format!("{file}.{number}.{emit}.npz"));
    expected(&plan, floats, &expectation);
    let compressed = model.apply(&plan).unwrap();
    compressed.write_to(&output).unwrap();
    let is_copy = |reason: &&Reason| reason.code == "weight-copied";
    let copies: Vec<&str> =
        compressed.warnings().iter().filter(is_copy).filter_map(|reason| reason.text.split('`').nth(1)).collect();
    again(&output, &config, emit, ranges.as_ref());
    let weights: Vec<_> = plan.quantized().filter(|site| site.kind == QuantType::Weight).collect();
    let partial = plan.skipped().any(|(site, _)| site.kind == QuantType::Weight);
    Some(json!({
        "model": file.split('.').next().unwrap(), "config": config_name, "quantizer": quantizer, "emit": emit,
        "source": source, "output": output, "expected": expectation, "partial": partial,
        "weights": weights.iter().map(|site| json!({
            "tensor": site.tensor, "settings": site.settings(), "copied": copies.contains(&site.tensor.as_str()),
        })).collect::<Vec<_>>(),
    }))
}

/// Planning on our own output finds nothing to do.
fn again(output: &Path, config: &ConfigList, emit: Emit, ranges: Option<&Ranges>) {
    let model = Model::open(output).unwrap();
    let ranges = ranges.map(|ranges| {
        let model = ModelId { file: String::new(), fingerprint: model.fingerprint() };
        Ranges { model, ..ranges.clone() }
    });
    let options = PlanOptions { emit: Some(emit), ranges: ranges.as_ref(), strict: false, ..PlanOptions::default() };
    let plan = model.plan(config, options).unwrap();
    let left: Vec<_> = plan.quantized().map(|site| (&site.op, site.kind, &site.tensor)).collect();
    assert!(plan.is_empty(), "{} as {emit}: a second run would quantize {left:?}", output.display());
}

#[test]
fn every_archive_works_in_torch_after_every_emit() {
    let Some(python) = oracle(Framework::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    let sources = sources();
    let mut arguments = vec![folder.path().to_owned()];
    arguments.extend(sources.iter().cloned());
    run_python(&python, READER, &arguments, &[]);
    let mut cases = Vec::new();
    let mut emits: BTreeMap<Emit, usize> = BTreeMap::new();
    for source in &sources {
        let floats = folder.path().join(format!("{}.npz", source.file_name().unwrap().to_string_lossy()));
        for number in 0..CONFIGS.len() {
            for emit in [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training] {
                let Some(case) = case(source, &floats, folder.path(), number, emit) else { continue };
                cases.push(case);
                *emits.entry(emit).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(emits.len(), 4);
    let cases = serde_json::to_vec(&cases).unwrap();
    let told = run_python(&python, CHECK, &[repository("tests/models")], &cases);
    assert!(String::from_utf8(told).unwrap().ends_with("archives\n"), "the script did not reach its end");
}
