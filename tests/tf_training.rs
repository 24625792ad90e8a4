//! Graphs of `--emit training`, trained and frozen, beside Python's TensorFlow (`tests/tf/training.py`, `tests/tf/branches.py`,
//! `tests/tf/gradients.py`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{Framework, oracle, run_python};
use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use serde_json::Value;
use tf_rewriter::{Bundle, Gradient, Graph, PlanOptions};

/// Weights per channel, but per tensor in `dense_op`, outputs of two activations and an input; averages that move by a tenth, and the
/// smallest and largest value of `relu2`.
fn config(bits: u32) -> ConfigList {
    let text = format!(
        "[{{op_types: ['default'], quant_types: ['weight'], quant_bits: {bits}, per_channel: true}},
          {{op_names: ['dense_op'], quant_types: ['weight', 'input'], quant_bits: {{weight: {bits}, input: 8}}, per_channel: false, ema_decay: 0.9}},
          {{op_names: ['relu1'], quant_types: ['output'], quant_bits: 8, ema_decay: 0.9}},
          {{op_names: ['relu2'], quant_types: ['output'], quant_bits: 8, observer: 'minmax'}}]"
    );
    ConfigList::parse(&text, Some(Quantizer::Qat)).unwrap()
}

fn compress(folder: &Path, from: &str, config: &ConfigList, gradient: Gradient, to: &str) -> usize {
    let graph = Graph::open(folder.join(from)).unwrap();
    let options = PlanOptions { gradient, ..PlanOptions::default() };
    let plan = graph.plan(config, options).unwrap();
    assert_eq!(plan.emit, Emit::Training);
    graph.apply(&plan).unwrap().write_to(folder.join(to)).unwrap();
    plan.quantized().count()
}

#[test]
fn training_graphs_train_like_pythons_own_and_freeze_to_what_they_were() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ask = |verb: &str| -> Value {
        let path = folder.to_str().unwrap();
        serde_json::from_slice(&run_python(&python, "tests/tf/training.py", &[verb, path], &[])).unwrap()
    };
    ask("make");

    let mut stems = Vec::new();
    for kind in ["frozen", "resource", "ref"] {
        for (style, gradient) in [("op", Gradient::Op), ("composed", Gradient::Composed)] {
            for bits in [8, 4] {
                let stem = format!("{kind}_{style}_{bits}");
                let count = compress(folder, &format!("{kind}.pb"), &config(bits), gradient, &format!("{stem}.pb"));
                assert_eq!(count, 7, "{stem}");
                stems.push(stem);
            }
        }
    }
    let start = "[{quant_types: ['weight'], quant_bits: 8, quant_start_step: 7000, op_types: ['Conv2d', 'Linear']},
                  {quant_types: ['output'], quant_bits: 8, quant_start_step: 7000, op_types: ['ReLU6']}]";
    let start = ConfigList::parse(start, Some(Quantizer::Qat)).unwrap();
    compress(folder, "frozen.pb", &start, Gradient::Op, "start.pb");
    for bits in [1, 2, 4, 8] {
        let text = format!(
            "[{{op_types: ['default'], quant_types: ['weight'], quant_bits: {bits}}},
              {{op_names: ['dense_op'], quant_types: ['weight', 'input'], quant_bits: {bits}}},
              {{op_names: ['relu1', 'relu2'], quant_types: ['output'], quant_bits: {bits}}}]"
        );
        let config = ConfigList::parse(&text, Some(Quantizer::DoReFa)).unwrap();
        assert_eq!(compress(folder, "frozen.pb", &config, Gradient::Op, &format!("dorefa_{bits}.pb")), 7);
    }

    let answer = ask("check");
    let count = |key: &str| answer[key].as_u64().unwrap();
    for wrong in ["wrong_gradients", "wrong_losses", "wrong_ranges", "wrong_steps", "moved", "unsteady"] {
        assert_eq!(count(wrong), 0, "{wrong}: {answer}");
    }
    // 12 graphs, 5 batches, 3 ranges with two ends; 4 weights of 72 + 72 + 96 + 2160 elements.
    assert_eq!((count("ranges"), count("gradients")), (12 * 5 * 6, 12 * 5 * 2400));
    assert!(count("nonzero") > count("gradients") / 2, "{answer}");
    assert_eq!(answer["finite"], true, "ranges that were never seen give numbers");

    // Passes 6997 to 7001: float before 7000, ranges from the first pass on.
    let passes = answer["start"].as_array().unwrap();
    let said = |key: &str| passes.iter().map(|pass| pass[key].as_bool().unwrap()).collect::<Vec<_>>();
    assert_eq!(said("relu1"), [true, true, true, false, false], "whether the activation is float");
    assert_eq!(said("conv"), [true, true, true, false, false], "whether the weight is float");
    assert_eq!(said("observed"), [true; 5]);
    assert_eq!(passes[4]["step"], 7002);

    for found in answer["dorefa"].as_array().unwrap() {
        assert_eq!(found["logits"], 0.0, "{found}");
        assert_eq!(found["gradients"], 0.0, "{found}");
        assert_eq!((&found["step"], &found["finite"]), (&Value::from(1), &Value::from(true)), "{found}");
    }

    for stem in &stems {
        let bundle = Bundle::open(&folder.join(format!("{stem}.ckpt"))).unwrap();
        let graph = || Graph::open(folder.join(format!("{stem}.pb"))).unwrap();
        let frozen = graph().freeze(|name| bundle.tensor(name), Emit::Inference).unwrap();
        assert_eq!(frozen.plan().quantized().count(), 7, "{stem}");
        frozen.write_to(folder.join(format!("{stem}.frozen.pb"))).unwrap();
        for emit in [Emit::Baked, Emit::Packed] {
            let frozen = graph().freeze(|name| bundle.tensor(name), emit).unwrap();
            assert_eq!(frozen.plan().quantized().count(), 4, "{stem}, {emit}");
            frozen.write(&mut Vec::new()).unwrap();
        }
        let error = graph().freeze(|_| Ok(None), Emit::Inference).unwrap_err();
        assert_eq!(error.code(), "E0703", "{error}");
        assert!(error.to_string().contains("dense_op/input_quant/lower"), "{error}");
    }
    let answer = ask("frozen");
    assert_eq!(answer.as_object().unwrap().len(), stems.len());
    let left: Vec<&str> =
        vec!["VarHandleOp", "VariableV2", "ReadVariableOp", "NoOp", "StopGradient", "PlaceholderWithDefault", "SaveV2"];
    for (stem, found) in answer.as_object().unwrap() {
        assert_eq!(found["wrong"], 0, "{stem}");
        let ops = found["ops"].as_array().unwrap();
        assert!(left.iter().all(|op| !ops.contains(&Value::from(*op))), "{stem}: {ops:?}");
    }
    // However it was trained, what is frozen has the same nodes.
    let nodes = |stem: &str| answer[stem]["nodes"].clone();
    assert_eq!(nodes("frozen_op_4"), nodes("frozen_composed_4"));

    // Frozen before its start step: float, and said.
    let zeros = |name: &str| {
        use tf_rewriter::pb::DataType;
        let (dtype, bytes) =
            if name.ends_with("step") { (DataType::DT_INT64, vec![0; 8]) } else { (DataType::DT_FLOAT, vec![0; 4]) };
        Ok(Some(tf_rewriter::bundle::Tensor { dtype, shape: vec![], bytes }))
    };
    let frozen = Graph::open(folder.join("start.pb")).unwrap().freeze(zeros, Emit::Inference).unwrap();
    assert!(frozen.plan().skipped().all(|(_, reason)| reason.code == "not-begun"));
    assert_eq!((frozen.plan().quantized().count(), frozen.plan().warnings.len()), (0, 1));
    frozen.write_to(folder.join("float.pb")).unwrap();
    // Nothing is left of training: but for constants that nothing reads, it is the float graph.
    let found =
        Graph::open(folder.join("frozen.pb")).unwrap().diff(&Graph::open(folder.join("float.pb")).unwrap()).unwrap();
    assert!(found.only_in_second.is_empty() && found.tensors.is_empty() && found.changed.is_empty(), "{found:?}");
    assert!(
        found.only_in_first.iter().all(|node| node.ends_with("dilation_rate") || node.ends_with("Shape")),
        "{found:?}"
    );
}

/// Batch normalization in `tf.cond(training, …)` with assignments to the moving averages, a variable in a loop and one in a function.
#[test]
fn what_branches_loops_and_functions_assign_is_left_out_when_it_is_frozen() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ask = |verb: &str| run_python(&python, "tests/tf/branches.py", &[verb, folder.to_str().unwrap()], &[]);
    let answer = |verb: &str| -> Value { serde_json::from_slice(&ask(verb)).unwrap() };
    ask("make");
    let config = "[{op_types: ['default'], quant_types: ['weight'], quant_bits: 8, per_channel: true},
                   {op_types: ['Relu'], quant_types: ['output'], quant_bits: 8}]";
    let config = ConfigList::parse(config, Some(Quantizer::Qat)).unwrap();
    let kinds = ["ref_switch", "resource_switch", "resource_if"];
    for kind in kinds {
        let to = format!("{kind}.training.pb");
        assert_eq!(compress(folder, &format!("{kind}.pb"), &config, Gradient::Op, &to), 3, "{kind}");
    }
    let trained = answer("check");
    for kind in kinds {
        assert_eq!(trained[kind]["moved"], true, "{kind}: the branch of training ran");
        let bundle = Bundle::open(&folder.join(format!("{kind}.ckpt"))).unwrap();
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
            let graph = Graph::open(folder.join(format!("{kind}.training.pb"))).unwrap();
            // Its only output is found without being named.
            let frozen = graph.freeze(|name| bundle.tensor(name), emit).unwrap();
            assert_eq!(frozen.plan().quantized().count(), if emit == Emit::Inference { 3 } else { 2 }, "{kind}");
            frozen.write_to(folder.join(format!("{kind}.frozen.pb"))).unwrap();
        }
    }
    let found = answer("frozen");
    for kind in kinds {
        let found = &found[kind];
        assert_eq!((&found["wrong"], &found["in_training"]), (&Value::from(0), &Value::from(true)), "{kind}: {found}");
        let ops = found["ops"].as_array().unwrap().iter().map(|op| op.as_str().unwrap());
        let left: Vec<&str> = ops
            .filter(|op| {
                let words = ["Assign", "Variable", "VarHandle", "Ref", "Save", "Restore", "Stop", "DisableCopy"];
                words.iter().any(|word| op.contains(word))
            })
            .collect();
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
    assert!(found["resource_if"]["functions"].as_u64().unwrap() >= 5, "{found}");
}

#[test]
fn gradients_that_a_graph_computes_are_quantized_as_the_formula_says() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ask = |arguments: &[&str]| -> Value {
        let arguments = [&arguments[..1], &[folder.to_str().unwrap()], &arguments[1..]].concat();
        serde_json::from_slice(&run_python(&python, "tests/tf/gradients.py", &arguments, &[])).unwrap()
    };
    ask(&["make"]);
    let config = |types: &str, bits: u32, seed: u32| {
        let ops = "['Conv2D', 'DepthwiseConv2dNative', 'MatMul']";
        let text = format!("[{{op_types: {ops}, quant_types: [{types}], quant_bits: {bits}, seed: {seed}}}]");
        ConfigList::parse(&text, Some(Quantizer::DoReFa)).unwrap()
    };
    let mut noise = Vec::new();
    for (bits, seed) in [(2, 0), (4, 1), (4, 2), (8, 3)] {
        let name = format!("{bits}_{seed}.pb");
        let config = config("'gradient'", bits, seed);
        assert_eq!(compress(folder, "gradients.pb", &config, Gradient::Op, &name), 4);
        let plan = Graph::open(folder.join(&name)).unwrap().plan(&config, PlanOptions::default()).unwrap();
        let done = plan.skipped().filter(|(_, reason)| reason.code == "already-quantized").count();
        assert_eq!((plan.quantized().count(), done), (0, 4), "a second run");

        let answer = ask(&["check", &name, &bits.to_string()]);
        assert_eq!(answer["step"], 2, "{answer}");
        for (op, found) in answer["sites"].as_object().unwrap() {
            let said = format!("{name}, {op}: {found}");
            let count = |key: &str| found[key].as_u64().unwrap();
            assert_eq!((count("wrong"), count("beyond")), (0, 0), "{said}");
            assert!(count("most_values") <= 1 << bits, "{said}");
            assert!(count("changed") > 0 && count("different_noise") > count("elements") / 2, "{said}");
            assert_eq!(count("zero_samples"), 1, "{said}");
            for key in ["zero_stays", "same_again", "next_differs", "weight_gradient", "differs_from_float"] {
                assert_eq!(found[key], true, "{key}: {said}");
            }
            assert_eq!(found["readers"].as_array().unwrap().len(), 2, "both backward ops, and nothing else: {said}");
            noise.push(found["noise"].as_f64().unwrap() * f64::from((1u32 << bits) - 1));
        }
    }
    noise.sort_by(f64::total_cmp);
    noise.dedup();
    assert_eq!(noise.len(), 16, "every seed and every site has numbers of its own");

    // Nothing of it is left in what is frozen.
    compress(folder, "gradients.pb", &config("'weight', 'gradient'", 4, 0), Gradient::Op, "both.pb");
    let frozen = Graph::open(folder.join("both.pb")).unwrap().freeze(|_| Ok(None), Emit::Inference).unwrap();
    assert!(frozen.plan().quantized().count() >= 4);
    assert!(frozen.plan().sites.iter().all(|site| site.kind == quant_math::QuantType::Weight));
    let mut bytes = Vec::new();
    frozen.write(&mut bytes).unwrap();
    assert!(!bytes.windows(14).any(|window| window == b"gradient_quant"));
}
