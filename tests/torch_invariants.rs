//! The invariants of `ARCHITECTURE.md` for TorchScript archives, each as a test with its name.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use quant_math::config::ConfigList;
use quant_math::ranges::Ranges;
use quant_math::{Emit, Plan, Quantizer};
use torch_adapter::{Model, PlanOptions};

const EMITS: [Emit; 4] = [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A scripted, a traced and a frozen archive.
fn archives() -> Vec<PathBuf> {
    let paths =
        ["examples/models/digits_script.pt", "examples/models/digits_traced.pt", "tests/models/torch/mobile.freeze.pt"];
    paths.map(|path| root().join(path)).to_vec()
}

/// One way of compressing a model.
struct Request {
    emit: Emit,
    config: ConfigList,
    ranges: Option<Ranges>,
}

/// Every quantizer in every form that it has.
fn requests(model: &Model) -> Vec<Request> {
    let qat = "[{op_types: ['default', 'ReLU', 'ReLU6'], quant_types: ['weight', 'input', 'output'], quant_bits: 8}]";
    let per_channel = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 4, per_channel: true}]";
    let dorefa =
        "[{op_types: 'default', q_bits: 4}, {op_types: ['ReLU', 'ReLU6'], quant_types: ['output'], q_bits: 4}]";
    let lsq = "[{op_types: ['default', 'ReLU', 'ReLU6'], quant_types: ['weight', 'input', 'output'], quant_bits: 3, per_channel: true}]";
    let configs = [
        ConfigList::default_for(Quantizer::Naive),
        ConfigList::parse(qat, Some(Quantizer::Qat)).unwrap(),
        ConfigList::parse(per_channel, Some(Quantizer::Qat)).unwrap(),
        ConfigList::parse(dorefa, Some(Quantizer::DoReFa)).unwrap(),
        ConfigList::parse(lsq, Some(Quantizer::Lsq)).unwrap(),
    ];
    let mut requests = Vec::new();
    for emit in EMITS {
        for config in configs.iter().filter(|config| config.quantizer.row().has(emit)) {
            let ranges = (emit == Emit::Inference && config.quantizer == Quantizer::Qat)
                .then(|| common::torch::ranges(model, config));
            requests.push(Request { emit, config: config.clone(), ranges });
        }
    }
    requests
}

fn plan(model: &Model, request: &Request) -> Plan {
    let Request { emit, config, ranges } = request;
    model.plan(config, PlanOptions { emit: Some(*emit), ranges: ranges.as_ref(), ..PlanOptions::default() }).unwrap()
}

fn compress(bytes: &[u8], request: &Request) -> Vec<u8> {
    let model = Model::from_bytes(bytes.to_vec()).unwrap();
    let plan = plan(&model, request);
    let mut out = Vec::new();
    model.apply(&plan).unwrap().write(&mut out).unwrap();
    out
}

#[test]
fn planning_changes_nothing() {
    for path in archives() {
        let before = fs::read(&path).unwrap();
        let model = Model::open(&path).unwrap();
        for request in requests(&model) {
            let first = plan(&model, &request);
            assert!(!first.is_empty());
            assert_eq!(first, plan(&model, &request));
            // A plan is data: it survives its JSON form.
            let json = serde_json::to_string(&first).unwrap();
            assert_eq!(Plan::parse(&json).unwrap(), first);
            assert_eq!(model.check_plan(&first).unwrap(), first);
        }
        assert_eq!(model.archive().bytes(), before);
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn an_empty_plan_reproduces_the_input() {
    for path in archives() {
        let bytes = fs::read(&path).unwrap();
        for quantizer in Quantizer::all() {
            let exclude = "[{op_types: 'default', quant_types: ['weight'], exclude: true}]";
            let config = ConfigList::parse(exclude, Some(quantizer)).unwrap();
            for emit in EMITS.into_iter().filter(|emit| quantizer.row().has(*emit)) {
                let request = Request { emit, config: config.clone(), ranges: None };
                assert!(compress(&bytes, &request) == bytes, "{} {quantizer} {emit}", path.display());
            }
        }
    }
}

#[test]
fn untouched_records_are_byte_identical() {
    let bytes = fs::read(root().join("examples/models/digits_script.pt")).unwrap();
    let model = Model::from_bytes(bytes.clone()).unwrap();
    let all =
        plan(&model, &Request { emit: Emit::Baked, config: ConfigList::default_for(Quantizer::Naive), ranges: None });
    let first = all.quantized().next().unwrap();
    let one = format!("[{{op_names: ['{}']}}]", first.op);
    let config = ConfigList::parse(&one, Some(Quantizer::Naive)).unwrap();
    let out = compress(&bytes, &Request { emit: Emit::Baked, config, ranges: None });
    let after = Model::from_bytes(out).unwrap();
    let (before, after) = (model.archive(), after.archive());
    let changed = before.records().filter(|name| before.read(name).unwrap() != after.read(name).unwrap());
    let changed: Vec<&str> = changed.collect();
    assert!(matches!(changed.as_slice(), [only] if only.starts_with("data/")), "{changed:?}");
    let added: Vec<&str> = after.records().filter(|name| !before.has(name)).collect();
    assert_eq!(added, ["extra/quantization.json"]);
}

#[test]
fn output_does_not_depend_on_jobs() {
    for path in archives() {
        let bytes = fs::read(&path).unwrap();
        for request in requests(&Model::open(&path).unwrap()) {
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| compress(&bytes, &request))
            };
            let one = with(1);
            for threads in [2, 3, 8] {
                assert!(with(threads) == one, "{} {} with {threads} threads", path.display(), request.emit);
            }
        }
    }
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    for path in archives() {
        let bytes = fs::read(&path).unwrap();
        for mut request in requests(&Model::open(&path).unwrap()) {
            let once = compress(&bytes, &request);
            let model = Model::from_bytes(once.clone()).unwrap();
            // The ranges belong to the float model; the quantized one needs none of them any more.
            if let Some(ranges) = &mut request.ranges {
                ranges.model.fingerprint = model.fingerprint();
            }
            let second = plan(&model, &request);
            let told = format!("{} {} {}", path.display(), request.emit, request.config.quantizer);
            assert!(second.is_empty(), "{told}: {:?}", second.quantized().collect::<Vec<_>>());
            assert!(second.skipped().any(|(_, reason)| reason.code == "already-quantized"), "{told}");
            assert!(compress(&once, &request) == once, "{told}");
        }
    }
}

#[test]
fn every_skip_has_a_reason() {
    for path in archives() {
        let model = Model::open(&path).unwrap();
        for request in requests(&model) {
            common::assert_reasons(&plan(&model, &request).sites);
        }
    }
}

#[test]
fn a_failed_run_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out.pt");
    let path = root().join("examples/models/digits_script.pt");
    fs::copy(&path, &target).unwrap();
    let old = fs::read(&target).unwrap();
    let mut broken = old.clone();
    // One bit of a weight: its checksum does not fit, which is found when the values are read.
    let model = Model::open(&path).unwrap();
    let entry = model.archive().entry("data/0").unwrap();
    let at = entry.data_offset();
    broken[at] ^= 1;
    let model = Model::from_bytes(broken).unwrap();
    let request = Request { emit: Emit::Baked, config: ConfigList::default_for(Quantizer::Naive), ranges: None };
    let plan = plan(&model, &request);
    let error = model.apply(&plan).and_then(|compressed| compressed.write_to(&target)).unwrap_err();
    assert_eq!(error.code(), "T0113");
    assert!(fs::read(&target).unwrap() == old);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}
