//! Weights that are read in pieces, turned, by several readers, through `Optional` or from a scripted class, and weights with tiny channels: the
//! same in every form of output and after `freeze`, and nobody else's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{Framework, oracle, run_python};
use quant_math::config::ConfigList;
use quant_math::plan::Decision;
use quant_math::{Emit, Plan, QuantType, Quantizer};
use serde_json::{Value, json};
use torch_adapter::{Fold, Model, PlanOptions};

const SCRIPT: &str = "tests/torch/check_weights.py";
const FROZEN: [Emit; 3] = [Emit::Inference, Emit::Baked, Emit::Packed];

const NAMES: [(&str, &[&str]); 7] = [
    ("pieces", &["script", "trace"]),
    ("turned", &["script", "trace"]),
    ("tied", &["script", "trace"]),
    ("others", &["script", "trace"]),
    ("axes", &["script", "trace"]),
    ("held", &["script"]),
    ("tiny", &["script", "trace", "frozen"]),
];

/// A quantizer, whether it has a scale per channel, and whether a zero point too.
type Way = (Quantizer, bool, bool);

fn config(name: &str, (quantizer, per_channel, affine): Way) -> ConfigList {
    let bits = if quantizer == Quantizer::DoReFa { 4 } else { 8 };
    let per_channel =
        if quantizer == Quantizer::DoReFa { String::new() } else { format!(", per_channel: {per_channel}") };
    let affine = if affine { ", symmetric: false" } else { "" };
    let exclude = if name == "tied" { ", {op_types: 'Embedding', exclude: true}" } else { "" };
    let text =
        format!("[{{op_types: 'default', quant_types: ['weight'], quant_bits: {bits}{per_channel}{affine}}}{exclude}]");
    ConfigList::parse(&text, Some(quantizer)).unwrap()
}

/// Write one form of one archive; a second run finds nothing to do.
fn compress(source: &Path, config: &ConfigList, emit: Emit, out: &Path) -> Plan {
    // The reference has the archive's own weights.
    let options = PlanOptions { emit: Some(emit), fold: Fold::Off, ..PlanOptions::default() };
    let model = Model::open(source).unwrap();
    let plan = model.plan(config, options).unwrap();
    let blocked: Vec<_> = plan.skipped().filter(|(_, reason)| reason.code != "excluded").collect();
    assert!(blocked.is_empty(), "{} as {emit}: {blocked:?}", source.display());
    model.apply(&plan).unwrap().write_to(out).unwrap();
    let again = Model::open(out).unwrap().plan(config, options).unwrap();
    let left: Vec<_> = again.quantized().map(|site| (&site.op, &site.tensor)).collect();
    assert!(left.is_empty(), "{} as {emit}: a second run would quantize {left:?}", out.display());
    plan
}

fn freeze(source: &Path, emit: Emit, out: &Path) -> Plan {
    let frozen = Model::open(source).unwrap().freeze(emit).unwrap();
    frozen.write_to(out).unwrap();
    frozen.plan().clone()
}

fn case(name: &str, group: &str, (quantizer, per_channel, affine): Way, emit: Emit, path: &Path) -> Value {
    json!({"name": name, "group": group, "quantizer": quantizer, "per_channel": per_channel, "affine": affine, "emit": emit, "path": path,
           "trained": path.with_extension("trained.pt")})
}

/// All forms of an archive, and what is to be trained.
fn forms(folder: &Path, name: &str, form: &str, cases: &mut Vec<Value>, training: &mut Vec<Value>) {
    let source = folder.join(format!("{name}.{form}.pt"));
    let ways = [
        (Quantizer::Naive, false, false),
        (Quantizer::Naive, true, false),
        (Quantizer::Qat, false, false),
        (Quantizer::Qat, true, false),
        (Quantizer::Qat, true, true),
        (Quantizer::DoReFa, false, false),
        (Quantizer::Lsq, false, false),
        (Quantizer::Lsq, true, false),
    ];
    // A scripted class is no module, and cannot hold the step of its weight.
    let fits =
        |(quantizer, _, affine): &Way| (!affine || name == "tiny") && (*quantizer != Quantizer::Lsq || name != "held");
    for way in ways.into_iter().filter(fits) {
        let (quantizer, per_channel, affine) = way;
        let config = config(name, way);
        let emits: &[Emit] = if quantizer == Quantizer::Naive { &FROZEN } else { &[Emit::Training] };
        for emit in emits {
            let group = format!("{name}.{form}.{quantizer}.{per_channel}.{affine}");
            let out = folder.join(format!("{group}.{emit}.pt"));
            compress(&source, &config, *emit, &out);
            let made = case(name, &group, way, *emit, &out);
            if *emit == Emit::Training {
                training.push(made.clone());
            }
            cases.push(made);
        }
    }
}

#[test]
fn a_weight_is_quantized_as_a_whole_for_those_alone_that_are_chosen() {
    let Some(python) = oracle(Framework::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run_python(&python, SCRIPT, &["make".as_ref(), folder], &[]);
    let (mut cases, mut training) = (Vec::new(), Vec::new());
    for (name, forms_of) in NAMES {
        for form in forms_of {
            forms(folder, name, form, &mut cases, &mut training);
        }
    }
    run_python(&python, SCRIPT, &["train"], &serde_json::to_vec(&training).unwrap());
    for made in &training {
        // Before it is trained, LSQ has no steps.
        let fresh = (made["quantizer"] != "lsq").then_some(("path", "fresh"));
        for (key, at) in fresh.into_iter().chain([("trained", "frozen")]) {
            let source = PathBuf::from(made[key].as_str().unwrap());
            for emit in FROZEN {
                let out = source.with_extension(format!("{at}.{emit}.pt"));
                let plan = freeze(&source, emit, &out);
                assert!(plan.skipped().next().is_none(), "{}: {:?}", source.display(), plan.skipped().next());
                let mut frozen = made.clone();
                frozen["path"] = json!(out);
                frozen["emit"] = json!(emit);
                cases.push(frozen);
            }
        }
    }
    let activations = "[{op_types: 'default', quant_types: ['weight', 'output'], quant_bits: 8, quant_start_step: 1}]";
    let activations = ConfigList::parse(activations, Some(Quantizer::Qat)).unwrap();
    let written = |source: &str, config: &ConfigList, emit: Emit| {
        let out = folder.join(format!("{source}.{}.{emit}.out.pt", config.quantizer));
        compress(&folder.join(format!("{source}.pt")), config, emit, &out);
        out
    };
    let naive = config("cuda", (Quantizer::Naive, true, false));
    let cuda: Vec<PathBuf> = FROZEN
        .iter()
        .map(|emit| written("cuda", &naive, *emit))
        .chain([written("cuda", &activations, Emit::Training)])
        .collect();
    let told = json!({
        "cases": cases, "cuda": cuda,
        "often": written("often", &activations, Emit::Training), "normal": written("normal", &config("", (Quantizer::Qat, false, false)), Emit::Training),
    });
    let said = run_python(&python, SCRIPT, &["check"], &serde_json::to_vec(&told).unwrap());
    assert_eq!(String::from_utf8(said).unwrap(), format!("{} checks\n", cases.len() + 2 + cuda.len()));
    check_report(folder);
}

/// What `freeze` says of an archive that nobody trained: weights as they are now, ranges that have not begun, and every owner by its name.
fn check_report(folder: &Path) {
    let text = "[{op_types: 'default', quant_types: ['weight', 'output'], quant_bits: 8, per_channel: false}]";
    let config = ConfigList::parse(text, Some(Quantizer::Qat)).unwrap();
    let training = folder.join("owners.pt");
    compress(&folder.join("tied.script.pt"), &config, Emit::Training, &training);
    for emit in FROZEN {
        let plan = freeze(&training, emit, &folder.join(format!("owners.{emit}.pt")));
        let mut owners: Vec<&str> =
            plan.quantized().filter(|site| site.kind == QuantType::Weight).map(|site| site.op.as_str()).collect();
        owners.sort_unstable();
        assert_eq!(owners, ["decode", "embed"], "{emit}");
        for site in plan.sites.iter().filter(|site| site.kind == QuantType::Output) {
            assert!(matches!(&site.decision, Decision::Skip(reason) if reason.code == "not-begun"), "{emit}: {site:?}");
        }
    }
}
