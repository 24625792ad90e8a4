//! Outputs, errors and accuracy against TensorFlow in Python and NumPy.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::numpy::as_numpy_says;
use super::{DIGITS, PROGRAM, TEST_DATA, TensorFlow, array, good, runs};

/// The digits model with its weights at few bits, all of them or those of one op.
pub(super) fn quantized(tensorflow: &TensorFlow, name: &str, bits: u32, ops: &str) -> PathBuf {
    let config = format!("[{{{ops}, quant_types: ['weight'], quant_bits: {bits}}}]");
    let config = tensorflow.file("config.json5", config);
    let out = tensorflow.path(name);
    let mut command = Command::new(PROGRAM);
    command.args(["compress", DIGITS, "-q", "-Q", "naive", "--emit", "baked", "-o"]).arg(&out).arg("-c").arg(config);
    runs(&mut command);
    out
}

#[test]
fn outputs_are_tensorflows_and_numbers_numpys() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = quantized(&tensorflow, "three.pb", 3, "op_types: 'default'");
    let [ours, theirs, reference] = ["ours.npz", "theirs.npz", "reference.npz"].map(|name| tensorflow.path(name));
    for batch in ["50", "697"] {
        tensorflow.ask(&[&"fetch", &model, &TEST_DATA, &batch, &theirs, &"logits:0"]);
        tensorflow.ask(&[&"fetch", &DIGITS, &TEST_DATA, &batch, &reference, &"logits:0"]);
        let mut command = tensorflow.command("evaluate", &model);
        command.args(["--against", DIGITS, "--data", TEST_DATA, "--labels", "label", "--top-k", "3", "--json"]);
        let found = good(command.args(["--batch", batch, "--save"]).arg(&ours));
        let found: Value = serde_json::from_str(&found).unwrap();
        let (mine, other) = (array::<f32>(&ours, "logits"), array::<f32>(&theirs, "logits:0"));
        assert_eq!(mine.shape(), [697, 10]);
        let bits = |array: &ndarray::ArrayD<f32>| array.mapv(f32::to_bits);
        assert!(bits(&mine) == bits(&other), "batches of {batch}");

        let numpy = tensorflow.ask(&[&"compare", &reference, &theirs, &"logits:0", &TEST_DATA, &"label", &"3"]);
        let output = &found["outputs"][0];
        as_numpy_says(output, &numpy, 6970.0);
        let number = |name: &str| numpy[name].as_f64().unwrap();
        assert!(number("top_1") < number("top_k") && number("top_k") <= 1.0, "{numpy}");
    }
}

#[test]
fn the_layer_with_the_error_is_named() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    for op in ["conv1", "pw1", "dense2"] {
        let model = quantized(&tensorflow, "planted.pb", 2, &format!("op_names: ['{op}']"));
        let mut command = tensorflow.command("evaluate", &model);
        command.args(["--against", DIGITS, "--data", TEST_DATA, "--per-layer", "--json"]);
        let found: Value = serde_json::from_str(&good(&mut command)).unwrap();
        assert_eq!(found["entrances"][0]["name"], op, "{}", found["entrances"]);
        assert_eq!(found["entrances"][0]["sqnr_db_before"], Value::Null);
        let layers = found["layers"].as_array().unwrap();
        let place = layers.iter().position(|layer| layer["name"] == op).unwrap();
        for (position, layer) in layers.iter().enumerate() {
            assert_eq!(layer["error"]["sqnr_db"].is_null(), position < place, "{op}: {layer}");
        }
    }
}

#[test]
fn a_model_beside_itself_is_exact() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let mut command = tensorflow.command("evaluate", Path::new(DIGITS));
    let told = good(command.args(["--against", DIGITS, "--data", TEST_DATA, "--labels", "label"]));
    assert!(told.starts_with("697 samples\n"), "{told}");
    assert!(told.contains("exact") && told.contains("100.00 % (k 5)"), "{told}");
}
