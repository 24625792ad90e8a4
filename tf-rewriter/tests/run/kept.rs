//! A training makes nothing worse, trains what has a gradient, and says what it leaves as it is.

use ndarray::Array2;
use ndarray_npy::NpzWriter;

use super::*;

/// Numbers from −1 to 1 that look random: multiples of the golden ratio, modulo 2.
fn numbers(count: usize, seed: u16) -> Vec<f32> {
    let number = |at: usize| {
        let turns = (f64::from(u32::try_from(at).unwrap()) + 1000.0 * f64::from(seed)) * 1.618_033_988_749_895;
        turns.fract() * 2.0 - 1.0
    };
    #[expect(clippy::cast_possible_truncation, reason = "any numbers will do")]
    (0..count).map(|at| number(at) as f32).collect()
}

const FLOAT: &str = "attr { key: 'dtype' value { type: DT_FLOAT } }";
const T: &str = "attr { key: 'T' value { type: DT_FLOAT } }";

fn input(columns: usize) -> String {
    format!(
        "node {{ name: 'x' op: 'Placeholder' {FLOAT} attr {{ key: 'shape' value {{ shape {{ dim {{ size: -1 }} dim {{ size: {columns} }} }} }} }} }}"
    )
}

fn constant(name: &str, shape: &[usize], values: &[f32]) -> String {
    let dims = shape.iter().map(|dim| format!("dim {{ size: {dim} }}")).collect::<Vec<_>>().join(" ");
    let values = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "node {{ name: '{name}' op: 'Const' {FLOAT} attr {{ key: 'value' value {{ tensor {{ dtype: DT_FLOAT tensor_shape {{ {dims} }} float_val: [{values}] }} }} }} }}"
    )
}

fn integers(name: &str, values: &[i32], control: &str) -> String {
    let dim = if values.len() == 1 { String::new() } else { format!("dim {{ size: {} }}", values.len()) };
    let values = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "node {{ name: '{name}' op: 'Const' {control} attr {{ key: 'dtype' value {{ type: DT_INT32 }} }} attr {{ key: 'value' value {{ tensor {{ dtype: DT_INT32 tensor_shape {{ {dim} }} int_val: [{values}] }} }} }} }}"
    )
}

fn op(name: &str, kind: &str, inputs: &[&str], attributes: &str) -> String {
    let inputs = inputs.iter().map(|input| format!("input: '{input}'")).collect::<Vec<_>>().join(" ");
    format!("node {{ name: '{name}' op: '{kind}' {inputs} {attributes} }}")
}

/// Two layers with biases: regression of four numbers that are no class scores, as `tail` makes an output of `sum`.
fn regression(tail: &str) -> String {
    [
        input(10),
        constant("w1", &[10, 32], &numbers(320, 1)),
        constant("b1", &[32], &numbers(32, 2)),
        constant("w2", &[32, 4], &numbers(128, 3)),
        constant("b2", &[4], &numbers(4, 4)),
        op("m1", "MatMul", &["x", "w1"], T),
        op("a1", "BiasAdd", &["m1", "b1"], T),
        op("r1", "Relu", &["a1"], T),
        op("m2", "MatMul", &["r1", "w2"], T),
        op("sum", "BiasAdd", &["m2", "b2"], T),
        tail.to_owned(),
    ]
    .join("\n")
}

fn data(tensorflow: &TensorFlow, columns: usize, samples: usize) -> PathBuf {
    let path = tensorflow.path("data.npz");
    let x = Array2::from_shape_vec((samples, columns), numbers(columns * samples, 5)).unwrap();
    let labels = x.map_axis(ndarray::Axis(1), |row| i64::from(row[0] > row[1]));
    let mut archive = NpzWriter::new(fs::File::create(&path).unwrap());
    archive.add_array("x", &x).unwrap();
    archive.add_array("label", &labels).unwrap();
    archive.finish().unwrap();
    path
}

/// The signal-to-noise ratio of a model's first output against another model's.
fn sqnr(tensorflow: &TensorFlow, model: &Path, against: &Path, data: &Path) -> f64 {
    let mut evaluate = tensorflow.command("evaluate", model);
    evaluate.arg("--against").arg(against).arg("--data").arg(data).arg("--json");
    let told: Value = serde_json::from_str(&good(&mut evaluate)).unwrap();
    told["outputs"][0]["error"]["sqnr_db"].as_f64().unwrap()
}

fn finetune(tensorflow: &TensorFlow, model: &Path, data: &Path, config: &str, options: &[&str]) -> (Value, String) {
    let (config, out) = (tensorflow.file("config.json5", config), tensorflow.path("trained.pb"));
    let mut command = tensorflow.command("finetune", model);
    command.arg("--data").arg(data).args(["-Q", "qat", "--json", "-c"]).arg(config).arg("-o").arg(out).args(options);
    let output = command.output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    (serde_json::from_slice(&output.stdout).unwrap(), told)
}

fn codes(report: &Value) -> Vec<&str> {
    report["warnings"].as_array().into_iter().flatten().map(|warning| warning["code"].as_str().unwrap()).collect()
}

const ALL: &str = "[{op_types: ['default'], quant_types: ['weight', 'output'], quant_bits: {weight: BITS, output: 8}}]";

/// The measure is that of the samples themselves: with all of them held against each candidate, there is nothing to be unlucky with.
#[test]
fn a_training_never_makes_a_model_worse() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let (train, test) = (Path::new(finetune::TRAIN_DATA), Path::new(TEST_DATA));
    let regression_data = data(&tensorflow, 10, 320);
    let identity = tensorflow.file("regression.pbtxt", regression(&op("y", "Identity", &["sum"], T)));
    let sigmoid = tensorflow.file("sigmoid.pbtxt", regression(&op("y", "Sigmoid", &["sum"], T)));
    let digits = PathBuf::from(DIGITS);
    for (model, train, test) in [
        (&identity, &*regression_data, &*regression_data),
        (&sigmoid, &regression_data, &regression_data),
        (&digits, train, test),
    ] {
        let config = ALL.replace("BITS", "8");
        let untrained = tensorflow.path("untrained.pb");
        let mut compress = tensorflow.command("compress", model);
        compress.args(["-q", "-Q", "qat", "--calibrate"]).arg(train).arg("-o").arg(&untrained);
        compress.arg("-c").arg(tensorflow.file("config.json5", &config));
        assert!(compress.output().unwrap().status.success());
        let options = ["--distill", "--epochs", "3", "--validation", "0"];
        let (report, _) = finetune(&tensorflow, model, train, &config, &options);
        let [before, after] =
            [untrained, tensorflow.path("trained.pb")].map(|path| sqnr(&tensorflow, &path, model, test));
        eprintln!("{}: untrained {before:.2} dB, trained {after:.2} dB, {:?}", model.display(), codes(&report));
        // On data that was not seen, better on what was seen is better but for chance: half a decibel.
        let chance = if train == test { 0.0 } else { 0.5 };
        assert!(after >= before - chance, "{}: {before} dB, then {after} dB", model.display());
        // Which one was written is said, and ranges are what was measured.
        let written = codes(&report);
        assert!(written.contains(&"best-epoch") || written.contains(&"untrained"), "{written:?}");
        for site in report["sites"].as_array().unwrap().iter().filter(|site| site["kind"] == "output") {
            assert_eq!(site["decision"]["quantize"]["observer"], "minmax", "{site}");
        }
    }
    // A learning rate that spoils everything: the model is what it was.
    let (report, told) = finetune(
        &tensorflow,
        &identity,
        &regression_data,
        &ALL.replace("BITS", "8"),
        &["--distill", "--epochs", "2", "--lr", "0.5"],
    );
    assert!(codes(&report).contains(&"untrained") && told.contains("no better"), "{told}");
    // At 4 bits, there is something to gain.
    let (report, _) =
        finetune(&tensorflow, &identity, &regression_data, &ALL.replace("BITS", "4"), &["--distill", "--epochs", "10"]);
    assert!(codes(&report).contains(&"best-epoch"), "{report}");
}

#[test]
fn each_loss_trains() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let data = data(&tensorflow, 10, 160);
    let model = tensorflow.file("regression.pbtxt", regression(&op("y", "Identity", &["sum"], T)));
    let mut losses = Vec::new();
    for loss in ["squared-error", "cosine", "cross-entropy"] {
        let config = ALL.replace("BITS", "3");
        let options = ["--distill", "--loss", loss, "--epochs", "6", "--lr", "0.01", "--jobs", "1"];
        let (_, told) = finetune(&tensorflow, &model, &data, &config, &options);
        let epochs: Vec<f64> = told
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["epoch"]["loss"].as_f64())
            .collect();
        assert!(epochs.len() == 6 && epochs[5] < epochs[0], "{loss}: {epochs:?}");
        losses.push(epochs[0]);
    }
    assert!(losses[0].to_bits() != losses[1].to_bits() && losses[1].to_bits() != losses[2].to_bits());
    // Labels have their own.
    let mut command = tensorflow.command("finetune", &model);
    command.arg("--data").arg(&data).args(["-Q", "qat", "--labels", "label", "--loss", "cosine", "-c", "x", "-o", "y"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

/// With three classes, the softmax of a softmax is never below 0.55.
#[test]
fn a_quantized_softmax_is_not_taken_for_scores() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let data = data(&tensorflow, 2, 128);
    let model = [
        input(2),
        constant("w", &[2, 3], &[0.5, -0.4, 0.1, -0.5, 0.5, 0.1]),
        op("scores", "MatMul", &["x", "w"], T),
        op("y", "Softmax", &["scores"], T),
    ];
    let model = tensorflow.file("softmax.pbtxt", model.join("\n"));
    let config = "[{op_types: ['MatMul'], quant_types: ['weight'], quant_bits: 8}, {op_names: ['y'], quant_types: ['output'], quant_bits: 8}]";
    for objective in [&["--labels", "label"][..], &["--distill"]] {
        let options = [objective, &["--epochs", "20", "--lr", "0.3"]].concat();
        let (_, told) = finetune(&tensorflow, &model, &data, config, &options);
        let losses: Vec<f64> = told
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["epoch"]["loss"].as_f64())
            .collect();
        if objective.len() == 2 {
            assert!(losses[19] < 0.5, "{losses:?}");
        }
    }
}

/// x·w0, twice around a loop, and then w2; beside it, a head without a loop where one is wanted.
fn around_a_loop(last: bool, head: bool) -> String {
    let frame = "attr { key: 'frame_name' value { s: 'loop' } }";
    let (int, n) = ("attr { key: 'T' value { type: DT_INT32 } }", "attr { key: 'N' value { i: 2 } }");
    let mut nodes = vec![
        input(2),
        constant("w0", &[2, 2], &[0.5, -0.25, 1.0, 0.75]),
        op("before", "MatMul", &["x", "w0"], T),
        integers("zero", &[0], ""),
        op("enter/i", "Enter", &["zero"], &format!("{int} {frame}")),
        op("enter/x", "Enter", &["before"], &format!("{T} {frame}")),
        op("merge/i", "Merge", &["enter/i", "next/i"], &format!("{int} {n}")),
        op("merge/x", "Merge", &["enter/x", "next/x"], &format!("{T} {n}")),
        integers("limit", &[2], "input: '^merge/i'"),
        op("less", "Less", &["merge/i", "limit"], int),
        op("cond", "LoopCond", &["less"], ""),
        op("switch/i", "Switch", &["merge/i", "cond"], int),
        op("switch/x", "Switch", &["merge/x", "cond"], T),
        op("body/i", "Identity", &["switch/i:1"], int),
        integers("one", &[1], "input: '^body/i'"),
        op("add", "AddV2", &["body/i", "one"], int),
        op("tanh", "Tanh", &["switch/x:1"], T),
        op("next/i", "NextIteration", &["add"], int),
        op("next/x", "NextIteration", &["tanh"], T),
        op("exit", "Exit", &["switch/x"], T),
    ];
    if last {
        nodes.push(constant("w2", &[2, 3], &[1.0, -0.5, 0.25, 0.75, 0.5, -1.0]));
        nodes.push(op("y", "MatMul", &["exit", "w2"], T));
    } else {
        nodes.push(op("y", "Identity", &["exit"], T));
    }
    if head {
        nodes.push(constant("w1", &[2, 3], &[1.0, 0.5, 0.25, -0.75, 0.5, -1.0]));
        nodes.push(op("head", "MatMul", &["before", "w1"], T));
    }
    nodes.push("versions { producer: 987 }".to_owned());
    nodes.join("\n")
}

#[test]
fn what_only_a_loop_leads_to_stays_untrained() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let data = data(&tensorflow, 2, 64);
    let config = "[{op_types: ['MatMul'], quant_types: ['weight'], quant_bits: 3}]";
    let options = ["--distill", "--epochs", "3", "--lr", "0.02", "--emit", "baked"];
    let train = |last: bool, head: bool| {
        let model = tensorflow.file("loop.pbtxt", around_a_loop(last, head));
        let (_, told) = finetune(&tensorflow, &model, &data, config, &options);
        told.lines().filter(|line| line.contains("not-trained")).map(str::to_owned).collect::<Vec<_>>()
    };
    let told = train(true, false);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("`w0` stays as it is") && told[0].contains("`exit` (Exit)"), "{told:?}");
    // What a way without a loop leads to is trained; the other output is given up for it.
    let told = train(true, true);
    assert!(told.iter().any(|line| line.contains("`y:0` is not trained on")), "{told:?}");
    assert!(
        told.iter().any(|line| line.contains("`w2`")) && !told.iter().any(|line| line.contains("`w0`")),
        "{told:?}"
    );
    // And where nothing is left, that is an error, before TensorFlow meets the loop.
    let model = tensorflow.file("loop.pbtxt", around_a_loop(false, false));
    let mut command = tensorflow.command("finetune", &model);
    command.arg("--data").arg(&data).args(["-Q", "qat", "--distill", "-c"]).arg(tensorflow.path("config.json5"));
    fails(command.arg("-o").arg(tensorflow.path("never.pb")), "E0805", &["nothing is left to train", "`exit` (Exit)"]);
}

/// A bias as Keras 3 gives it, and a batch normalization in single ops.
#[test]
fn biases_behind_reshapes_and_batch_norms_in_single_ops_train() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let data = data(&tensorflow, 2, 64);
    let shape = |values: &[i32]| integers("shape", values, "");
    let model = [
        input(2),
        constant("w", &[2, 3], &[0.5, -0.4, 0.1, -0.5, 0.5, 0.1]),
        constant("bias", &[3], &[0.1, -0.2, 0.3]),
        shape(&[1, 3]),
        op("bias/reshaped", "Reshape", &["bias", "shape"], T),
        op("product", "MatMul", &["x", "w"], T),
        integers("same", &[-1, 3], ""),
        op("reshaped", "Reshape", &["product", "same"], T),
        op("biased", "AddV2", &["reshaped", "bias/reshaped"], T),
        constant("gamma", &[3], &[1.5, 0.5, 1.0]),
        constant("beta", &[3], &[0.25, -0.5, 0.75]),
        constant("mean", &[3], &[0.5, 0.0, -0.5]),
        constant("variance", &[3], &[2.0, 1.0, 0.5]),
        constant("epsilon", &[], &[0.001]),
        op("add", "AddV2", &["variance", "epsilon"], T),
        op("rsqrt", "Rsqrt", &["add"], T),
        op("scale", "Mul", &["rsqrt", "gamma"], T),
        op("scaled", "Mul", &["biased", "scale"], T),
        op("shift", "Mul", &["mean", "scale"], T),
        op("offset", "Sub", &["beta", "shift"], T),
        op("y", "AddV2", &["scaled", "offset"], T),
    ];
    let model = tensorflow.file("norm.pbtxt", model.join("\n"));
    let config = "[{op_types: ['MatMul'], quant_types: ['weight'], quant_bits: 4}, {op_names: ['beta'], quant_types: ['weight'], quant_bits: 4}]";
    let options = ["--labels", "label", "--epochs", "3", "--lr", "0.1", "--emit", "baked"];
    let (_, told) = finetune(&tensorflow, &model, &data, config, &options);
    assert!(!told.contains("not-trained"), "{told}");
    let diff = good(Command::new(PROGRAM).arg("diff").arg(&model).arg(tensorflow.path("trained.pb")));
    for (name, trained) in
        [("w", true), ("bias", true), ("gamma", true), ("beta", true), ("mean", false), ("variance", false)]
    {
        let found = diff.lines().any(|line| line.starts_with(&format!("{name}:0 ")));
        assert_eq!(found, trained, "{name}: {diff}");
    }
}

/// Every piece of a weight trains its part of it, and a vector of which ops read pieces stays.
#[test]
fn weights_in_pieces_are_trained() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let data = data(&tensorflow, 2, 64);
    let model = [
        input(2),
        constant("w", &[2, 4], &[0.5, -0.4, 0.1, 0.3, -0.5, 0.5, 0.1, 0.2]),
        integers("axis", &[1], ""),
        op("parts", "Split", &["axis", "w"], &format!("{T} attr {{ key: 'num_split' value {{ i: 2 }} }}")),
        op("m1", "MatMul", &["x", "parts"], T),
        op("r1", "Relu", &["m1"], T),
        op("m2", "MatMul", &["r1", "parts:1"], T),
        constant("biases", &[4], &[0.1, -0.2, 0.3, 0.4]),
        integers("begin", &[1, 0], ""),
        integers("size", &[1, 2], ""),
        integers("two", &[2, 2], ""),
        op("rows", "Reshape", &["biases", "two"], T),
        op(
            "row",
            "Slice",
            &["rows", "begin", "size"],
            &format!("{T} attr {{ key: 'Index' value {{ type: DT_INT32 }} }}"),
        ),
        op("y", "AddV2", &["m2", "row"], T),
    ];
    let model = tensorflow.file("pieces.pbtxt", model.join("\n"));
    let config = "[{op_types: ['MatMul'], quant_types: ['weight'], quant_bits: 4}]";
    let options = ["--labels", "label", "--epochs", "3", "--lr", "0.1", "--emit", "baked"];
    let (report, told) = finetune(&tensorflow, &model, &data, config, &options);
    assert!(told.contains("not-trained") && told.contains("row"), "{told}");
    let sites: Vec<&str> =
        report["sites"].as_array().unwrap().iter().map(|site| site["op"].as_str().unwrap()).collect();
    assert_eq!(sites, ["m1", "m2"]);
    let diff = good(Command::new(PROGRAM).arg("diff").arg(&model).arg(tensorflow.path("trained.pb")));
    for (name, trained) in [("w", true), ("biases", false)] {
        assert_eq!(diff.lines().any(|line| line.starts_with(&format!("{name}:0 "))), trained, "{name}: {diff}");
    }
}

/// What the config names and training leaves out stands in the report; what begins too late is told before and after.
#[test]
fn skipped_sites_and_late_starts_are_told() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let data = data(&tensorflow, 10, 64);
    let model = tensorflow.file("regression.pbtxt", regression(&op("y", "Identity", &["sum"], T)));
    let config = "[{op_types: ['MatMul'], quant_types: ['weight'], quant_bits: 8},
                   {op_types: ['Relu'], quant_types: ['output'], quant_bits: 8, quant_start_step: 7000},
                   {op_names: ['m2'], exclude: true}]";
    let (report, told) =
        finetune(&tensorflow, &model, &data, config, &["--distill", "--epochs", "2", "--validation", "0"]);
    let skipped = |op: &str| {
        let site = report["sites"].as_array().unwrap().iter().find(|site| site["op"] == op).cloned().unwrap();
        (site["decision"]["skip"]["code"].as_str().unwrap().to_owned(), site["decision"]["skip"]["text"].to_string())
    };
    assert_eq!(skipped("m2").0, "excluded");
    let (code, text) = skipped("r1");
    assert!(code == "not-begun" && text.contains("step 4 of 7000: quantization had not begun"), "{text}");
    assert!(told.contains("late-start") && told.contains("beyond the 4 steps"), "{told}");
    assert!(told.contains("not-begun") && told.contains("smaller `quant_start_step`"), "{told}");
}
