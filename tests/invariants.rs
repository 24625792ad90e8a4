//! The invariants of `ARCHITECTURE.md`, each as a test with its name.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod layers;

use std::fs;
use std::path::{Path, PathBuf};

use quant_math::config::ConfigList;
use quant_math::ranges::Ranges;
use quant_math::{Emit, Plan, Quantizer};
use tf_rewriter::{Graph, PlanOptions};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn digits() -> PathBuf {
    root().join("examples/models/digits.pb")
}

/// Every quantizer in every form that exists, with its config.
fn requests() -> Vec<(Emit, ConfigList, Option<Ranges>)> {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let qat = ConfigList::parse(&read("examples/configs/nni_qat.py.txt"), Some(Quantizer::Qat)).unwrap();
    let dorefa = ConfigList::parse(&read("examples/configs/nni_dorefa.py.txt"), Some(Quantizer::DoReFa)).unwrap();
    let ranges = Ranges::parse(&read("examples/ranges/digits.json")).unwrap();
    let per_channel = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 4, per_channel: true}]";
    let per_channel = ConfigList::parse(per_channel, Some(Quantizer::Qat)).unwrap();
    let naive = ConfigList::default_for(Quantizer::Naive);
    let lsq = "[{op_types: 'default', quant_types: ['weight', 'input'], quant_bits: 3, per_channel: true}]";
    let lsq = ConfigList::parse(lsq, Some(Quantizer::Lsq)).unwrap();
    [(naive, None), (qat, Some(ranges)), (per_channel, None), (dorefa, None), (lsq, None)]
        .into_iter()
        .flat_map(|(config, ranges)| {
            let forms = config.quantizer.row().forms.iter();
            forms.map(move |emit| (*emit, config.clone(), ranges.clone()))
        })
        .collect()
}

fn plan(graph: &Graph, emit: Emit, config: &ConfigList, ranges: Option<&Ranges>) -> Plan {
    graph.plan(config, PlanOptions { emit: Some(emit), ranges, strict: false, ..PlanOptions::default() }).unwrap()
}

fn compress(bytes: &[u8], emit: Emit, config: &ConfigList, ranges: Option<&Ranges>) -> Vec<u8> {
    let graph = Graph::from_bytes(bytes.to_vec()).unwrap();
    let plan = plan(&graph, emit, config, ranges);
    let mut out = Vec::new();
    graph.apply(&plan).unwrap().write(&mut out).unwrap();
    out
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn quant_math_does_no_io() {
    let mut files = Vec::new();
    rust_files(&root().join("quant-math/src"), &mut files);
    assert!(files.len() > 10, "the folder has moved");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for forbidden in ["std::fs", "std::net", "std::env", "std::process", "File::open", "unsafe {"] {
            assert!(!text.contains(forbidden), "{} uses {forbidden}", path.display());
        }
    }
    assert!(fs::read_to_string(root().join("quant-math/src/lib.rs")).unwrap().contains("#![forbid(unsafe_code)]"));
}

/// Whoever prints an error with the errors below it would print that one twice.
#[test]
fn no_error_has_its_source_in_its_own_text() {
    let mut files = Vec::new();
    for krate in ["model-file", "quant-math", "quant-cli", "tf-rewriter", "torch-adapter"] {
        rust_files(&root().join(krate).join("src"), &mut files);
    }
    let mut errors = 0;
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let (code, _tests) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        for variant in code.split("#[error(").skip(1) {
            errors += 1;
            let (message, fields) = variant.split_once('\n').unwrap();
            let named = message.contains("{source}") && fields.contains(" source: ");
            let numbered = message.contains("{0}") && (fields.contains("(#[from]") || fields.contains("(#[source]"));
            assert!(!named && !numbered, "{}: {message}", path.display());
        }
    }
    assert!(errors > 50, "the errors are written in another way");
}

#[test]
fn layers() {
    for layers in layers::LAYERS {
        let found = layers::violations(root(), layers);
        assert!(found.is_empty(), "{}:\n{}", layers.krate, found.join("\n"));
    }
}

#[test]
fn planning_changes_nothing() {
    let before = fs::read(digits()).unwrap();
    let graph = Graph::open(digits()).unwrap();
    for (emit, config, ranges) in requests() {
        let first = plan(&graph, emit, &config, ranges.as_ref());
        assert_eq!(first, plan(&graph, emit, &config, ranges.as_ref()));
        // A plan is data: it survives its JSON form.
        let json = serde_json::to_string(&first).unwrap();
        assert_eq!(Plan::parse(&json).unwrap(), first);
        assert_eq!(graph.check_plan(&first).unwrap(), first);
    }
    assert_eq!(graph.bytes(), before);
    assert_eq!(fs::read(digits()).unwrap(), before);
}

#[test]
fn an_empty_plan_reproduces_the_input() {
    let bytes = fs::read(digits()).unwrap();
    for quantizer in Quantizer::all() {
        let exclude = ConfigList::parse("[{op_types: 'default', exclude: true}]", Some(quantizer)).unwrap();
        for emit in quantizer.row().forms {
            assert!(compress(&bytes, *emit, &exclude, None) == bytes, "{quantizer} {emit}");
        }
    }
}

#[test]
fn untouched_nodes_are_byte_identical() {
    let bytes = fs::read(digits()).unwrap();
    let config = ConfigList::parse("[{op_names: ['conv1'], op_types: ['Conv2D']}]", Some(Quantizer::Naive)).unwrap();
    let out = compress(&bytes, Emit::Baked, &config, None);
    let (first, second) = (Graph::from_bytes(bytes).unwrap(), Graph::from_bytes(out).unwrap());
    let difference = first.diff(&second).unwrap();
    assert_eq!(difference.tensors.len(), 1);
    assert_eq!((difference.changed.len(), difference.only_in_first.len(), difference.only_in_second.len()), (0, 0, 0));
}

#[test]
fn output_does_not_depend_on_jobs() {
    let bytes = fs::read(digits()).unwrap();
    for (emit, config, ranges) in requests() {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| compress(&bytes, emit, &config, ranges.as_ref()))
        };
        let one = with(1);
        for threads in [2, 3, 8] {
            assert!(with(threads) == one, "{emit} with {threads} threads");
        }
    }
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    let bytes = fs::read(digits()).unwrap();
    for (emit, config, ranges) in requests() {
        let once = compress(&bytes, emit, &config, ranges.as_ref());
        let graph = Graph::from_bytes(once.clone()).unwrap();
        // The ranges belong to the float model; the quantized one needs none of them any more.
        let mut own = ranges.clone();
        if let Some(ranges) = &mut own {
            ranges.model.fingerprint = graph.fingerprint();
        }
        let second = plan(&graph, emit, &config, own.as_ref());
        assert!(second.is_empty(), "{emit} {}: {:?}", config.quantizer, second.quantized().collect::<Vec<_>>());
        assert!(second.skipped().any(|(_, reason)| reason.code == "already-quantized"));
        let mut twice = Vec::new();
        graph.apply(&second).unwrap().write(&mut twice).unwrap();
        assert!(twice == once, "{emit} {}", config.quantizer);
    }
}

#[test]
fn every_skip_has_a_reason() {
    let graph = Graph::open(digits()).unwrap();
    for (emit, config, ranges) in requests() {
        common::assert_reasons(&plan(&graph, emit, &config, ranges.as_ref()).sites);
    }
}

#[test]
fn a_failed_run_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out.pb");
    fs::copy(digits(), &target).unwrap();
    let old = fs::read(&target).unwrap();
    let mut broken = fs::read(digits()).unwrap();
    // A NaN in the first weight is found only when the values are read.
    let graph = Graph::from_bytes(broken.clone()).unwrap();
    let weight = graph.inspect().unwrap().weights[0].clone();
    let needle = weight.range.unwrap().max.to_le_bytes();
    let at = broken.windows(4).position(|w| w == needle).expect("the largest weight stands in the file");
    broken[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let graph = Graph::from_bytes(broken).unwrap();
    let naive = ConfigList::default_for(Quantizer::Naive);
    let plan = plan(&graph, Emit::Baked, &naive, None);
    let error = graph.apply(&plan).and_then(|compressed| compressed.write_to(&target)).unwrap_err();
    assert_eq!(error.code(), "M0101");
    assert!(fs::read(&target).unwrap() == old);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn adapters_do_not_know_each_other() {
    let manifest = |name: &str| fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
    assert!(!manifest("tf-rewriter").contains("torch-adapter"));
    assert!(!manifest("torch-adapter").contains("tf-rewriter"));
    for low in ["model-file", "quant-math", "quant-cli"] {
        assert!(!manifest(low).contains("tf-rewriter") && !manifest(low).contains("torch-adapter"), "{low}");
    }
    // What belongs to a terminal comes with a feature, without which `.ci/run` builds both libraries.
    for (adapter, word) in
        ["tf-rewriter", "torch-adapter"].into_iter().flat_map(|a| ["quant-cli", "clap"].map(|w| (a, w)))
    {
        let manifest = manifest(adapter);
        let line = manifest.lines().find(|line| line.starts_with(word)).unwrap();
        assert!(line.contains("optional = true"), "{adapter}: {line}");
    }
    for low in ["model-file", "quant-math"] {
        assert!(["quant-cli", "clap", "anstyle"].iter().all(|word| !manifest(low).contains(word)), "{low}");
    }
}
