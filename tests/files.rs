//! What holds for whole files: nothing to do changes nothing, threads change nothing, a second time changes nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::repository;
use common::tf::TensorFlow;
use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use tempfile::TempDir;
use tf_rewriter::{Graph, PlanOptions};

/// Every quantizer in each of its forms.
fn forms() -> impl Iterator<Item = (Quantizer, Emit)> {
    Quantizer::all().flat_map(|quantizer| quantizer.row().forms.iter().map(move |emit| (quantizer, *emit)))
}

/// The digits model, and with TensorFlow the large ones.
fn models() -> Vec<PathBuf> {
    let mut models = vec![repository("examples/models/digits.pb")];
    if let Some(tensorflow) = TensorFlow::find() {
        models.extend(["mobilenet_v2", "resnet50"].map(|name| tensorflow.keras(name).0));
    }
    models
}

fn compress(model: &Path, out: &Path, config: &ConfigList, emit: Emit) {
    let graph = Graph::open(model).unwrap();
    let plan = graph.plan(config, PlanOptions { emit: Some(emit), ..PlanOptions::default() }).unwrap();
    graph.apply(&plan).unwrap().write_to(out).unwrap();
}

#[test]
fn an_empty_plan_reproduces_the_input() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out.pb");
    for model in models() {
        for (quantizer, emit) in forms() {
            let nothing = ConfigList::parse("[{op_types: 'default', exclude: true}]", Some(quantizer)).unwrap();
            compress(&model, &out, &nothing, emit);
            let same = fs::read(&model).unwrap() == fs::read(&out).unwrap();
            assert!(same, "{}: {quantizer} {emit} changed a file with nothing to do", model.display());
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = TempDir::new().unwrap();
    for model in models() {
        for (quantizer, emit) in forms() {
            let config = ConfigList::default_for(quantizer);
            let [one, two] = [1, 2].map(|threads| {
                let out = folder.path().join(format!("{threads}.pb"));
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| compress(&model, &out, &config, emit));
                fs::read(out).unwrap()
            });
            assert!(one == two, "{}: {quantizer} {emit} depends on the number of threads", model.display());
        }
    }
}

#[test]
fn a_second_time_finds_nothing_to_do() {
    let folder = TempDir::new().unwrap();
    let [once, twice] = ["once.pb", "twice.pb"].map(|name| folder.path().join(name));
    for model in models() {
        for (quantizer, emit) in forms() {
            let config = ConfigList::default_for(quantizer);
            let story = format!("{}: {quantizer} {emit}", model.display());
            compress(&model, &once, &config, emit);
            let graph = Graph::open(&once).unwrap();
            let options = PlanOptions { emit: Some(emit), ..PlanOptions::default() };
            let plan = graph.plan(&config, options).unwrap();
            assert!(plan.is_empty(), "{story}: {:?}", plan.quantized().next());
            let weights: Vec<_> =
                plan.skipped().filter(|(site, _)| site.kind == quant_math::QuantType::Weight).collect();
            assert!(weights.len() >= 7, "{story}: {} weights", weights.len());
            for (site, reason) in weights {
                assert_eq!(reason.code, "already-quantized", "{story}: {}: {}", site.op, reason.text);
            }
            compress(&once, &twice, &config, emit);
            assert!(fs::read(&once).unwrap() == fs::read(&twice).unwrap(), "{story}: changed once more");
        }
    }
}
