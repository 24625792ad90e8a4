//! Integer models that TFLite's converter makes of `inference` graphs, beside TensorFlow (`tests/tf/tiny_channels.py`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{Framework, oracle, run_python};
use quant_math::config::ConfigList;
use quant_math::ranges::Ranges;
use quant_math::{Emit, Quantizer};
use serde_json::{Value, json};
use tf_rewriter::{Graph, PlanOptions};

const OUTPUTS: [&str; 5] = ["conv_out", "dw_out", "point_out", "zero_out", "dense_out"];

fn ranges(measured: &Value, graph: &Graph) -> Ranges {
    let site = |op: &str| {
        let ends = &measured[op];
        json!({"site": op, "kind": "output", "tensor": format!("{op}:0"), "min": ends[0], "max": ends[1]})
    };
    let sites: Vec<Value> = std::iter::once("x").chain(OUTPUTS).map(site).collect();
    let model = json!({"file": "", "fingerprint": graph.fingerprint()});
    let file = json!({"version": 2, "framework": "tensorflow", "model": model, "observer": "minmax", "samples": 12, "ranges": sites});
    Ranges::parse(&file.to_string()).unwrap()
}

fn compress(folder: &Path, (from, to): (&str, &str), config: &ConfigList, emit: Emit, ranges: Option<&Ranges>) {
    let graph = Graph::open(folder.join(from)).unwrap();
    let plan = graph.plan(config, PlanOptions { emit: Some(emit), ranges, ..PlanOptions::default() }).unwrap();
    graph.apply(&plan).unwrap().write_to(folder.join(to)).unwrap();
}

/// Channels whose weights are all but zero, beside biases: in TFLite what they are in TensorFlow, and the same in every form.
#[test]
fn tiny_channels_keep_their_biases() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ask = |verb: &str| -> Value {
        let path = folder.to_str().unwrap();
        serde_json::from_slice(&run_python(&python, "tests/tf/tiny_channels.py", &[verb, path], &[])).unwrap()
    };
    let measured = ask("make");

    let config = |text: &str| ConfigList::parse(text, Some(Quantizer::Qat)).unwrap();
    let integers = config(&format!(
        "[{{op_types: ['Conv2D', 'DepthwiseConv2dNative'], quant_types: ['weight'], quant_bits: 8, per_channel: true}},
          {{op_types: ['MatMul'], quant_types: ['weight'], quant_bits: 8, per_channel: false}},
          {{op_names: {:?}, quant_types: ['output'], quant_bits: 8}}]",
        std::iter::once("x").chain(OUTPUTS).collect::<Vec<_>>()
    ));
    for name in ["unit", "small"] {
        let files = (format!("{name}.pb"), format!("{name}.tflite.pb"));
        let ranges = ranges(&measured[name], &Graph::open(folder.join(&files.0)).unwrap());
        compress(folder, (&files.0, &files.1), &integers, Emit::Inference, Some(&ranges));
    }
    let weights = "[{op_types: ['default'], quant_types: ['weight'], quant_bits: 8, per_channel: true}]";
    for quantizer in [Quantizer::Naive, Quantizer::Qat] {
        let config = ConfigList::parse(weights, Some(quantizer)).unwrap();
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
            let to = if quantizer == Quantizer::Naive { "naive_" } else { "" };
            compress(folder, ("unit.pb", &format!("unit.{to}{emit}.pb")), &config, emit, None);
        }
    }
    compress(folder, ("unit.pb", "unit.training.pb"), &config(weights), Emit::Training, None);
    for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
        let frozen = Graph::open(folder.join("unit.training.pb")).unwrap().freeze(|_| Ok(None), emit).unwrap();
        frozen.write_to(folder.join(format!("unit.frozen_{emit}.pb"))).unwrap();
    }

    let answer = ask("check");
    for name in ["unit", "small"] {
        for output in OUTPUTS {
            let found = &answer["tflite"][name][output];
            assert_eq!((&found["layers"], &found["types"]), (&json!(1), &json!(["int32", "int8"])), "{name} {output}");
            // Both round the same number to a code, one from sums of floats, the other from integers: a step apart where it is halfway.
            assert!(found["steps"].as_f64().unwrap() < 1.01, "{name} {output}: {found}");
            // 2^30, and a rounding of the scale.
            assert!(found["bias"].as_u64().unwrap() <= (1 << 30) + (1 << 8), "{name} {output}: {found}");
        }
    }
    let forms = answer["weights"].as_object().unwrap();
    assert_eq!(forms.len(), 11, "{:?}", forms.keys());
    for (name, found) in forms {
        assert_eq!(found["off"], 0, "{name}: {found}");
        assert!(found["some"].as_u64().unwrap() > 100, "{name}: {found}");
        let is_values = name.contains("baked") || name.contains("packed");
        assert!(!is_values || found["exact"] == true, "{name}: {found}");
    }
}
