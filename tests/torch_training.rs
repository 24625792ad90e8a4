//! The digits archives trained by stock PyTorch: accuracy against float and against the untrained archive, NNI's documented configuration
//! from start to end, and what `freeze` makes of a trained archive.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{Framework, oracle, repository, run_python};
use quant_math::config::ConfigList;
use quant_math::{Emit, QuantType, Quantizer};
use serde_json::{Value, json};
use torch_adapter::{Model, PlanOptions};

fn quantizer(name: &str) -> Quantizer {
    Quantizer::named(name).unwrap_or_else(|| panic!("no quantizer {name:?} in the table"))
}

fn compress(archive: &Path, config: &ConfigList, emit: Emit, out: &Path) {
    let model = Model::open(archive).unwrap();
    let plan = model.plan(config, PlanOptions { emit: Some(emit), ..PlanOptions::default() }).unwrap();
    model.apply(&plan).unwrap().write_to(out).unwrap();
}

/// Freezes a trained archive in every way and compares the results with it in PyTorch; see the script.
fn check_frozen(python: &Path, trained: &Path) {
    let mut paths = vec![trained.to_owned()];
    let mut weights = Value::Null;
    for emit in [Emit::Inference, Emit::Baked, Emit::Packed] {
        let frozen = Model::open(trained).unwrap().freeze(emit).unwrap();
        let plan = frozen.plan();
        let quantized: serde_json::Map<String, Value> = plan
            .quantized()
            .filter(|site| site.kind == QuantType::Weight)
            .map(|site| {
                let settings = site.settings().unwrap();
                let value = json!({ "bits": settings.bits, "per_channel": settings.channel_axis.is_some() });
                (format!("{}.weight", site.op), value)
            })
            .collect();
        let said = json!({ "quantizer": plan.quantizer, "weights": quantized });
        assert!(weights.is_null() || weights == said, "{emit}: {said}, before {weights}");
        weights = said;
        let out = trained.with_extension(format!("{emit}.pt"));
        frozen.write_to(&out).unwrap();
        paths.push(out);
    }
    run_python(python, "tests/torch/check_frozen.py", &paths, weights.to_string().as_bytes());
}

/// The table of the README with a third of its budget, and the demands on each row; every trained archive is then frozen.
#[test]
fn training_brings_the_accuracy_back() {
    let Some(python) = oracle(Framework::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let table = fs::read_to_string(repository("tests/torch/train_table.json")).unwrap();
    let table: Value = serde_json::from_str(&table).unwrap();
    let archive = repository(table["archive"].as_str().unwrap());
    let rows = table["rows"].as_array().unwrap();
    for row in rows {
        let quantizer = quantizer(row["quantizer"].as_str().unwrap());
        let config = ConfigList::parse(&row["config_list"].to_string(), Some(quantizer)).unwrap();
        let name = row["name"].as_str().unwrap();
        compress(&archive, &config, Emit::Training, &folder.join(format!("{name}.training.pt")));
        if quantizer.row().has(Emit::Baked) {
            compress(&archive, &config, Emit::Baked, &folder.join(format!("{name}.baked.pt")));
        }
    }

    let arguments = [folder.to_str().unwrap(), "--epochs", "7"];
    let scores = run_python(&python, "tests/torch/train_table.py", &arguments, b"");
    let scores: Value = serde_json::from_slice(&scores).unwrap();
    let scores = &scores["rows"];
    let baked = |name: &str| scores[name]["baked"].as_f64().unwrap();
    let trained = |name: &str| {
        let seeds: Vec<f64> = scores[name]["trained"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
        assert_eq!(seeds.len(), table["seeds"].as_array().unwrap().len(), "{name}");
        seeds.iter().sum::<f64>() / f64::from(u32::try_from(seeds.len()).unwrap())
    };
    // Float before and after the same training: the better one is the measure.
    let float = trained("float").max(baked("float"));
    for (name, least) in [
        ("qat_w8a8", float - 1.0),
        ("qat_w4a8", float - 1.0),
        ("qat_w3a8_channel", baked("qat_w3a8_channel") + 1.0),
        ("qat_w2a8_channel", baked("qat_w2a8_channel") + 10.0),
        ("lsq_w4a8", float - 1.0),
        ("lsq_w3a8_channel", float - 2.0),
        ("lsq_w2a8_channel", trained("qat_w2a8_channel") + 1.0),
        ("lsq_w2a2_channel", trained("qat_w2a2_channel") + 5.0),
        ("dorefa_w8a8", float - 3.0),
        ("dorefa_w4a4", float - 3.0),
    ] {
        assert!(trained(name) >= least, "{name}: {:.2} %, expected at least {least:.2} %; {scores}", trained(name));
    }

    for row in rows {
        let name = row["name"].as_str().unwrap();
        let trained = folder.join(format!("{name}.trained.0.pt"));
        check_frozen(&python, &trained);
    }
}

/// The configuration of NNI's documentation as it stands, on the scripted and the traced archive: quantized, trained, frozen.
#[test]
fn the_documented_configuration_trains() {
    let Some(python) = oracle(Framework::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(repository("examples/configs/nni_qat.py.txt")).unwrap();
    let config = ConfigList::parse(&text, Some(Quantizer::Qat)).unwrap();
    for form in ["script", "traced"] {
        let quantized = folder.path().join(format!("{form}.pt"));
        let trained = folder.path().join(format!("{form}_trained.pt"));
        compress(&repository("examples/models").join(format!("digits_{form}.pt")), &config, Emit::Training, &quantized);
        let arguments = [&quantized, &trained].map(|path| path.to_str().unwrap());
        let arguments = [arguments[0], arguments[1], "--epochs", "1"];
        let said = run_python(&python, "examples/train_archive.py", &arguments, b"");
        assert!(!said.is_empty());
        check_frozen(&python, &trained);
    }
}
