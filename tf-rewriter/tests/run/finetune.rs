//! `finetune` on the digits model: what training gives back that quantization took, and what it does with wrong wishes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;

const TRAIN_DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/digits_train.npz");
const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/tf_oracle.py");
/// The rows, the seeds and the budget; the README's table is made from it too.
const TABLE: &str = include_str!("../../../tests/tensorflow/train_table.json");
const LABELS: [&str; 2] = ["--labels", "label"];

fn table() -> Value {
    serde_json::from_str(TABLE).unwrap()
}

fn row(name: &str) -> Value {
    table()["rows"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
}

/// The config of a row: activations where a full-integer conversion needs them.
fn config(tensorflow: &TensorFlow, name: &str) -> PathBuf {
    tensorflow.file(&format!("{name}.json"), row(name)["config_list"].to_string())
}

/// Accuracy on the test images, in percent.
fn accuracy(tensorflow: &TensorFlow, model: &Path) -> f64 {
    let mut command = tensorflow.command("evaluate", model);
    let told = good(command.args(["--data", TEST_DATA, "--labels", "label", "--json"]));
    let found: Value = serde_json::from_str(&told).unwrap();
    100.0 * found["outputs"][0]["accuracy"]["model"].as_f64().unwrap()
}

fn finetune(tensorflow: &TensorFlow, config: &Path, out: &Path) -> Command {
    let mut command = tensorflow.command("finetune", Path::new(DIGITS));
    command.args(["--data", TRAIN_DATA, "--quiet"]).arg("--config").arg(config).arg("-o").arg(out);
    command
}

/// The mean over the seeds of what training a row comes to.
fn trained(tensorflow: &TensorFlow, name: &str, objective: &[&str]) -> f64 {
    let (table, row, config) = (table(), row(name), config(tensorflow, name));
    let quantizer = row["quantizer"].as_str().unwrap();
    let (epochs, rate) = (table["epochs"].to_string(), table["learning_rate"][quantizer].to_string());
    let out = tensorflow.path("trained.pb");
    let scores = table["seeds"].as_array().unwrap().iter().map(|seed| {
        let mut command = finetune(tensorflow, &config, &out);
        command.args(["-Q", quantizer, "--epochs", &epochs, "--lr", &rate, "--seed", &seed.to_string()]);
        // With one thread, TensorFlow adds in one order: these are the README's numbers.
        good(command.args(["--jobs", "1"]).args(objective));
        accuracy(tensorflow, &out)
    });
    let scores: Vec<f64> = scores.collect();
    assert_eq!(scores.len(), 3, "{scores:?}");
    scores.iter().sum::<f64>() / 3.0
}

fn untrained(tensorflow: &TensorFlow, name: &str) -> f64 {
    let out = tensorflow.path("untrained.pb");
    let mut command = tensorflow.command("compress", Path::new(DIGITS));
    command.args(["-Q", "qat", "--quiet", "--calibrate", TRAIN_DATA]);
    good(command.arg("--config").arg(config(tensorflow, name)).arg("-o").arg(&out));
    accuracy(tensorflow, &out)
}

/// The thresholds are what quantization-aware training is for, in points of accuracy; no seed was picked.
#[test]
fn training_gives_back_what_quantization_took() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let float = accuracy(&tensorflow, Path::new(DIGITS));
    let w4_per_channel = untrained(&tensorflow, "qat_w4a8_channel");
    let rows = ["qat_w8a8", "qat_w4a8", "qat_w3a8_channel", "qat_w2a8_channel"].map(|name| {
        let (before, after) = (untrained(&tensorflow, name), trained(&tensorflow, name, &LABELS));
        eprintln!("{name}: untrained {before:.2} %, trained {after:.2} %, float {float:.2} %");
        (before, after)
    });
    assert!(rows[0].0 >= float - 1.0, "W8A8 untrained");
    assert!(w4_per_channel >= float - 2.0, "W4A8 per channel untrained: {w4_per_channel} %");
    assert!(rows[0].1 >= float - 1.0 && rows[1].1 >= float - 1.0, "W8A8 and W4A8");
    assert!(rows[2].1 >= rows[2].0 + 1.0, "W3A8");
    assert!(rows[3].1 >= rows[3].0 + 10.0, "W2A8");
    for (name, with_labels) in [("qat_w8a8", rows[0].1), ("qat_w4a8", rows[1].1)] {
        let distilled = trained(&tensorflow, name, &["--distill"]);
        eprintln!("{name}: distilled {distilled:.2} %");
        assert!((distilled - with_labels).abs() <= 1.0, "{name}: distilled {distilled} %, with labels {with_labels} %");
    }
}

#[test]
fn dorefa_trains_at_every_width() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let scores = [8, 4, 2, 1].map(|bits| {
        let score = trained(&tensorflow, &format!("dorefa_w{bits}a{bits}"), &LABELS);
        eprintln!("DoReFa {bits}/{bits}: {score:.2} %");
        score
    });
    // Ten classes: what has learnt nothing is right in 10 % or so.
    assert!(scores.iter().all(|score| *score > 30.0), "{scores:?}");
    // The spread between seeds at 8/8 is about two points.
    assert!(scores[3] < scores[0] - 5.0, "1/1 is not clearly below 8/8: {scores:?}");
}

#[test]
fn the_result_becomes_an_integer_model() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let out = tensorflow.path("trained.pb");
    let config = config(&tensorflow, "qat_w8a8");
    good(finetune(&tensorflow, &config, &out).args(["-Q", "qat", "--labels", "label"]));
    let ours = accuracy(&tensorflow, &out);
    let mut python = Command::new(&tensorflow.python);
    python.arg(ORACLE).arg("tflite").arg(&out).args(["--route", "v2", "--data", TEST_DATA]);
    let output = python.env("TF_CPP_MIN_LOG_LEVEL", "3").env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    for op in answer["ops"].as_array().unwrap() {
        let dtypes: Vec<_> = op["dtypes"].as_array().unwrap().iter().map(|d| d.as_str().unwrap()).collect();
        assert!(dtypes.iter().all(|d| ["int8", "int32"].contains(d)), "{op}");
    }
    let percent = answer["percent"].as_f64().unwrap();
    assert!((percent - ours).abs() <= 1.0, "TFLite {percent} %, evaluate {ours} %");
}

/// With one thread, TensorFlow adds in one order.
#[test]
fn a_training_that_was_killed_goes_on() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let config = config(&tensorflow, "qat_w4a8");
    let options = ["-Q", "qat", "--labels", "label", "--epochs", "30", "--jobs", "1"];
    let (whole, resumed) = (tensorflow.path("whole.pb"), tensorflow.path("resumed.pb"));
    good(finetune(&tensorflow, &config, &whole).args(options));
    let mut child = finetune(&tensorflow, &config, &resumed).args(options).spawn().unwrap();
    let (state, begun) = (tensorflow.path("resumed.pb.training"), Instant::now());
    while !state.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it had left a state behind");
        assert!(begun.elapsed() < Duration::from_mins(5), "no state after five minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!resumed.exists());
    let other = ["-Q", "qat", "--labels", "label", "--epochs", "31", "--jobs", "1", "--resume"];
    fails(
        finetune(&tensorflow, &config, &resumed).args(other),
        "E0806",
        &["set of training options", "resumed.pb.training"],
    );
    good(finetune(&tensorflow, &config, &resumed).args(options).arg("--resume"));
    assert!(fs::read(whole).unwrap() == fs::read(resumed).unwrap(), "the resumed training came to something else");
    assert!(!state.exists(), "the state of a finished training is left behind");
}

#[test]
fn wrong_wishes_are_told() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let config = config(&tensorflow, "qat_w8a8");
    let out = tensorflow.path("never.pb");
    let train = |data: &Path, labels: &str, config: &Path| {
        let mut command = tensorflow.command("finetune", Path::new(DIGITS));
        command.arg("--data").arg(data).args(["-Q", "qat", "--labels", labels]).arg("--config").arg(config);
        command.arg("-o").arg(&out);
        command
    };
    let images = array::<f32>(Path::new(TEST_DATA), "image");
    let write = |name: &str, label: i64| {
        let path = tensorflow.path(name);
        let mut archive = ndarray_npy::NpzWriter::new(fs::File::create(&path).unwrap());
        archive.add_array("image", &images).unwrap();
        archive.add_array("label", &ndarray::Array1::from_elem(images.shape()[0], label)).unwrap();
        archive.finish().unwrap();
        path
    };
    let data = Path::new(TRAIN_DATA);
    let beyond = ["the label of sample 0 is 10", "from 0 to 9", "beyond.npz"];
    fails(&mut train(&write("beyond.npz", 10), "label", &config), "E0804", &beyond);
    fails(&mut train(&write("below.npz", -1), "label", &config), "E0804", &["the label of sample 0 is -1"]);
    fails(&mut train(&write("few.npz", 1), "class", &config), "E0804", &["`class`"]);
    fails(&mut train(data, "image", &config), "E0805", &["`image` are an input"]);
    // A place that cannot be written is told before anything is trained.
    let nowhere = tensorflow.path("no_folder/out.pb");
    fails(finetune(&tensorflow, &config, &nowhere).args(["-Q", "qat", "--distill"]), "O0101", &["no_folder"]);
    let running_away = ["--lr", "3e38", "--optimizer", "sgd", "--quiet"];
    fails(train(data, "label", &config).args(running_away), "E0805", &["the loss became", "--lr"]);
    let nothing = tensorflow.file("nothing.json", r#"[{"op_types": ["default"], "exclude": true}]"#);
    fails(&mut train(data, "label", &nothing), "E0805", &["quantizes nothing"]);
    assert!(!out.exists());
}

/// The example is what a user of the `tensorflow` crate writes.
#[test]
fn a_graph_of_the_tensorflow_crate_is_quantized_and_trained() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let folder = tensorflow.path("library");
    fs::create_dir(&folder).unwrap();
    for (name, link) in [
        ("libtensorflow_cc.so.2", "libtensorflow.so"),
        ("libtensorflow_framework.so.2", "libtensorflow_framework.so.2"),
    ] {
        std::os::unix::fs::symlink(tensorflow.library.join(name), folder.join(link)).unwrap();
    }
    // Cargo builds examples for tests, except where one test alone was asked for; it puts them beside the program.
    let cargo = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "tf-rewriter", "--example", "train_graph"])
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", stderr(&cargo));
    let example = Path::new(PROGRAM).with_file_name("examples").join("train_graph");
    let output = Command::new(example).env("TENSORFLOW_DIR", folder).env("TF_CPP_MIN_LOG_LEVEL", "3").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let told = String::from_utf8(output.stdout).unwrap();
    eprintln!("{told}");
    let losses: Vec<f64> = told.lines().filter_map(|line| line.split_once("loss ")?.1.parse().ok()).collect();
    assert!(losses.len() == 5 && losses[4] < losses[0], "{told}");
    let percent: f64 =
        told.lines().find_map(|line| line.strip_prefix("accuracy: ")?.strip_suffix(" %")?.parse().ok()).unwrap();
    // 4-bit weights without training: 91 %.
    assert!(percent > 95.0, "{told}");
}

/// All samples in one step, so that their order does not count. Python's graph has the fake-quant ops and Python's gradients of them.
#[test]
fn python_trains_our_graph_along_the_same_curve() {
    const EPOCHS: u32 = 12;
    let Some(tensorflow) = TensorFlow::find() else { return };
    let config_path = config(&tensorflow, "qat_w4a8");
    let options = [
        "-Q",
        "qat",
        "--labels",
        "label",
        "--optimizer",
        "sgd",
        "--lr",
        "0.05",
        "--momentum",
        "0.9",
        "--batch",
        "1100",
        "--epochs",
        "12",
        "--validation",
        "0",
        "--json",
    ];
    let mut command = tensorflow.command("finetune", Path::new(DIGITS));
    command
        .arg("--data")
        .arg(TRAIN_DATA)
        .arg("--config")
        .arg(&config_path)
        .arg("-o")
        .arg(tensorflow.path("curve.pb"))
        .args(options);
    let output = command.output().unwrap();
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    let epochs = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ours: Vec<f64> = epochs.filter_map(|line| line["epoch"]["loss"].as_f64()).collect();

    let text = fs::read_to_string(config_path).unwrap();
    let config = quant_math::config::ConfigList::parse(&text, Some(quant_math::Quantizer::Qat)).unwrap();
    let trainable = tf_rewriter::Graph::open(DIGITS).unwrap().into_trainable().unwrap();
    let plan_options =
        tf_rewriter::PlanOptions { emit: Some(quant_math::Emit::Training), ..tf_rewriter::PlanOptions::default() };
    let plan = trainable.graph.plan(&config, plan_options).unwrap();
    let graph = tensorflow.path("training.pb");
    trainable.graph.apply(&plan, None).unwrap().write_to(&graph).unwrap();
    let mut python = Command::new(&tensorflow.python);
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/tensorflow/loss_curve.py")).arg(&graph).arg(TRAIN_DATA);
    python.args(["--init", &trainable.init, "--epochs", "12", "--lr", "0.05", "--momentum", "0.9"]);
    python.args(trainable.variables.iter().map(|variable| &variable.variable));
    python.env("TF_CPP_MIN_LOG_LEVEL", "3").env("TF_ENABLE_ONEDNN_OPTS", "0").env("PYTHONDONTWRITEBYTECODE", "1");
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let theirs: Vec<f64> = serde_json::from_slice(&output.stdout).unwrap();
    eprintln!("finetune {ours:.5?}\nPython   {theirs:.5?}");
    assert_eq!((ours.len(), theirs.len()), (EPOCHS as usize, EPOCHS as usize));
    for (epoch, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        // The first loss is the same computation on the same numbers; sums of 1,100 losses are added in another order by other
        // threads: 1,100 roundings of 2^-24 at most. Later, a weight that is an ulp off may round to the next of 15 codes: a step of
        // one of 13,502 weights, whose share of the loss is far below a hundredth.
        let bound = if epoch == 0 { 1100.0 * 2f64.powi(-24) } else { 0.01 };
        assert!((ours - theirs).abs() <= bound * theirs, "epoch {}: {ours} and {theirs}", epoch + 1);
    }
}

#[cfg(unix)]
#[test]
fn no_space_for_the_state() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let config = config(&tensorflow, "qat_w8a8");
    let out = tensorflow.file("out.pb", "old");
    let state = tensorflow.file("out.pb.training", "of an earlier run");
    // A limit on the size of files stands for a full disk. The unit is 512 bytes.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" finetune \"$@\"", PROGRAM, DIGITS, "--data", TEST_DATA]);
    shell.arg("--tensorflow-dir").arg(&tensorflow.library).args(["-q", "-Q", "qat", "--labels", "label"]);
    // The first epoch leaves a state behind: what cannot be kept is told before hours went into it.
    fails(shell.arg("-c").arg(&config).arg("-o").arg(&out), "O0104", &["out.pb.training", "free some space"]);
    assert_eq!((fs::read(&out).unwrap(), fs::read(&state).unwrap()), (b"old".to_vec(), b"of an earlier run".to_vec()));
    let files = fs::read_dir(tensorflow.folder.path()).unwrap().count();
    assert_eq!(files, 3, "the config, the result and the state, and nothing half-written");
}

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
