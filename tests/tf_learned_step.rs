//! Graphs whose steps are learnt (LSQ), trained and frozen beside Python's TensorFlow (`tests/tf/learned_step.py`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{Framework, oracle, run_python};
use quant_math::config::ConfigList;
use quant_math::{Emit, QuantType, Quantizer};
use serde_json::Value;
use tf_rewriter::{Bundle, Graph, PlanOptions};

/// Every weight, the graph's input, two activations behind Relu6, and an input that a Reshape brings from another.
fn config(bits: u32, per_channel: bool) -> ConfigList {
    let text = format!(
        "[{{op_types: ['default'], quant_types: ['weight'], quant_bits: {bits}, per_channel: {per_channel}}},
          {{op_names: ['conv_op', 'dense_op'], quant_types: ['weight', 'input'], quant_bits: {bits}, per_channel: {per_channel}}},
          {{op_names: ['relu1', 'relu2'], quant_types: ['output'], quant_bits: {bits}}}]"
    );
    ConfigList::parse(&text, Some(Quantizer::Lsq)).unwrap()
}

fn freeze(folder: &Path, stem: &str, emit: Emit, to: &str) -> usize {
    let bundle = Bundle::open(&folder.join(format!("{stem}.ckpt"))).unwrap();
    let graph = Graph::open(folder.join(format!("{stem}.pb"))).unwrap();
    let frozen = graph.freeze(|name| bundle.tensor(name), emit).unwrap();
    let count = frozen.plan().quantized().count();
    frozen.write_to(folder.join(format!("{stem}.{to}.pb"))).unwrap();
    count
}

#[test]
fn steps_are_learnt_as_the_paper_says_and_freeze_to_what_they_were() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ask = |verb: &str| run_python(&python, "tests/tf/learned_step.py", &[verb, folder.to_str().unwrap()], &[]);
    ask("make");
    let cases =
        [("frozen", 2, true), ("frozen", 3, false), ("resource", 4, true), ("ref", 4, false), ("frozen", 8, true)];
    let mut stems = Vec::new();
    for (kind, bits, per_channel) in cases {
        let config = config(bits, per_channel);
        let plan = |graph: &Graph| graph.plan(&config, PlanOptions::default()).unwrap();
        let graph = Graph::open(folder.join(format!("{kind}.pb"))).unwrap();
        let made = plan(&graph);
        assert_eq!((made.emit, made.quantized().count()), (Emit::Training, 8));
        for site in made.quantized() {
            let settings = site.settings().unwrap();
            // Nothing behind a Relu6 is negative, nor behind a Reshape of it; what is fed may be.
            assert_eq!(settings.symmetric, site.kind == QuantType::Weight || site.op == "conv_op", "{site:?}");
            assert_eq!(settings.channel_axis.is_some(), site.kind == QuantType::Weight && per_channel, "{site:?}");
        }
        let stem = format!("{kind}_{bits}_{per_channel}");
        let path = folder.join(format!("{stem}.pb"));
        graph.apply(&made).unwrap().write_to(&path).unwrap();
        assert!(plan(&Graph::open(&path).unwrap()).is_empty(), "a second run finds nothing to do");
        stems.push(stem);
    }

    let answer: Value = serde_json::from_slice(&ask("check")).unwrap();
    assert_eq!(answer.as_object().unwrap().len(), stems.len());
    for (stem, found) in answer.as_object().unwrap() {
        // Values are the fake-quant op's, and nothing but training moves a step.
        assert_eq!((&found["wrong"], &found["moved"]), (&Value::from(0), &Value::from(0)), "{stem}: {found}");
        // A mean of at most 4,000 float32 numbers, each added once: 4,000 · 2^-24 at the very most.
        assert!(found["initial"].as_f64().unwrap() < 2.4e-4, "{stem}: {found}");
        let gradients = found["gradients"].as_object().unwrap();
        assert_eq!(gradients.len(), 12, "{stem}: of four weights and eight steps");
        for (name, off) in gradients {
            // In parts of what is added without its signs. With 8 bits, a term `round(v/s) − v/s` is known to two units in the last place of
            // v/s, 2·128·2^-24, against a mean size of a quarter: 6·10^-5. Weights' gradients are multiplied and divided by s on the way.
            assert!(off.as_f64().unwrap() < 1e-4, "{stem}, {name}: {found}");
        }
    }

    for stem in &stems {
        assert_eq!(freeze(folder, stem, Emit::Inference, "frozen"), 8, "{stem}");
        for (emit, to) in [(Emit::Baked, "baked"), (Emit::Packed, "packed")] {
            assert_eq!(freeze(folder, stem, emit, to), 4, "{stem}, {emit}");
        }
    }
    let answer: Value = serde_json::from_slice(&ask("frozen")).unwrap();
    assert_eq!(answer.as_object().unwrap().len(), stems.len());
    for (stem, found) in answer.as_object().unwrap() {
        assert_eq!((&found["wrong"], &found["packed"]), (&Value::from(0), &Value::from(0)), "{stem}: {found}");
    }

    // Frozen before its first pass, it is float, and that is told.
    let zeros = |name: &str| {
        use tf_rewriter::pb::DataType;
        let long = name.ends_with("quantization/step");
        let (dtype, bytes) = if long { (DataType::DT_INT64, vec![0; 8]) } else { (DataType::DT_FLOAT, vec![0; 4]) };
        Ok(Some(tf_rewriter::bundle::Tensor { dtype, shape: vec![], bytes }))
    };
    let frozen = Graph::open(folder.join("frozen_3_false.pb")).unwrap().freeze(zeros, Emit::Inference).unwrap();
    assert!(frozen.plan().skipped().all(|(_, reason)| reason.code == "not-begun"));
    assert_eq!((frozen.plan().quantized().count(), frozen.plan().warnings.len()), (0, 1));
}

#[test]
fn other_forms_come_of_what_was_trained() {
    let graph = Graph::open(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/digits.pb")).unwrap();
    for emit in [Emit::Inference, Emit::Baked, Emit::Packed] {
        let options = PlanOptions { emit: Some(emit), ..PlanOptions::default() };
        let error = graph.plan(&config(4, true), options).unwrap_err();
        assert!(error.to_string().contains("its steps are learnt"), "{error}");
    }
}
