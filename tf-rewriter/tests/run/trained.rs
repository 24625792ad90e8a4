//! What `finetune` trains of a model, and what it leaves as it is: several outputs, batch normalizations, half precision.

use super::*;

/// A model with scores and a further output: x·scores_w and x·value_w.
const TWO_HEADS: &str = r#"
node { name: "x" op: "Placeholder"
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "shape" value { shape { dim { size: -1 } dim { size: 2 } } } } }
node { name: "scores_w" op: "Const"
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 2 } dim { size: 3 } } float_val: [0.5, -1.27, 0.25, 1, 0.75, -0.5] } } } }
node { name: "value_w" op: "Const"
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 2 } dim { size: 1 } } float_val: [0.5, -1.27] } } } }
node { name: "value" op: "MatMul" input: "x" input: "value_w" attr { key: "T" value { type: DT_FLOAT } } }
node { name: "scores" op: "MatMul" input: "x" input: "scores_w" attr { key: "T" value { type: DT_FLOAT } } }
"#;

/// Labels train one output; what the loss does not depend on is left as it is, and named.
#[test]
fn labels_leave_the_other_outputs_as_they_are() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file("heads.pbtxt", TWO_HEADS);
    let config = tensorflow.file("heads.json5", "[{op_types: ['MatMul'], quant_types: ['weight'], quant_bits: 8}]");
    let data = tensorflow.path("heads.npz");
    let mut archive = ndarray_npy::NpzWriter::new(fs::File::create(&data).unwrap());
    let x = ndarray::Array2::from_shape_fn((12, 2), |(sample, at)| if sample % 2 == at { 1f32 } else { -1.0 });
    archive.add_array("x", &x).unwrap();
    archive.add_array("label", &ndarray::Array1::from_shape_fn(12, |sample| i64::from(sample % 2 == 0))).unwrap();
    archive.finish().unwrap();
    let out = tensorflow.path("heads.pb");
    let mut command = tensorflow.command("finetune", &model);
    command.arg("--data").arg(&data).args(["-Q", "qat", "--labels", "label", "--epochs", "2", "--lr", "0.1"]);
    command.args(["--emit", "baked", "--quiet"]).arg("--config").arg(&config).arg("-o").arg(&out);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "warning[not-trained]: the loss does not depend on `value_w`\n");
    assert!(out.exists());
}

/// A convolution with a batch normalization of that op behind it, and scores: [samples, 1, 1, 2] to [samples, 3].
fn normalized(op: &str) -> String {
    let floats = |name: &str, dims: &[u32], values: &str| {
        let dims = dims.iter().map(|dim| format!("dim {{ size: {dim} }}")).collect::<Vec<_>>().join(" ");
        format!(
            r#"node {{ name: "{name}" op: "Const" attr {{ key: "dtype" value {{ type: DT_FLOAT }} }}
               attr {{ key: "value" value {{ tensor {{ dtype: DT_FLOAT tensor_shape {{ {dims} }} float_val: [{values}] }} }} }} }}"#
        )
    };
    let float = r#"attr { key: "T" value { type: DT_FLOAT } }"#;
    let typed = if op == "FusedBatchNorm" { "" } else { r#"attr { key: "U" value { type: DT_FLOAT } }"# };
    [
        r#"node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
           attr { key: "shape" value { shape { dim { size: -1 } dim { size: 1 } dim { size: 1 } dim { size: 2 } } } } }"#
            .to_owned(),
        floats("w", &[1, 1, 2, 3], "0.5, -1.27, 0.25, 1, 0.75, -0.5"),
        floats("gamma", &[3], "1.5, 0.5, 1"),
        floats("beta", &[3], "0.25, -0.5, 0.75"),
        floats("mean", &[3], "0.5, 0, -0.5"),
        floats("variance", &[3], "2, 1, 0.5"),
        format!(
            r#"node {{ name: "conv" op: "Conv2D" input: "x" input: "w" {float}
               attr {{ key: "strides" value {{ list {{ i: [1, 1, 1, 1] }} }} }} attr {{ key: "padding" value {{ s: "VALID" }} }} }}"#
        ),
        format!(
            r#"node {{ name: "norm" op: "{op}" input: "conv" input: "gamma" input: "beta" input: "mean" input: "variance" {float} {typed}
               attr {{ key: "is_training" value {{ b: false }} }} }}"#
        ),
        format!(
            r#"node {{ name: "scores" op: "Squeeze" input: "norm" {float} attr {{ key: "squeeze_dims" value {{ list {{ i: [1, 2] }} }} }} }}"#
        ),
    ]
    .join("\n")
}

/// Scale and offset of a batch normalization train with the convolution before it; its statistics stay.
#[test]
fn batch_normalizations_train_their_scale_and_offset() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let config = tensorflow.file("norm.json5", "[{op_types: ['Conv2D'], quant_types: ['weight'], quant_bits: 8}]");
    let data = tensorflow.path("norm.npz");
    let mut archive = ndarray_npy::NpzWriter::new(fs::File::create(&data).unwrap());
    let x =
        ndarray::Array4::from_shape_fn((12, 1, 1, 2), |(sample, _, _, at)| if sample % 2 == at { 1f32 } else { -1.0 });
    archive.add_array("x", &x).unwrap();
    archive.add_array("label", &ndarray::Array1::from_shape_fn(12, |sample| i64::from(sample % 2 == 0))).unwrap();
    archive.finish().unwrap();
    let train = |name: &str, op: &str| {
        let model = tensorflow.file(&format!("{name}.pbtxt"), normalized(op));
        let out = tensorflow.path(&format!("{name}.pb"));
        let mut command = tensorflow.command("finetune", &model);
        command.arg("--data").arg(&data).args(["-Q", "qat", "--labels", "label", "--epochs", "2", "--lr", "0.1"]);
        command.args(["--emit", "baked", "--quiet"]).arg("--config").arg(&config).arg("-o").arg(&out);
        (command.output().unwrap(), model, out)
    };
    let (output, model, out) = train("third", "FusedBatchNormV3");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let told = good(Command::new(env!("CARGO_BIN_EXE_tf-rewriter")).arg("diff").args([&model, &out]));
    for (name, trained) in [("w", true), ("gamma", true), ("beta", true), ("mean", false), ("variance", false)] {
        let found = told.lines().any(|line| line.starts_with(&format!("{name}:0 ")));
        assert_eq!(found, trained, "{name}: {told}");
    }
    // The first version has no gradient in the C API: nothing before it can be trained, and that is said.
    let (output, ..) = train("first", "FusedBatchNorm");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no constant that could be trained"), "{}", stderr(&output));
}

/// The optimizers keep float32: a weight of half precision is left alone, and where there is no other one, nothing begins.
#[test]
fn weights_of_half_precision_are_refused_before_training() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file(
        "half.pbtxt",
        r#"
node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "shape" value { shape { dim { size: -1 } dim { size: 2 } } } } }
node { name: "w" op: "Const" attr { key: "dtype" value { type: DT_HALF } }
  attr { key: "value" value { tensor { dtype: DT_HALF tensor_shape { dim { size: 2 } dim { size: 2 } } half_val: [15360, 0, 0, 15360] } } } }
node { name: "wide" op: "Cast" input: "w" attr { key: "SrcT" value { type: DT_HALF } } attr { key: "DstT" value { type: DT_FLOAT } } }
node { name: "scores" op: "MatMul" input: "x" input: "wide" attr { key: "T" value { type: DT_FLOAT } } }
"#,
    );
    let data = tensorflow.path("half.npz");
    let mut archive = ndarray_npy::NpzWriter::new(fs::File::create(&data).unwrap());
    archive.add_array("x", &ndarray::Array2::from_elem((4, 2), 1f32)).unwrap();
    archive.add_array("label", &ndarray::Array1::from_elem(4, 1i64)).unwrap();
    archive.finish().unwrap();
    let config = tensorflow.file("half.json5", "[{op_types: ['MatMul'], quant_types: ['weight'], quant_bits: 8}]");
    let out = tensorflow.path("half.pb");
    let mut command = tensorflow.command("finetune", &model);
    command.arg("--data").arg(&data).args(["-Q", "qat", "--labels", "label", "--config"]).arg(&config);
    let output = command.arg("-o").arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.contains("E0805") && told.contains("no float32 constant") && told.contains("`w`"), "{told}");
    assert!(!out.exists());
}

/// A weight that is made of codes is named, with what to train instead.
#[test]
fn weights_that_are_quantized_already_are_refused() {
    let text = r#"
node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
node { name: "codes" op: "Const" attr { key: "dtype" value { type: DT_QUINT8 } }
  attr { key: "value" value { tensor { dtype: DT_QUINT8 tensor_shape { dim { size: 2 } dim { size: 2 } } tensor_content: "\001\002\003\004" } } } }
node { name: "low" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { } float_val: -1 } } } }
node { name: "high" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { } float_val: 1 } } } }
node { name: "w" op: "Dequantize" input: "codes" input: "low" input: "high" attr { key: "T" value { type: DT_QUINT8 } }
  attr { key: "mode" value { s: "MIN_FIRST" } } }
node { name: "scores" op: "MatMul" input: "x" input: "w" attr { key: "T" value { type: DT_FLOAT } } }
"#;
    let open = || tf_rewriter::Graph::from_bytes(text.as_bytes().to_vec()).unwrap();
    let config = "[{op_types: ['MatMul'], quant_types: ['weight'], quant_bits: 8}]";
    let config = quant_math::config::ConfigList::parse(config, Some(quant_math::Quantizer::Qat)).unwrap();
    let options = tf_rewriter::run::FinetuneOptions::default();
    let run = tf_rewriter::run::RunOptions::default();
    let error = tf_rewriter::run::Finetuner::new(open(), &config, "d.npz".as_ref(), Some("label"), options, &run);
    let error = error.unwrap_err();
    assert_eq!(error.code(), "E0805");
    let expected = "the graph has no constant that could be trained: `w`, the weight of `scores`, is quantized already";
    assert_eq!(error.to_string(), expected);
    assert!(error.help().unwrap().starts_with("train the float model that this one was made from"));
    let kept = open().into_trainable().unwrap().kept;
    assert_eq!((kept.len(), kept[0].constant.as_str(), kept[0].reason.code.as_str()), (1, "w", "already-quantized"));
}
