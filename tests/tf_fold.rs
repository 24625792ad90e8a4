//! Batch normalizations folded into their layers, beside TensorFlow (`tests/tf/norms.py`): the folded model computes what the model does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::run_python;
use common::tf::{Job, TensorFlow};
use ndarray::ArrayD;
use quant_math::config::ConfigList;
use quant_math::{Emit, Plan, Quantizer};
use serde_json::Value;
use tf_rewriter::{Compressed, Fold, Folded, Graph, ModelOptions, ModelOutput, PlanOptions};

/// What `norms.py` says of a graph.
struct Case {
    fetch: Vec<String>,
    outputs: Vec<String>,
    runs: bool,
    folds: BTreeMap<String, String>,
    gone: Vec<String>,
}

impl Case {
    fn read(told: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |key: &str| told[key].as_array().unwrap().iter().map(text).collect();
        let folds = told["folds"].as_object().unwrap().iter().map(|(norm, what)| (norm.clone(), text(what))).collect();
        let runs = told["runs"].as_bool().unwrap();
        Self { fetch: list("fetch"), outputs: list("outputs"), runs, folds, gone: list("gone") }
    }
}

/// Products of the folded weights are rounded once more, and sums are put together in another order: the outputs differ by some of float32's
/// roundings, 2⁻²⁴ ≈ 6e-8 each. Measured on trained networks of five layers: 131 dB.
const SHALLOW_DB: f64 = 130.0;
const OF_LARGEST: f64 = 1e-5;

/// In fifty layers roundings grow, as much as the weights have it. TensorFlow itself puts products into weights before it runs a graph
/// (`MulConvPushDown` of its constant folding): a fold that rounds the same products in another order has an error of the same size. Four
/// times its power is 6 dB, two errors that are twice as large as its own.
const OF_TENSORFLOWS_OWN_DB: f64 = 6.0;

/// The largest difference over the largest output, and the SQNR in decibels.
fn distance(float: &ArrayD<f32>, other: &ArrayD<f32>) -> (f64, f64) {
    assert_eq!(float.shape(), other.shape());
    let (mut largest, mut off, mut signal, mut noise) = (0f64, 0f64, 0f64, 0f64);
    for (a, b) in float.iter().zip(other) {
        let (a, delta) = (f64::from(*a), f64::from(*a) - f64::from(*b));
        (largest, off) = (largest.max(a.abs()), off.max(delta.abs()));
        (signal, noise) = (signal + a * a, noise + delta * delta);
    }
    (off / largest, 10.0 * (signal / noise).log10())
}

fn job(model: &Path, inputs: &Path, fetch: &[String]) -> Job {
    let (model, inputs) = (model.to_owned(), Some(inputs.to_owned()));
    Job { model, inputs, fetch: fetch.to_vec(), digest: Vec::new(), grappler: false, noise: None }
}

fn open(path: &Path, case: &Case) -> Graph {
    Graph::open(path).unwrap().with_outputs(&case.outputs).unwrap()
}

/// The layer of each normalization that is folded, and the code of each that is not.
fn told(folds: &[Folded]) -> BTreeMap<String, String> {
    let told = |fold: &Folded| match fold.reason() {
        Some(reason) => reason.code.clone(),
        None => fold.layer.clone().unwrap(),
    };
    folds.iter().map(|fold| (fold.norm.clone(), told(fold))).collect()
}

#[test]
fn every_form_behind_every_layer_keeps_the_function() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let place = tensorflow.path("norms");
    std::fs::create_dir(&place).unwrap();
    let answer = run_python(tensorflow.python(), "tests/tf/norms.py", &[&place], &[]);
    let made: Value = serde_json::from_slice(&answer).unwrap();
    let cases = made.as_object().unwrap().iter().map(|(name, case)| (name.clone(), Case::read(case)));
    let cases: BTreeMap<String, Case> = cases.collect();
    assert!(cases.len() > 35, "{}", cases.len());
    let mut jobs = Vec::new();
    let mut running = Vec::new();
    for (name, case) in &cases {
        let (model, out) = (place.join(format!("{name}.pb")), place.join(format!("{name}.folded.pb")));
        let graph = open(&model, case).folded_everywhere().unwrap();
        assert_eq!(told(graph.folds()), case.folds, "{name}");
        let written = graph.as_it_is().unwrap();
        written.write_to(&out).unwrap();
        let folded = case.folds.values().filter(|what| !what.starts_with("norm-")).count();
        let (before, after) = (std::fs::read(&model).unwrap(), std::fs::read(&out).unwrap());
        assert_eq!(before == after, folded == 0, "{name}: what folds nothing changes nothing");
        let again = open(&out, case).folded_everywhere().unwrap();
        assert!(!again.folds().iter().any(Folded::is_folded), "{name}: {:?}", again.folds());
        let left = open(&out, case).inspect().unwrap();
        let batch_norms = left.op_types.iter().find(|(op, _)| op.starts_with("FusedBatchNorm")).map_or(0, |(_, n)| *n);
        let unfolded = case.folds.values().filter(|what| what.starts_with("norm-")).count();
        assert!(batch_norms <= unfolded, "{name}: {batch_norms} are left");
        let difference = Graph::open(&model).unwrap().diff(&Graph::open(&out).unwrap()).unwrap();
        for gone in &case.gone {
            assert!(difference.only_in_first.contains(gone), "{name}: `{gone}` is there: {difference:?}");
        }
        if case.runs {
            let inputs = place.join(format!("{name}.npz"));
            jobs.extend([job(&model, &inputs, &case.fetch), job(&out, &inputs, &case.fetch)]);
            running.push((name, case));
        }
    }
    for ((name, case), pair) in running.into_iter().zip(tensorflow.run(&jobs).chunks(2)) {
        for fetch in &case.fetch {
            let (off, decibel) = distance(&pair[0].array(fetch), &pair[1].array(fetch));
            eprintln!("{name}, {fetch}: {off:.1e} of the largest, {decibel:.1} dB");
            assert!(off <= OF_LARGEST && decibel >= SHALLOW_DB, "{name}, {fetch}: {off:e}, {decibel} dB");
        }
    }
    check_channels_first(&place);
}

/// TensorFlow's CPU has no convolution with channels in front: there, weight and bias are those of the same graph with channels behind.
fn check_channels_first(folder: &Path) {
    for name in ["channels_first", "channels_first_chain"] {
        let graph = Graph::open(folder.join(format!("{name}.folded.pb"))).unwrap();
        let bytes = graph.whole_bytes().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("NCHW") && text.contains("BiasAdd") && !text.contains("NHWC"), "{name}");
    }
}

const PER_CHANNEL: &str = "[{op_types: ['default'], quant_types: ['weight'], quant_bits: 8, per_channel: true}]";
const PER_TENSOR: &str = "[{op_types: ['default'], quant_types: ['weight'], quant_bits: 8, per_channel: false}]";
const FORMS: [Emit; 3] = [Emit::Baked, Emit::Packed, Emit::Inference];

fn config(text: &str) -> ConfigList {
    ConfigList::parse(text, Some(Quantizer::Naive)).unwrap()
}

fn options(emit: Emit, fold: Fold) -> PlanOptions<'static> {
    PlanOptions { emit: Some(emit), fold, ..PlanOptions::default() }
}

/// MobileNetV2: 52 batch norms, decomposed as Keras 3 freezes them.
#[test]
fn a_real_network_is_folded_whatever_the_form() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let (model, inputs, names) = tensorflow.keras("mobilenet_v2");
    let fetch = vec![names["logits"].as_str().unwrap().to_owned()];
    let float = tensorflow.path("float.pb");
    let graph = Graph::open(&model).unwrap().folded_everywhere().unwrap();
    assert_eq!(graph.folds().iter().filter(|fold| fold.is_folded()).count(), 52);
    assert_eq!(graph.folds().len(), 52);
    graph.as_it_is().unwrap().write_to(&float).unwrap();

    let mut jobs = vec![job(&model, &inputs, &fetch), job(&float, &inputs, &fetch)];
    jobs.push(Job { grappler: true, ..job(&model, &inputs, &fetch) });
    let mut plans = Vec::new();
    for emit in FORMS {
        let out = tensorflow.path(&format!("{emit}.pb"));
        plans.push(compress(&model, &out, &config(PER_CHANNEL), options(emit, Fold::Auto)));
        jobs.push(job(&out, &inputs, &fetch));
    }
    let answers = tensorflow.run(&jobs);
    let logits: Vec<_> = answers.iter().map(|answer| answer.array(&fetch[0])).collect();
    let ((off, decibel), (_, own)) = (distance(&logits[0], &logits[1]), distance(&logits[0], &logits[2]));
    eprintln!("folded: {off:.1e} of the largest, {decibel:.1} dB; as TensorFlow rewrites the graph: {own:.1} dB");
    assert!(decibel >= own - OF_TENSORFLOWS_OWN_DB, "{off:e}, {decibel} dB, {own} dB");
    assert_eq!(logits[3], logits[4], "`baked` and `packed` have the same weights");
    for (plan, emit) in plans.iter().zip(FORMS) {
        assert_eq!(plan.folds, plans[0].folds, "{emit}");
        assert_eq!(plan.folds.iter().filter(|fold| fold.is_folded()).count(), 52, "{emit}");
    }

    // Per tensor nothing is folded, unless that is asked for.
    let plan = |fold| Graph::open(&model).unwrap().plan(&config(PER_TENSOR), options(Emit::Baked, fold)).unwrap();
    let auto = plan(Fold::Auto);
    let codes: Vec<_> = auto.folds.iter().filter_map(|fold| Some(fold.reason()?.code.as_str())).collect();
    assert_eq!(codes, ["norm-per-tensor"; 52]);
    assert_eq!(plan(Fold::Off).folds, []);
    assert!(plan(Fold::On).folds.iter().all(Folded::is_folded));
}

/// The table of `docs/fold.md`. Two of the nets are made for it alone:
/// `cargo test --test tf_fold -- --ignored --nocapture`, with the oracles' Python in `QUANT_TF_PYTHON`.
#[test]
#[ignore = "makes two nets that no other test needs, and runs four"]
fn nets_of_the_table_are_folded() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let nets = [
        ("mobilenet_v2", "MobileNetV2", 52, 52),
        ("efficientnet_b0", "EfficientNetB0", 49, 49),
        ("resnet50", "ResNet50", 53, 53),
        ("densenet121", "DenseNet121", 59, 121),
    ];
    for (name, title, folded, all) in nets {
        let (model, inputs, names) = tensorflow.keras(name);
        let fetch = vec![names["logits"].as_str().unwrap().to_owned()];
        let float = tensorflow.path(&format!("{name}.folded.pb"));
        let graph = Graph::open(&model).unwrap().folded_everywhere().unwrap();
        let count = graph.folds().iter().filter(|fold| fold.is_folded()).count();
        assert_eq!((count, graph.folds().len()), (folded, all), "{name}");
        graph.as_it_is().unwrap().write_to(&float).unwrap();
        let rewritten = Job { grappler: true, ..job(&model, &inputs, &fetch) };
        let answers = tensorflow.run(&[job(&model, &inputs, &fetch), job(&float, &inputs, &fetch), rewritten]);
        let logits: Vec<_> = answers.iter().map(|answer| answer.array(&fetch[0])).collect();
        let (off, decibel) = distance(&logits[0], &logits[1]);
        let own = if logits[2] == logits[0] {
            "the same bits".to_owned()
        } else {
            format!("{:.1} dB", distance(&logits[0], &logits[2]).1)
        };
        println!("| {title} | {folded} of {all} | {off:.1e} | {decibel:.1} dB | {own} |");
        // What fifty layers make of float32's roundings: four digits stay in any case.
        assert!(decibel > 80.0, "{name}: {decibel} dB");
    }
}

/// Compress by a plan that is written down and read again; the plan.
fn compress(model: &Path, out: &Path, config: &ConfigList, options: PlanOptions<'_>) -> Plan {
    let graph = Graph::open(model).unwrap();
    let plan = graph.plan(config, options).unwrap();
    let written = Plan::parse(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(graph.check_plan(&written).unwrap(), plan);
    let report = graph.apply(&written).unwrap().write_to(out).unwrap();
    assert_eq!(report.folds, plan.folds);
    // A second run has nothing to do.
    let again = Graph::open(out).unwrap();
    let second = again.plan(config, options).unwrap();
    assert!(second.is_empty() && !second.folds.iter().any(Folded::is_folded), "{:?}", second.folds);
    plan
}

/// A SavedModel that stays one: the folder's values are changed so that the batch normalizations only add, and all forms have the same codes.
#[test]
fn a_folder_is_folded_by_its_values() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let place = tensorflow.path("model");
    let text = place.to_str().unwrap();
    run_python(tensorflow.python(), "tests/tf/norms_model.py", &["make", text], &[]);
    let open = || {
        let mut options = ModelOptions::default();
        options.whole = true;
        Graph::open_model(place.join("float"), &options).unwrap()
    };
    let write = |compressed: &Compressed, name: &str| {
        compressed.write_model(&place.join(name), ModelOutput::default(), &|_| {}).unwrap()
    };
    let folded = open().folded_everywhere().unwrap();
    // Two functions of the export compute the same with the same variables.
    let folds = told(folded.folds());
    assert!(folds.len() == 6 && folded.folds().iter().all(Folded::is_folded), "{folds:?}");
    write(&folded.as_it_is().unwrap(), "folded");
    let mut scales = Vec::new();
    for emit in FORMS {
        let plan = open().plan(&config(PER_CHANNEL), options(emit, Fold::Auto)).unwrap();
        let report = write(&open().apply(&plan).unwrap(), &emit.to_string());
        assert_eq!(told(&report.folds), folds, "{emit}");
        scales.push(report.sites.iter().map(|site| site.scale).collect::<Vec<_>>());
    }
    assert!(scales.iter().all(|one| *one == scales[0]), "the same codes in every form");
    let arguments = ["check", text, "folded", "baked", "packed", "inference"];
    let answer: Value =
        serde_json::from_slice(&run_python(tensorflow.python(), "tests/tf/norms_model.py", &arguments, &[])).unwrap();
    eprintln!("{answer}");
    let decibel = |name: &str| answer[name][1].as_f64().unwrap();
    assert!(decibel("folded") >= SHALLOW_DB && answer["folded"][0].as_f64().unwrap() <= OF_LARGEST, "{answer}");
    for name in ["baked", "inference"] {
        // The same weights, put together in another order.
        assert!((decibel(name) - decibel("packed")).abs() < 0.01, "{answer}");
    }
    assert_eq!((&answer["folded"][2], &answer["baked"][2]), (&Value::Bool(true), &Value::Bool(true)), "{answer}");
}
