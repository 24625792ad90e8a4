//! `finetune` on the digits model: what training gives back that quantization took, and what it does with wrong wishes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;

pub(super) const TRAIN_DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/digits_train.npz");
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
        runs(command.args(["--jobs", "1"]).args(objective));
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
    runs(command.arg("--config").arg(config(tensorflow, name)).arg("-o").arg(&out));
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
        // The logits are the scores of classes, which the graph does not say.
        let distilled = trained(&tensorflow, name, &["--distill", "--loss", "cross-entropy"]);
        eprintln!("{name}: distilled {distilled:.2} %");
        assert!((distilled - with_labels).abs() <= 1.0, "{name}: distilled {distilled} %, with labels {with_labels} %");
    }
}

/// With one scale and 2 bits, a range leaves a weight little but 0; a step that is learnt does not follow the largest weight.
#[test]
fn learnt_steps_train_what_ranges_do_not() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let [lsq, qat] = ["lsq_w2a8", "qat_w2a8"].map(|name| trained(&tensorflow, name, &LABELS));
    eprintln!("2 bits, per tensor: LSQ {lsq:.2} %, QAT {qat:.2} %");
    // Seeds are 0.2 points apart for LSQ, and 34 for QAT, whose best is 36 below.
    assert!(lsq > 90.0 && lsq > qat + 20.0, "LSQ {lsq} %, QAT {qat} %");
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
    runs(finetune(&tensorflow, &config, &whole).args(options));
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
    runs(finetune(&tensorflow, &config, &resumed).args(options).arg("--resume"));
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
    trainable.graph.apply(&plan).unwrap().write_to(&graph).unwrap();
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
