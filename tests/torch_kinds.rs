//! Archives of kinds that the small models do not have, made by PyTorch on the spot: what is found in each, and that PyTorch loads, runs and
//! trains every form of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Framework, oracle, run_python};
use quant_math::config::ConfigList;
use quant_math::{Emit, Plan, QuantType, Quantizer};
use serde_json::{Value, json};
use torch_adapter::{Model, PlanOptions};

const SCRIPT: &str = "tests/torch/kinds.py";
const EMITS: [Emit; 4] = [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training];

/// The decision about every weight: its tensor, and `ok` or the code of the reason.
fn decisions(plan: &Plan) -> BTreeMap<&str, &str> {
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for site in plan.sites.iter().filter(|site| site.kind == QuantType::Weight) {
        found.insert(&site.tensor, site.settings().map_or_else(|| reason(site), |_| "ok"));
    }
    found
}

fn reason(site: &quant_math::plan::Site) -> &str {
    match &site.decision {
        quant_math::plan::Decision::Skip(reason) => &reason.code,
        quant_math::plan::Decision::Quantize(_) => "ok",
    }
}

/// What each kind must be found to hold, in every form.
const FOUND: &[(&str, &[(&str, &str)])] = &[
    ("state.root", &[("w", "opaque-state")]),
    ("state", &[("out.weight", "ok"), ("packing.w", "opaque-state")]),
    ("enum", &[("out.weight", "ok")]),
    ("numbered.script", &[("listed.0", "ok"), ("listed.1", "ok"), ("named.0", "ok"), ("named.a", "ok")]),
    ("numbered.trace", &[("listed.0", "ok"), ("listed.1", "ok"), ("named.0", "ok"), ("named.a", "ok")]),
    ("mobile", &[("0.weight", "ok"), ("3.weight", "ok")]),
    ("mobile.freeze", &[("CONSTANTS.c0", "ok"), ("CONSTANTS.c2", "ok")]),
    ("old", &[("0.weight", "ok"), ("3.weight", "ok")]),
    ("cells.script", CELLS),
    ("cells.trace", CELLS),
    ("cells.freeze", FROZEN_CELLS),
    (
        "chosen",
        &[
            ("listed.0.linear.weight", "ok"),
            ("listed.1.linear.weight", "ok"),
            ("named.a.linear.weight", "ok"),
            ("named.b.linear.weight", "ok"),
        ],
    ),
    ("low_rank.script", LOW_RANK),
    ("low_rank.trace", LOW_RANK),
    ("products.script", &[("einsum", "ok"), ("batched", "ok"), ("added", "ok")]),
    ("products.trace", &[("einsum", "ok"), ("batched", "ok"), ("added", "ok")]),
    ("products.freeze", &[("CONSTANTS.c0", "ok"), ("CONSTANTS.c1", "ok"), ("CONSTANTS.c2", "ok")]),
    ("prepacked", &[("CONSTANTS.c0", "prepacked"), ("CONSTANTS.c1", "prepacked")]),
];

const CELLS: &[(&str, &str)] = &[
    ("lstm.weight_ih", "ok"),
    ("lstm.weight_hh", "ok"),
    ("gru.weight_ih", "ok"),
    ("gru.weight_hh", "ok"),
    ("tanh.weight_ih", "ok"),
    ("tanh.weight_hh", "ok"),
    ("relu.weight_ih", "ok"),
    ("relu.weight_hh", "ok"),
];
const FROZEN_CELLS: &[(&str, &str)] = &[
    ("CONSTANTS.c0", "ok"),
    ("CONSTANTS.c1", "ok"),
    ("CONSTANTS.c4", "ok"),
    ("CONSTANTS.c5", "ok"),
    ("CONSTANTS.c8", "ok"),
    ("CONSTANTS.c9", "ok"),
    ("CONSTANTS.c12", "ok"),
    ("CONSTANTS.c13", "ok"),
];
const LOW_RANK: &[(&str, &str)] =
    &[("linear.weight", "low-rank-sum"), ("masked.weight", "computed-weight"), ("key", "ok")];

/// Everything that has a weight.
const TYPES: &str = "['default', 'LSTMCell', 'GRUCell', 'RNNCell', 'Einsum', 'bmm']";

/// A tensor, and what is decided about it for stored values and for ops around it.
type Decided = (&'static str, &'static str, &'static str);

/// Kinds whose weights depend on the form: kind, tensor, and what is decided for stored values and for ops around them.
const BY_FORM: &[(&str, &[Decided])] = &[(
    "attributes",
    &[
        ("named.a", "ok", "ok"),
        ("paired[0]", "ok", "ok"),
        ("listed[0]", "ok", "shared-text"),
        ("listed[1]", "ok", "shared-text"),
        ("out.weight", "ok", "ok"),
    ],
)];

/// Kinds with objects whose text serves others too: only the values that are stored can be quantized.
const BOUND: &[(&str, usize, &str)] = &[("boxes", 3, "objects-in-list"), ("made", 1, "class-instantiated")];

struct Kinds {
    python: PathBuf,
    folder: tempfile::TempDir,
    cases: Vec<Value>,
}

impl Kinds {
    fn source(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pt"))
    }

    /// Quantize `name` into one form; the plan.
    fn compress(&mut self, name: &str, config: &str, quantizer: Quantizer, emit: Emit) -> Plan {
        let source = self.source(name);
        let list = ConfigList::parse(config, Some(quantizer)).unwrap();
        let model = Model::open(&source).unwrap();
        model.inspect().unwrap();
        let measured = emit == Emit::Inference && quantizer == Quantizer::Qat;
        let ranges = measured.then(|| common::torch::ranges(&model, &list));
        let options = PlanOptions { emit: Some(emit), ranges: ranges.as_ref(), ..PlanOptions::default() };
        let plan = model.plan(&list, options).unwrap();
        common::assert_reasons(&plan.sites);
        assert_eq!(model.check_plan(&plan).unwrap(), plan, "{name} {emit}");
        let number = self.cases.len();
        let output = self.folder.path().join(format!("{name}.{number}.{emit}.out"));
        model.apply(&plan).unwrap().write_to(&output).unwrap();
        self.cases.push(json!({
            "model": name, "config": config, "emit": emit, "source": source, "output": output,
            "quantized": plan.quantized().count(), "trained": output.with_extension("trained"),
            // An 8-bit grid keeps a tensor to about 40 dB, layers behind each other to less; activations have a range that does not fit them.
            "decibels": if measured { -20 } else { 20 },
        }));
        plan
    }

    fn output(&self) -> &Path {
        Path::new(self.cases.last().unwrap()["output"].as_str().unwrap())
    }

    /// What `packed` decodes is what `baked` holds, and `inspect` and `diff` see it.
    fn compare_forms(&self) {
        let of = |emit: &'static str| self.cases.iter().filter(move |case| case["emit"] == emit);
        for (baked, packed) in of("baked").zip(of("packed")) {
            assert_eq!((&baked["model"], &baked["config"]), (&packed["model"], &packed["config"]));
            if BOUND.iter().any(|(name, ..)| baked["model"] == *name) {
                continue;
            }
            let open = |case: &Value| Model::open(case["output"].as_str().unwrap()).unwrap();
            let (first, second) = (open(baked), open(packed));
            let difference = first.diff(&second).unwrap();
            let tensors: Vec<_> = difference.tensors.iter().map(|tensor| &tensor.tensor).collect();
            assert!(tensors.is_empty(), "{packed}: {tensors:?} differ");
            let gone: Vec<_> = difference.only_in_first.iter().filter(|name| !name.starts_with("code/")).collect();
            assert!(gone.is_empty(), "{packed}: {gone:?} are gone");
            let (first, second) = (first.inspect().unwrap(), second.inspect().unwrap());
            assert_eq!(first.quantized.len(), usize::try_from(baked["quantized"].as_u64().unwrap()).unwrap());
            assert_eq!(first.quantized.len(), second.quantized.len());
            let weights = |found: &quant_math::inspection::Inspection| -> Vec<_> {
                found.weights.iter().map(|weight| (weight.tensor.clone(), weight.range)).collect()
            };
            assert_eq!(weights(&first), weights(&second), "{packed}");
        }
    }

    fn check(&self) {
        self.tell_torch(&self.cases);
        let trained = self.cases.iter().filter(|case| case["emit"] == "training" && case["quantized"] != 0);
        let frozen: Vec<Value> = trained
            .map(|case| {
                let trained = Path::new(case["trained"].as_str().unwrap());
                let output = trained.with_extension("frozen");
                let frozen = Model::open(trained).unwrap().freeze(Emit::Inference).unwrap();
                let left: Vec<_> = frozen.plan().skipped().map(|(site, reason)| (&site.tensor, &reason.code)).collect();
                assert!(left.iter().all(|(_, code)| code.starts_with("tensor-")), "{}: {left:?}", case["model"]);
                frozen.write_to(&output).unwrap();
                json!({
                    "model": case["model"], "config": case["config"], "emit": "frozen", "source": trained, "output": output,
                    "quantized": 0, "partial": !left.is_empty(),
                })
            })
            .filter(|case| case["partial"] == false)
            .collect();
        assert!(frozen.len() > 10);
        self.tell_torch(&frozen);
    }

    fn tell_torch(&self, cases: &[Value]) {
        let told = run_python(&self.python, SCRIPT, &["check"], &serde_json::to_vec(cases).unwrap());
        assert!(String::from_utf8(told).unwrap().ends_with("kinds\n"), "the script did not reach its end");
    }
}

#[test]
fn every_kind_of_archive_works_in_every_form() {
    let Some(python) = oracle(Framework::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    run_python(&python, SCRIPT, &["make".as_ref(), folder.path().as_os_str()], &[]);
    let mut kinds = Kinds { python, folder, cases: Vec::new() };
    for (name, expected) in FOUND {
        for emit in EMITS {
            let types = "quant_types: ['weight'], quant_bits: 8";
            let quantizer = if emit == Emit::Training { Quantizer::Qat } else { Quantizer::Naive };
            let plan = kinds.compress(name, &format!("[{{op_types: {TYPES}, {types}}}]"), quantizer, emit);
            let expected: BTreeMap<&str, &str> = expected.iter().copied().collect();
            assert_eq!(decisions(&plan), expected, "{name} as {emit}");
            let bytes = |path: &Path| fs::metadata(path).unwrap().len();
            assert!(bytes(kinds.output()) > 0);
        }
    }
    by_form(&mut kinds);
    bound(&mut kinds);
    recurrent(&mut kinds);
    blocks(&mut kinds);
    strided(&mut kinds);
    arithmetic(&mut kinds);
    dorefa(&mut kinds);
    mobile(&kinds);
    kinds.compare_forms();
    kinds.check();
}

fn by_form(kinds: &mut Kinds) {
    for (name, expected) in BY_FORM {
        for emit in EMITS {
            let quantizer = if emit == Emit::Training { Quantizer::Qat } else { Quantizer::Naive };
            let config = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 8}]";
            let plan = kinds.compress(name, config, quantizer, emit);
            let stored = matches!(emit, Emit::Baked | Emit::Packed);
            let expected = expected.iter().map(|(name, values, ops)| (*name, if stored { *values } else { *ops }));
            assert_eq!(decisions(&plan), expected.collect(), "{name} as {emit}");
        }
    }
}

fn bound(kinds: &mut Kinds) {
    for (name, count, code) in BOUND {
        for per_channel in [true, false] {
            for emit in EMITS {
                let quantizer = if emit == Emit::Training { Quantizer::Qat } else { Quantizer::Naive };
                let config = format!(
                    "[{{op_types: 'default', quant_types: ['weight'], quant_bits: 8, per_channel: {per_channel}}}]"
                );
                let plan = kinds.compress(name, &config, quantizer, emit);
                let blocked: Vec<&str> = plan.skipped().map(|(_, reason)| reason.code.as_str()).collect();
                let expected = if emit == Emit::Baked { 0 } else { *count };
                assert_eq!(blocked, vec![*code; expected], "{name} as {emit}");
                assert_eq!(plan.quantized().count(), count + 1 - expected, "{name} as {emit}");
            }
        }
    }
}

/// Packed weights that stand in a list go: the file shrinks.
fn recurrent(kinds: &mut Kinds) {
    let config = "[{op_types: 'LSTM', quant_types: ['weight'], quant_bits: 8}]";
    for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
        let plan = kinds.compress("recurrent", config, Quantizer::Naive, emit);
        assert_eq!((plan.quantized().count(), plan.skipped().count()), (4, 0), "{emit}");
        let bytes = |path: &Path| fs::metadata(path).unwrap().len();
        let (before, after) = (bytes(&kinds.source("recurrent")), bytes(kinds.output()));
        // 264 KiB of float weights, of which a quarter stays.
        assert!(emit != Emit::Packed || after < before * 2 / 5, "{before} to {after} bytes");
    }
}

/// The additions of residual blocks are sites by the name that the code has for them.
fn blocks(kinds: &mut Kinds) {
    let config = "[{op_types: ['add'], quant_types: ['output'], quant_bits: 8}]";
    for name in ["blocks.script", "blocks.trace"] {
        for emit in [Emit::Inference, Emit::Training] {
            let plan = kinds.compress(name, config, Quantizer::Qat, emit);
            let sites: Vec<(&str, &str)> = plan
                .sites
                .iter()
                .map(|site| (site.op.as_str(), reason(site)))
                .filter(|(op, _)| op.contains("add"))
                .collect();
            assert_eq!(sites, [("0.add", "ok"), ("1.add", "ok")], "{name} as {emit}");
        }
    }
}

/// Codes of DoReFa have levels in place of scales.
fn dorefa(kinds: &mut Kinds) {
    for name in ["numbered.script", "attributes", "cells.freeze"] {
        for (bits, emit) in [(4, Emit::Baked), (4, Emit::Packed), (1, Emit::Baked), (1, Emit::Packed)] {
            let plan =
                kinds.compress(name, &format!("[{{op_types: {TYPES}, q_bits: {bits}}}]"), Quantizer::DoReFa, emit);
            assert!(plan.quantized().count() > 3, "{name}");
            // It scales weights to 1, which changes what comes out.
            kinds.cases.last_mut().unwrap()["decibels"] = json!(-100);
        }
    }
}

/// Weights that are no stretch of memory say so; training needs no values and takes them all.
fn strided(kinds: &mut Kinds) {
    let config = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 8}]";
    for emit in EMITS {
        let quantizer = if emit == Emit::Training { Quantizer::Qat } else { Quantizer::Naive };
        let plan = kinds.compress("strided", config, quantizer, emit);
        let expected = if emit == Emit::Training { ["ok"; 3] } else { ["tensor-gaps", "tensor-expanded", "ok"] };
        let names = ["gaps", "expanded", "swapped"];
        assert_eq!(decisions(&plan), names.into_iter().zip(expected).collect(), "{emit}");
    }
}

/// Additions, products and concatenations of activations are sites, of numbers, shapes and strings are not.
fn arithmetic(kinds: &mut Kinds) {
    let config = "[{op_types: ['Add', 'Sub', 'Mul', 'Div', 'cat'], quant_types: ['input', 'output'], quant_bits: 8}]";
    let forms = [("residual.script", "block."), ("residual.trace", "block."), ("residual.freeze", "")];
    for (name, path) in forms {
        for emit in [Emit::Inference, Emit::Training] {
            let plan = kinds.compress(name, config, Quantizer::Qat, emit);
            let quantized: Vec<String> =
                plan.quantized().map(|site| format!("{} {}", site.op.replace(path, ""), site.kind)).collect();
            for op in ["add", "add_1", "sub", "mul", "cat", "div"] {
                for kind in ["input", "output"] {
                    assert!(
                        quantized.contains(&format!("{op} {kind}")),
                        "{name} as {emit}: {op} {kind}: {quantized:?}"
                    );
                }
            }
            let in_place: Vec<_> = plan.skipped().filter(|(_, reason)| reason.code == "in-place").collect();
            assert_eq!(in_place.len(), 2, "{name}: {:?}", plan.sites);
        }
    }
}

/// Bytecode stays where only bytes were patched, and goes where the code changed, with a word.
fn mobile(kinds: &Kinds) {
    for case in kinds.cases.iter().filter(|case| case["model"].as_str().unwrap().starts_with("mobile")) {
        let model = Model::open(case["output"].as_str().unwrap()).unwrap();
        assert_eq!(model.archive().has("bytecode.pkl"), case["emit"] == "baked", "{}", case["output"]);
    }
}
