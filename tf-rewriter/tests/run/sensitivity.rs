//! What each site costs, against the two commands that say the same of one model: `compress` of one site, and `evaluate` against the float model.

use ndarray::{Array1, Array2, Axis};
use ndarray_npy::NpzWriter;

use super::evaluate::quantized;
use super::*;

/// The ops with a weight, in the model's order.
const OPS: [&str; 7] = ["conv1", "dw1", "pw1", "dw2", "pw2", "dense1", "dense2"];
/// The same model with variables and functions.
const SAVED_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits");

fn measure(tensorflow: &TensorFlow, model: &Path, options: &[&str]) -> Value {
    let mut command = tensorflow.command("sensitivity", model);
    serde_json::from_str(&good(command.args(["--data", TEST_DATA, "--json"]).args(options))).unwrap()
}

/// A site at a number of bits.
fn at<'v>(found: &'v Value, op: &str, bits: u64) -> &'v Value {
    let sites = found["sites"].as_array().unwrap();
    let site = sites.iter().find(|site| site["op"] == op).unwrap_or_else(|| panic!("{op}: {found}"));
    site["at"].as_array().unwrap().iter().find(|at| at["bits"] == bits).unwrap()
}

/// The mean over the rows of Σ p·ln(p/q), as it stands in a textbook.
fn divergence(reference: &Array2<f64>, values: &Array2<f64>) -> f64 {
    let softmax = |rows: &Array2<f64>| {
        let powers = rows.mapv(f64::exp);
        let sums = powers.sum_axis(Axis(1)).insert_axis(Axis(1));
        powers / sums
    };
    let (p, q) = (softmax(reference), softmax(values));
    (&p * (&p / &q).mapv(f64::ln)).sum_axis(Axis(1)).mean().unwrap()
}

fn logits(path: &Path) -> Array2<f64> {
    array::<f32>(path, "logits").mapv(f64::from).into_dimensionality().unwrap()
}

#[test]
fn each_site_costs_what_compress_and_evaluate_say() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let found = measure(&tensorflow, Path::new(DIGITS), &["--labels", "label", "--bits", "3,8", "--all-but"]);
    assert_eq!((&found["samples"], &found["ranked_by"]), (&697.into(), &"kl".into()));
    assert_eq!(found["bits"], serde_json::json!([8, 3]));
    assert_eq!(found["outputs"][0]["scores"], "logits", "{}", found["outputs"]);
    let [float, ours] = ["float.npz", "ours.npz"].map(|name| tensorflow.path(name));
    let evaluated = |model: &Path, out: &Path| -> Value {
        let mut command = tensorflow.command("evaluate", model);
        command.args(["--against", DIGITS, "--data", TEST_DATA, "--labels", "label", "--json", "--save"]).arg(out);
        serde_json::from_str(&good(&mut command)).unwrap()
    };
    let of_float = evaluated(Path::new(DIGITS), &float);
    assert_eq!(found["outputs"][0]["accuracy"], of_float["outputs"][0]["accuracy"]["model"]);
    let check = |loss: &Value, ops: &str, bits: u32| {
        let model = quantized(&tensorflow, "one.pb", bits, ops);
        let theirs = &evaluated(&model, &ours)["outputs"][0];
        let own = &loss["outputs"][0];
        // The same numbers from the same outputs, and the outputs have the same bits: a weight is the same constant or what is fed for it.
        assert_eq!(own["error"], theirs["error"], "{ops} at {bits}");
        assert_eq!((&own["top_1"], &own["accuracy"]), (&theirs["agreement"]["top_1"], &theirs["accuracy"]["model"]));
        let (kl, expected) = (own["kl"].as_f64().unwrap(), divergence(&logits(&float), &logits(&ours)));
        // Each term of the textbook's sum is off by a few roundings of p·|ln(p/q)| and of p, of at most 1: it loses what is below.
        assert!((kl - expected).abs() <= 32.0 * f64::EPSILON + 1e-12 * expected, "{ops} at {bits}: {kl}, {expected}");
        assert_eq!(loss["loss"], own["kl"]);
    };
    for op in OPS {
        check(&at(&found, op, 3)["alone"], &format!("op_names: ['{op}']"), 3);
    }
    check(&at(&found, "pw1", 8)["alone"], "op_names: ['pw1']", 8);
    check(&found["whole"][1], "op_types: 'default'", 3);
    let others = OPS.iter().filter(|op| **op != "dw1").map(|op| format!("'{op}'")).collect::<Vec<_>>().join(", ");
    check(&at(&found, "dw1", 3)["all_but"], &format!("op_names: [{others}]"), 3);

    // Ranked by what was measured, at each number of bits.
    for bits in [8, 3] {
        let mut order: Vec<&str> = OPS.to_vec();
        order.sort_by_key(|op| at(&found, op, bits)["rank"].as_u64());
        let losses: Vec<f64> = order.iter().map(|op| at(&found, op, bits)["alone"]["loss"].as_f64().unwrap()).collect();
        assert!(losses.is_sorted_by(|a, b| a >= b), "{losses:?}");
    }
    let listed: Vec<_> = found["sites"].as_array().unwrap().iter().map(|site| site["at"][1]["rank"].as_u64()).collect();
    assert_eq!(listed, (1..=7).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_saved_model_batches_and_threads_change_nothing() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let options = ["--bits", "4", "-j", "1", "--batch", "697"];
    let found = measure(&tensorflow, Path::new(DIGITS), &options);
    let of_model = measure(&tensorflow, Path::new(SAVED_MODEL), &options);
    for op in OPS {
        let (own, other) = (at(&found, op, 4), at(&of_model, op, 4));
        assert_eq!(own["weight_sqnr_db"], other["weight_sqnr_db"], "{op}");
        assert_eq!((&own["alone"], &own["rank"]), (&other["alone"], &other["rank"]), "{op}");
    }
    // TensorFlow's kernels do not give the same bits for every size of batch: a rounding of each output, 2^-24 of it, moves the sum of a batch's
    // divergences by far less than this.
    let batches = measure(&tensorflow, Path::new(DIGITS), &["--bits", "4", "-j", "2", "--batch", "50"]);
    for op in OPS {
        let [own, other] = [&found, &batches].map(|found| at(found, op, 4)["alone"]["loss"].as_f64().unwrap());
        assert!((own - other).abs() <= 1e-3 * own, "{op}: {own}, {other}");
    }
}

/// Two products of one table, whose softmax is the output; another reader of the table; a weight of half precision, and one in short form.
pub(super) const SHARED: &str = "
    node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape {
        dim { size: -1 } dim { size: 3 } } } } }
    node { name: 'w' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'value' value { tensor {
        dtype: DT_FLOAT tensor_shape { dim { size: 3 } dim { size: 3 } }
        float_val: [0.31, -0.72, 1.13, 0.54, 0.95, -1.36, 0.77, 0.18, -0.59] } } } }
    node { name: 'read' op: 'Identity' input: 'w' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'first' op: 'MatMul' input: 'x' input: 'read' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'second' op: 'MatMul' input: 'first' input: 'read' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'squares' op: 'Square' input: 'read' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'short' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'value' value { tensor {
        dtype: DT_FLOAT tensor_shape { dim { size: 3 } dim { size: 3 } } float_val: 0.37 } } } }
    node { name: 'third' op: 'MatMul' input: 'second' input: 'short' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'half' op: 'Const' attr { key: 'dtype' value { type: DT_HALF } } attr { key: 'value' value { tensor {
        dtype: DT_HALF tensor_shape { dim { size: 3 } dim { size: 3 } }
        half_val: [13517, 47309, 15473, 14418, 15258, 48369, 14889, 12738, 47288] } } } }
    node { name: 'halved' op: 'Cast' input: 'second' attr { key: 'SrcT' value { type: DT_FLOAT } } attr { key: 'DstT' value { type: DT_HALF } } }
    node { name: 'fourth' op: 'MatMul' input: 'halved' input: 'half' attr { key: 'T' value { type: DT_HALF } } }
    node { name: 'widened' op: 'Cast' input: 'fourth' attr { key: 'SrcT' value { type: DT_HALF } } attr { key: 'DstT' value { type: DT_FLOAT } } }
    node { name: 'sum' op: 'AddV2' input: 'third' input: 'widened' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'y' op: 'Softmax' input: 'sum' attr { key: 'T' value { type: DT_FLOAT } } }
    versions { producer: 987 }";

/// So many rows of three numbers, and labels.
pub(super) fn rows(tensorflow: &TensorFlow, name: &str, samples: u16, label: i64) -> PathBuf {
    let mut archive = NpzWriter::new(std::io::Cursor::new(Vec::new()));
    let number =
        |(row, column): (usize, usize)| f32::from(u8::try_from((row * 37 + column * 11) % 29).unwrap()) / 13.0 - 1.0;
    archive.add_array("x", &Array2::from_shape_fn((usize::from(samples), 3), number)).unwrap();
    archive.add_array("label", &Array1::from_elem(usize::from(samples), label)).unwrap();
    tensorflow.file(name, archive.finish().unwrap().into_inner())
}

#[test]
fn a_site_is_alone_whoever_else_reads_its_weight() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file("shared.pbtxt", SHARED);
    let data = rows(&tensorflow, "rows.npz", 40, 1);
    let mut command = tensorflow.command("sensitivity", &model);
    command.args(["--json", "--bits", "3", "--outputs", "y", "--data"]).arg(&data);
    let found: Value = serde_json::from_str(&good(&mut command)).unwrap();
    let outputs = found["outputs"].as_array().unwrap();
    let y = outputs.iter().position(|output| output["name"] == "y:0").unwrap();
    assert_eq!(outputs[y]["scores"], "probabilities");
    assert_eq!(outputs[y]["known_by"], "made by Softmax");
    for op in ["first", "second", "third", "fourth"] {
        let config = format!("[{{op_names: ['{op}'], quant_types: ['weight'], quant_bits: 3}}]");
        let config = tensorflow.file("one.json5", config);
        let out = tensorflow.path("one.pb");
        runs(tensorflow.plain("compress", &model).args(["-q", "-Q", "naive", "-c"]).arg(config).arg("-o").arg(&out));
        let mut command = tensorflow.command("evaluate", &out);
        command.args(["--json", "--outputs", "y", "--data"]).arg(&data).arg("--against").arg(&model);
        let theirs: Value = serde_json::from_str(&good(&mut command)).unwrap();
        let theirs = theirs["outputs"].as_array().unwrap().iter().find(|output| output["name"] == "y:0").unwrap();
        assert_eq!(at(&found, op, 3)["alone"]["outputs"][y]["error"], theirs["error"], "{op}");
    }
}

#[test]
fn what_cannot_be_measured_says_why() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file("shared.pbtxt", SHARED);
    let good_data = rows(&tensorflow, "rows.npz", 5, 1);
    let run = |options: &[&str], data: &Path| {
        let mut command = tensorflow.command("sensitivity", &model);
        command.args(["--outputs", "y", "--data"]).arg(data).args(options);
        command
    };
    let refused = |options: &[&str], data: &Path, code: &str, texts: &[&str]| {
        fails(&mut run(options, data), code, texts);
    };
    let wrong = rows(&tensorflow, "wrong.npz", 5, 3);
    refused(&["--labels", "label"], &wrong, "E0804", &["the label of sample 0 is 3, expected a class from 0 to 2"]);
    refused(&[], Path::new(TEST_DATA), "E0804", &["there is no array `x`"]);
    let mut archive = NpzWriter::new(std::io::Cursor::new(Vec::new()));
    archive.add_array("x", &Array2::from_elem((2, 3), f32::NAN)).unwrap();
    let nan = tensorflow.file("nan.npz", archive.finish().unwrap().into_inner());
    refused(&[], &nan, "E0804", &["`x` holds NaN in sample 0"]);
    let mut archive = NpzWriter::new(std::io::Cursor::new(Vec::new()));
    archive.add_array("x", &Array2::from_elem((2, 4), 0.5_f32)).unwrap();
    let wide = tensorflow.file("wide.npz", archive.finish().unwrap().into_inner());
    refused(&[], &wide, "E0804", &["samples of shape [4], expected [3]"]);
    let config = tensorflow.file("none.json5", "[{op_names: ['first'], exclude: true}, {op_names: ['x'], q_bits: 8}]");
    let config = ["-Q", "naive", "--allow-unmatched", "-c", config.to_str().unwrap()];
    refused(&config, &good_data, "E0805", &["no weight of the model is quantized", "`plan` says"]);

    // What is wrong with the command line says so before anything is opened.
    for (options, code) in
        [(&["--bits", "17"][..], "U0203"), (&["--bits", "4,1"], "U0203"), (&["--bits", "x"], "U0203")]
    {
        let output = run(options, Path::new("none.npz")).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.starts_with(&format!("error[{code}]: ")) && told.contains("--bits"), "{told}");
    }
    let report = model.to_str().unwrap();
    let output = run(&["--report", report], &good_data).output().unwrap();
    assert!(stderr(&output).starts_with("error[U0106]: "), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&model).unwrap(), SHARED);
}

#[test]
fn the_table_and_the_page_say_what_to_do() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let page = tensorflow.path("page.html");
    let mut command = tensorflow.command("sensitivity", Path::new(DIGITS));
    command.args(["--data", TEST_DATA, "--labels", "label", "--report"]).arg(&page);
    let told = good(&mut command);
    assert!(told.starts_with("697 samples, naive\n"), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    assert!(told.contains("\nlogits:0: logits ([rows, classes], not from 0 to 1); float accuracy 97.56 %\n"), "{told}");
    let page = fs::read_to_string(page).unwrap();
    for op in OPS {
        assert!(told.contains(op) && page.contains(op), "{op}: {told}");
    }
    assert!(page.contains("<h2>3 bits</h2>") && page.ends_with("</body>\n</html>\n"));
}

/// Outputs of one product: behind a softmax, a sigmoid, a softmax in parts, a square root of it, and in three dimensions.
const OUTPUTS: &str = "
    node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape {
        dim { size: -1 } dim { size: 3 } } } } }
    node { name: 'w' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'value' value { tensor {
        dtype: DT_FLOAT tensor_shape { dim { size: 3 } dim { size: 3 } }
        float_val: [0.31, -0.72, 1.13, 0.54, 0.95, -1.36, 0.77, 0.18, -0.59] } } } }
    node { name: 'logits' op: 'MatMul' input: 'x' input: 'w' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'softmax' op: 'Softmax' input: 'logits' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'by_op' op: 'Identity' input: 'softmax' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'each' op: 'Sigmoid' input: 'logits' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'powers' op: 'Exp' input: 'logits' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'axis' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } attr { key: 'value' value { tensor {
        dtype: DT_INT32 tensor_shape { dim { size: 1 } } int_val: 1 } } } }
    node { name: 'sum' op: 'Sum' input: 'powers' input: 'axis' attr { key: 'T' value { type: DT_FLOAT } }
        attr { key: 'Tidx' value { type: DT_INT32 } } attr { key: 'keep_dims' value { b: true } } }
    node { name: 'by_numbers' op: 'RealDiv' input: 'powers' input: 'sum' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'roots' op: 'Sqrt' input: 'by_numbers' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'deep' op: 'ExpandDims' input: 'logits' input: 'axis' attr { key: 'T' value { type: DT_FLOAT } }
        attr { key: 'Tdim' value { type: DT_INT32 } } }
    versions { producer: 987 }";

#[test]
fn what_an_output_is_stands_beside_it() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file("outputs.pbtxt", OUTPUTS);
    let data = rows(&tensorflow, "rows.npz", 40, 1);
    let mut command = tensorflow.command("sensitivity", &model);
    command.args(["--json", "--bits", "4", "--outputs", "logits,by_numbers", "--data"]).arg(&data);
    let found: Value = serde_json::from_str(&good(&mut command)).unwrap();
    let outputs: Vec<(&str, &Value, &str)> = found["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|output| (output["name"].as_str().unwrap(), &output["scores"], output["known_by"].as_str().unwrap()))
        .collect();
    let word = |word: &str| Value::from(word);
    let expected = [
        ("by_op:0", word("probabilities"), "made by Softmax"),
        ("by_numbers:0", word("probabilities"), "from 0 to 1, rows add up to 1"),
        ("each:0", word("independent"), "made by Sigmoid"),
        ("roots:0", word("independent"), "from 0 to 1, rows add up to other sums"),
        ("logits:0", word("logits"), "[rows, classes], not from 0 to 1"),
        ("deep:0", Value::Null, "not [rows, classes] of float"),
    ];
    for (name, scores, known_by) in &expected {
        let output = outputs.iter().find(|(other, ..)| other == name).unwrap();
        assert_eq!((output.1, output.2), (scores, *known_by), "{name}");
    }
    assert_eq!(outputs.len(), expected.len());
    // Three ways to the same probabilities have the same divergence: float32 rounds each by 2^-24, and there are few of them.
    let kl = |name: &str| {
        let at = outputs.iter().position(|(other, ..)| *other == name).unwrap();
        found["sites"][0]["at"][0]["alone"]["outputs"][at]["kl"].as_f64()
    };
    let logits = kl("logits:0").unwrap();
    for name in ["by_op:0", "by_numbers:0"] {
        let other = kl(name).unwrap();
        assert!(logits > 1e-4 && (other - logits).abs() <= 1e-4 * logits, "{name}: {other}, {logits}");
    }
    assert_eq!(kl("deep:0"), None);

    // Without scores the noise ranks.
    let mut command = tensorflow.command("sensitivity", &model);
    command.args(["--json", "--bits", "4", "--outputs", "deep", "--only-outputs", "--data"]).arg(&data);
    let found: Value = serde_json::from_str(&good(&mut command)).unwrap();
    assert_eq!(found["ranked_by"], "noise");
    let alone = &found["sites"][0]["at"][0]["alone"];
    let noise = 10f64.powf(-alone["outputs"][0]["error"]["sqnr_db"].as_f64().unwrap() / 10.0);
    assert!((alone["loss"].as_f64().unwrap() - noise).abs() <= 1e-12 * noise, "{alone}");
    let mut command = tensorflow.command("sensitivity", &model);
    command.args(["--bits", "4", "--outputs", "deep", "--only-outputs", "--labels", "label", "--data"]).arg(&data);
    fails(&mut command, "E0805", &["no output of the model has one score per class"]);
}
