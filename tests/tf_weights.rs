//! Weights that are read in pieces, by several ops, or in functions (`tests/tf/weights.py`): quantized as a whole for the ops that are chosen,
//! in every form and after `freeze`, and nobody else's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Framework, oracle, run_python};
use quant_math::config::ConfigList;
use quant_math::plan::Decision;
use quant_math::{Emit, Quantizer};
use serde_json::{Value, json};
use tf_rewriter::{Bundle, Graph, PlanOptions};

const SCRIPT: &str = "tests/tf/weights.py";
const FROZEN: [Emit; 3] = [Emit::Inference, Emit::Baked, Emit::Packed];
const WAYS: [(Quantizer, bool); 5] = [
    (Quantizer::Naive, false),
    (Quantizer::Naive, true),
    (Quantizer::Qat, false),
    (Quantizer::Qat, true),
    (Quantizer::DoReFa, false),
];
/// The ops of the graph that have a weight, but for the one that is excluded.
const CHOSEN: usize = 24;

fn config((quantizer, per_channel): (Quantizer, bool)) -> ConfigList {
    let how = match quantizer {
        Quantizer::DoReFa => "quant_bits: 4".to_owned(),
        _ => format!("quant_bits: 8, per_channel: {per_channel}"),
    };
    let text = format!(
        "[{{op_types: ['default'], quant_types: ['weight'], {how}}}, {{op_names: ['looked_op'], quant_types: ['weight'], {how}}}, \
         {{op_names: ['excluded_op'], exclude: true}}]"
    );
    ConfigList::parse(&text, Some(quantizer)).unwrap()
}

/// Write one form of a graph; a second run finds nothing to do.
fn compress(source: &Path, config: &ConfigList, emit: Emit, out: &Path) {
    let options = || PlanOptions { emit: Some(emit), ..PlanOptions::default() };
    let graph = Graph::open(source).unwrap();
    let plan = graph.plan(config, options()).unwrap();
    let blocked: Vec<_> =
        plan.skipped().filter(|(_, reason)| !["excluded", "not-selected"].contains(&reason.code.as_str())).collect();
    assert!(blocked.is_empty(), "{} as {emit}: {blocked:?}", source.display());
    assert_eq!(plan.quantized().count(), CHOSEN, "{} as {emit}", source.display());
    let report = graph.apply(&plan).unwrap().write_to(out).unwrap();
    let quantized = report.sites.iter().filter(|found| matches!(found.site.decision, Decision::Quantize(_)));
    assert_eq!(quantized.count(), CHOSEN, "{} as {emit}: {report:?}", source.display());
    let again = Graph::open(out).unwrap().plan(config, options()).unwrap();
    let left: Vec<_> = again.quantized().map(|site| (&site.op, &site.tensor)).collect();
    assert!(left.is_empty(), "{} as {emit}: a second run would quantize {left:?}", out.display());
}

fn case(group: &str, (quantizer, per_channel): (Quantizer, bool), emit: Emit, path: &Path, moved: bool) -> Value {
    json!({"group": group, "quantizer": quantizer, "per_channel": per_channel, "emit": emit, "path": path, "moved": moved})
}

#[test]
fn a_weight_is_quantized_as_a_whole_for_those_alone_that_are_chosen() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ask = |verb: &str, cases: &[Value]| {
        let answer = run_python(&python, SCRIPT, &[verb.as_ref(), folder], &serde_json::to_vec(cases).unwrap());
        serde_json::from_slice::<Value>(&answer).unwrap_or_default()
    };
    ask("make", &[]);

    let (mut cases, mut training) = (Vec::new(), Vec::new());
    for way in WAYS {
        let (quantizer, per_channel) = way;
        for emit in FROZEN {
            let group = format!("frozen.{quantizer}.{per_channel}");
            let out = folder.join(format!("{group}.{emit}.pb"));
            compress(&folder.join("frozen.pb"), &config(way), emit, &out);
            cases.push(case(&group, way, emit, &out, false));
        }
        if quantizer == Quantizer::Naive {
            continue;
        }
        for (kind, moved) in [("frozen", false), ("resource", true)] {
            let group = format!("{kind}.trained.{quantizer}.{per_channel}");
            let out = folder.join(format!("{group}.pb"));
            compress(&folder.join(format!("{kind}.pb")), &config(way), Emit::Training, &out);
            training.push(case(&group, way, Emit::Training, &out, moved));
        }
    }
    ask("run", &training);
    for made in &training {
        let source = PathBuf::from(made["path"].as_str().unwrap());
        let bundle = Bundle::open(&source.with_extension("ckpt")).unwrap();
        for emit in FROZEN {
            let frozen = Graph::open(&source).unwrap().freeze(|name| bundle.tensor(name), emit).unwrap();
            let plan = frozen.plan();
            assert!(plan.skipped().next().is_none(), "{}: {:?}", source.display(), plan.skipped().next());
            // Every owner of a weight is named.
            assert_eq!(plan.quantized().count(), CHOSEN, "{} as {emit}", source.display());
            let out = source.with_extension(format!("{emit}.pb"));
            frozen.write_to(&out).unwrap();
            let mut case = made.clone();
            case["emit"] = json!(emit);
            case["path"] = json!(out);
            case["trained"] = json!(source);
            cases.push(case);
        }
    }
    cases.extend(training);

    let answer = ask("check", &cases);
    let mut groups: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for found in answer.as_array().unwrap() {
        let (group, emit) = (found["group"].as_str().unwrap(), found["emit"].as_str().unwrap());
        for (output, off) in found["off"].as_object().unwrap() {
            // Sums of a few products of float32 numbers, which differ in their last bits; a step of the grid is 4e-3 at the least.
            assert!(off.as_f64().unwrap() < 1e-5, "{group} as {emit}: {output} is off by {off}");
        }
        for (output, off) in found["from_training"].as_object().into_iter().flatten() {
            let exact = emit == "inference" && !group.contains("dorefa");
            assert!(
                !exact || off.as_f64() == Some(0.0),
                "{group} as {emit}: {output} is {off} from the training graph"
            );
        }
        groups.entry(group.to_owned()).or_default().insert(emit.to_owned(), found["bits"].clone());
    }
    assert_eq!(groups.len(), WAYS.len() + 6);
    for (group, forms) in &groups {
        assert!(forms["packed"] == forms["baked"], "{group}: `packed` gives other values than `baked`");
    }
}
