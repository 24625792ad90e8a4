//! Functions, loops and branches, old and new.
//!
//! The graphs of `make_control_flow.py` hold weights of −1, 0 and 1 and are fed with integers. Then, with the settings below, float32
//! is exact, and every form must give the same bits:
//!
//! * QAT weights of 2 bits: the largest magnitude is 1, so the scale is 1/1 and the codes −1, 0, 1 are the weights themselves;
//! * Naive weights of 8 bits: code ±127 times the float32 nearest to 1/127 is ±1;
//! * DoReFa weights of 2 bits: tanh of −1, 0, 1 over twice its maximum, plus 1/2, is 0, 1/2 and 1 up to an ulp, far from where
//!   rounding of 3 times that decides otherwise, except for 3/2, which is exact and goes to 2 (even); so −1, 1/3 and 1 (the two
//!   float32 that are meant);
//! * QAT activations of 16 bits over −32768 to 32767: the scale is 1 and 0 is code 32768, so integers in between stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use quant_math::config::ConfigList;
use quant_math::plan::{Decision, Observer};
use quant_math::ranges::{ModelId, RANGES_VERSION, Ranges, SiteRange};
use quant_math::{Emit, Plan, QuantType, Quantizer, Range};
use tempfile::TempDir;
use tf_rewriter::{Graph, PlanOptions};

use crate::common::{Framework, oracle, run_python};
use crate::session::{EMITS, Job, Outputs, apply, floats, run, write};

struct Setting {
    name: &'static str,
    quantizer: Quantizer,
    config: &'static str,
    range: (f32, f32),
}

const SETTINGS: [Setting; 8] = [
    // The float values themselves.
    Setting {
        name: "qat",
        quantizer: Quantizer::Qat,
        config: "[{op_types: ['default'], quant_types: ['weight'], quant_bits: 2}]",
        range: (0.0, 0.0),
    },
    Setting {
        name: "qat_per_channel",
        quantizer: Quantizer::Qat,
        config: "[{op_types: ['default'], quant_types: ['weight'], quant_bits: 2, per_channel: true}]",
        range: (0.0, 0.0),
    },
    Setting {
        name: "qat_activations",
        quantizer: Quantizer::Qat,
        config: "[{op_types: ['default'], quant_types: ['weight', 'input', 'output'], quant_bits: {weight: 2, input: 16, output: 16}},
                  {op_types: ['Relu6'], quant_types: ['input', 'output'], quant_bits: 16}]",
        range: (-32768.0, 32767.0),
    },
    Setting {
        name: "naive",
        quantizer: Quantizer::Naive,
        config: "[{op_types: ['default']}]",
        range: (0.0, 0.0),
    },
    // Other values, but the same in every form.
    Setting {
        name: "dorefa",
        quantizer: Quantizer::DoReFa,
        config: "[{op_types: ['default'], q_bits: 2}]",
        range: (0.0, 0.0),
    },
    Setting {
        name: "dorefa_1_bit",
        quantizer: Quantizer::DoReFa,
        config: "[{op_types: ['default'], q_bits: 1}]",
        range: (0.0, 0.0),
    },
    // Activations that really change: only the packed and the baked form agree.
    Setting {
        name: "dorefa_activations",
        quantizer: Quantizer::DoReFa,
        config: "[{op_types: ['default'], quant_types: ['weight', 'input', 'output'], quant_bits: 2}]",
        range: (0.0, 0.0),
    },
    Setting {
        name: "qat_clipped",
        quantizer: Quantizer::Qat,
        config: "[{op_types: ['Relu6'], quant_types: ['output'], quant_bits: 2}]",
        range: (0.0, 3.0),
    },
];

/// One range for every activation that the config names.
fn ranges(graph: &Graph, config: &ConfigList, (min, max): (f32, f32)) -> Ranges {
    let options = PlanOptions { emit: Some(Emit::Baked), ..PlanOptions::default() };
    let sites = graph.plan(config, options).unwrap().sites.into_iter();
    let activations = sites.filter(|site| site.kind != QuantType::Weight);
    Ranges {
        version: RANGES_VERSION,
        framework: String::new(),
        model: ModelId { file: String::new(), fingerprint: graph.fingerprint() },
        config: None,
        observer: Observer::MinMax,
        samples: 1,
        batch: None,
        folded: Vec::new(),
        ranges: activations.map(|site| SiteRange::new(site.op, site.kind, site.tensor, Range { min, max })).collect(),
    }
}

fn quantize(graph: Graph, setting: &Setting, emit: Emit) -> (Plan, Vec<u8>) {
    let config = ConfigList::parse(setting.config, Some(setting.quantizer)).unwrap();
    let ranges = ranges(&graph, &config, setting.range);
    let plan = graph
        .plan(&config, PlanOptions { emit: Some(emit), ranges: Some(&ranges), strict: false, ..PlanOptions::default() })
        .unwrap();
    let out = apply(graph, &plan);
    (plan, out)
}

/// The graphs, quantized in every way, and what TensorFlow says of them.
struct Results {
    jobs: Vec<Job>,
    plans: BTreeMap<String, Plan>,
    values: Vec<BTreeMap<String, Outputs>>,
}

fn results(python: &Path, folder: &Path) -> Results {
    let names = run_python(python, "tests/models/make_control_flow.py", &[folder], &[]);
    let names: Vec<String> = serde_json::from_slice(&names).unwrap();
    let mut plans = BTreeMap::new();
    let jobs: Vec<Job> = names
        .into_iter()
        .map(|name| {
            let float = folder.join(format!("{name}.pb"));
            let mut models: BTreeMap<String, PathBuf> = BTreeMap::new();
            for setting in &SETTINGS {
                for emit in EMITS {
                    let (plan, out) = quantize(Graph::open(&float).unwrap(), setting, emit);
                    let key = format!("{} {emit}", setting.name);
                    models.insert(key.clone(), write(folder, &format!("{name} {key}"), &out));
                    plans.insert(format!("{name} {key}"), plan);
                }
            }
            Job { name, float, models, runs: true }
        })
        .collect();
    let values = run(python, &jobs);
    Results { jobs, plans, values }
}

#[test]
fn every_form_gives_the_same_in_functions_loops_and_branches() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = TempDir::new().unwrap();
    let results = results(&python, folder.path());
    assert_eq!(results.jobs.len(), 12);
    for (job, graphs) in results.jobs.iter().zip(&results.values) {
        let float = &graphs["float"];
        for setting in &SETTINGS {
            let [baked, packed, inference] = EMITS.map(|emit| &graphs[&format!("{} {emit}", setting.name)]);
            let story = format!("{}, {}", job.name, setting.name);
            assert!(baked == packed, "{story}: `packed` is not `baked`");
            let skips = loop_weights(&results.plans[&format!("{} {} inference", job.name, setting.name)]);
            match setting.name {
                "qat" | "qat_per_channel" | "qat_activations" | "naive" => {
                    assert!(baked == float, "{story}: `baked` is not the float graph");
                    assert!(inference == float, "{story}: `inference` is not the float graph");
                }
                // A weight that enters a loop is not quantized in graph; everything else is the same.
                "dorefa" | "dorefa_1_bit" => {
                    assert_eq!(inference == baked, skips == 0, "{story}: {skips} weights enter loops");
                }
                _ => check_activations(job, setting, float, inference),
            }
        }
    }
}

/// How many weights `inference` leaves in float since they enter a loop.
fn loop_weights(plan: &Plan) -> usize {
    plan.skipped().filter(|(_, reason)| reason.code == "weight-in-loop").count()
}

/// Everything that leaves a graph leaves it through Relu6, but for convolutions and products at the end of functions.
fn check_activations(job: &Job, setting: &Setting, float: &Outputs, inference: &Outputs) {
    if setting.name != "qat_clipped" {
        return;
    }
    let other = |tensor: &str| {
        matches!((job.name.as_str(), tensor), ("function_new", "y1:0") | ("function_in_function_new", "y0:0"))
    };
    for tensor in float.keys().filter(|tensor| tensor.starts_with('y') && !other(tensor)) {
        let values: BTreeSet<u32> = floats(inference, tensor).iter().map(|value| value.to_bits()).collect();
        let levels: BTreeSet<u32> = [0.0f32, 1.0, 2.0, 3.0].map(f32::to_bits).into();
        assert!(values.is_subset(&levels), "{}: {tensor} has more than 2 bits", job.name);
        assert!(values.len() > 1, "{}: {tensor} is constant", job.name);
    }
    // Nothing comes before this Relu6, so what it gives is the float value, clipped: `ret` follows the quantized tensor.
    if job.name == "function_new" {
        let expected: Vec<f32> = floats(float, "y0:0").iter().map(|value| value.min(3.0)).collect();
        assert!(floats(float, "y0:0").iter().any(|value| *value > 3.0));
        assert_eq!(floats(inference, "y0:0"), expected);
    }
}

/// Weights that are constants of a body are quantized there, and so are those that come from outside.
#[test]
fn weights_in_bodies_are_found() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = TempDir::new().unwrap();
    let names = run_python(&python, "tests/models/make_control_flow.py", &[folder.path()], &[]);
    let names: Vec<String> = serde_json::from_slice(&names).unwrap();
    let mut found = BTreeMap::new();
    for name in names {
        let graph = Graph::open(folder.path().join(format!("{name}.pb"))).unwrap();
        let (plan, _) = quantize(graph, &SETTINGS[0], Emit::Inference);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for site in &plan.sites {
            let key = match &site.decision {
                Decision::Quantize(_) => "quantized",
                Decision::Skip(reason) => reason.code.as_str(),
            };
            *counts.entry(key.to_owned()).or_default() += 1;
        }
        found.insert(name, counts);
    }
    let count = |pairs: &[(&str, usize)]| -> BTreeMap<String, usize> {
        pairs.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
    };
    let expected: BTreeMap<String, BTreeMap<String, usize>> = [
        ("loop_old", count(&[("quantized", 1), ("weight-in-loop", 1)])),
        ("loop_in_loop_old", count(&[("quantized", 2)])),
        ("branch_old", count(&[("quantized", 3)])),
        ("branch_in_loop_old", count(&[("quantized", 3)])),
        ("function_new", count(&[("quantized", 2)])),
        ("function_in_function_new", count(&[("quantized", 2)])),
        ("loop_new", count(&[("quantized", 2)])),
        ("loop_in_loop_new", count(&[("quantized", 2)])),
        ("branch_new", count(&[("quantized", 3)])),
        ("branch_in_loop_new", count(&[("quantized", 3)])),
        ("switch_case_new", count(&[("quantized", 3)])),
        ("function_with_loop_new", count(&[("quantized", 2)])),
    ]
    .map(|(name, counts)| (name.to_owned(), counts))
    .into();
    assert_eq!(found, expected);
}
