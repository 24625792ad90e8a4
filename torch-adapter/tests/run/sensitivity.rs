//! What each site costs, against the two commands that say the same of one archive: `compress` of one site, and `evaluate` against the float one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::wrong::{made, said};
use super::{DIGITS, TRACED, Torch, stderr, told};

/// Everything that has a weight.
const TYPES: &str = "op_types: ['default', 'LSTM', 'GRU', 'LSTMCell', 'GRUCell', 'RNNCell', 'Einsum', 'bmm']";

impl Torch {
    fn sensitivity(&self, model: &Path, data: &Path, options: &[&str]) -> Command {
        let mut command = self.command(["sensitivity".as_ref(), model.as_ref(), "--data".as_ref(), data.as_ref()]);
        command.args(options).env("TMPDIR", self.temporary());
        command
    }

    fn measured(&self, model: &Path, data: &Path, options: &[&str]) -> Value {
        serde_json::from_str(&told(self.sensitivity(model, data, options).arg("--json"))).unwrap()
    }

    /// Where files are for the time of a run.
    fn temporary(&self) -> PathBuf {
        let path = self.path("temporary");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The archive with the weights of these ops at so many bits, beside the float one.
    fn beside(&self, model: &Path, data: &Path, (ops, bits): (&str, u64), options: &[&str]) -> Value {
        let (config, out) = (self.path("one.json5"), self.path("one.pt"));
        fs::write(&config, format!("[{{{ops}, quant_types: ['weight'], quant_bits: {bits}}}]")).unwrap();
        let mut command = self.command(["compress".as_ref(), model.as_ref()]);
        command.args(["-q", "-Q", "naive", "--emit", "baked", "--fold", "off", "-c"]).arg(&config);
        told(command.args(["-o".as_ref(), out.as_os_str()]));
        let mut command = self.command(["evaluate".as_ref(), out.as_ref(), "--data".as_ref(), data.as_ref()]);
        serde_json::from_str(&told(command.args(["--json", "--against"]).arg(model).args(options))).unwrap()
    }
}

/// A site at a number of bits.
fn at<'v>(found: &'v Value, op: &str, bits: u64) -> &'v Value {
    let sites = found["sites"].as_array().unwrap();
    let site = sites.iter().find(|site| site["op"] == op).unwrap();
    site["at"].as_array().unwrap().iter().find(|at| at["bits"] == bits).unwrap()
}

/// That every output is as far off as `evaluate` says: the same numbers from the same outputs, and these have the same bits, since a weight is the
/// same bytes for the same kernels.
#[track_caller]
fn same(loss: &Value, theirs: &Value, what: &str) {
    let (own, theirs) = (loss["outputs"].as_array().unwrap(), theirs["outputs"].as_array().unwrap());
    assert_eq!(own.len(), theirs.len(), "{what}");
    for (own, theirs) in own.iter().zip(theirs) {
        for (name, path) in [("error", "/error"), ("top_1", "/agreement/top_1"), ("accuracy", "/accuracy/model")] {
            assert_eq!(own.get(name), theirs.pointer(path), "{what}: {name}");
        }
    }
}

#[test]
fn each_site_costs_what_compress_and_evaluate_say() {
    let Some(torch) = Torch::find() else { return };
    let (data, frozen) = (torch.test_data(), torch.path("frozen.pt"));
    torch.script(&["freeze".as_ref(), DIGITS.as_ref(), frozen.as_ref()]);
    let labels = ["--labels", "label"];
    let mut ranked = Vec::new();
    for model in [Path::new(DIGITS), Path::new(TRACED), &frozen] {
        let options = ["--labels", "label", "--bits", "3,8", "--all-but", "--fold", "off"];
        let found = torch.measured(model, &data, &options);
        assert_eq!(
            (&found["samples"], &found["ranked_by"], &found["bits"]),
            (&697.into(), &"kl".into(), &json!([8, 3]))
        );
        assert_eq!(found["outputs"][0]["scores"], "logits");
        assert!(found["framework"].as_str().unwrap().starts_with("torch 1.") && found["warnings"].is_null(), "{found}");
        let ops: Vec<&str> =
            found["sites"].as_array().unwrap().iter().map(|site| site["op"].as_str().unwrap()).collect();
        assert_eq!(ops.len(), 7);
        let whole = torch.beside(model, &data, ("op_types: 'default'", 3), &labels);
        same(&found["whole"][1], &whole, "all");
        assert_eq!(found["outputs"][0]["accuracy"], whole["outputs"][0]["accuracy"]["reference"]);
        let some = if model == Path::new(DIGITS) { 4 } else { 1 };
        for op in &ops[..some] {
            let theirs = torch.beside(model, &data, (&format!("op_names: ['{op}']"), 3), &labels);
            same(&at(&found, op, 3)["alone"], &theirs, op);
        }
        let others: Vec<String> = ops[1..].iter().map(|op| format!("'{op}'")).collect();
        let theirs = torch.beside(model, &data, (&format!("op_names: [{}]", others.join(", ")), 3), &labels);
        same(&at(&found, ops[0], 3)["all_but"], &theirs, "all but one");
        // Ranked by what was measured, at each number of bits.
        for bits in [8, 3] {
            let mut order = ops.clone();
            order.sort_by_key(|op| at(&found, op, bits)["rank"].as_u64());
            let losses: Vec<f64> =
                order.iter().map(|op| at(&found, op, bits)["alone"]["loss"].as_f64().unwrap()).collect();
            assert!(losses.is_sorted_by(|a, b| a >= b), "{losses:?}");
        }
        let losses: Vec<Value> = ops.iter().map(|op| at(&found, op, 3)["alone"]["loss"].clone()).collect();
        ranked.push(losses);
        assert_eq!(fs::read_dir(torch.temporary()).unwrap().count(), 0, "files stay behind");
    }
    // One model, whatever it is called in its three forms; the frozen one is another text for the same kernels.
    assert_eq!(ranked[0], ranked[1]);
    assert_eq!(ranked[0], ranked[2]);
}

#[test]
fn a_site_is_alone_whoever_else_reads_its_weight() {
    let Some(torch) = Torch::find() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let kinds = torch.path("kinds");
    fs::create_dir(&kinds).unwrap();
    let script = root.join("tests/torch/kinds.py");
    told(Command::new(&torch.python).arg(script).arg("make").arg(&kinds));
    let small = root.join("tests/models/torch");
    let all = [
        "tied.script",
        "tied.freeze",
        "shared.script",
        "lists.trace",
        "lstm.freeze",
        "bfloat16.freeze",
        "double.script",
    ];
    let all = all.map(|name| (small.join(format!("{name}.pt")), name, 0));
    // Elements of lists and dictionaries, of which one line reads several; objects that keep their text, and are no modules.
    let others = [("attributes", 0), ("products.freeze", 0), ("boxes", 3), ("made", 1)];
    let others = others.map(|(name, left)| (kinds.join(format!("{name}.pt")), name, left));
    for (model, name, left) in all.into_iter().chain(others) {
        let (data, config) = (torch.path("inputs.npz"), torch.path("all.json5"));
        torch.evaluated(&[&"inputs", &name, &data]);
        fs::write(&config, format!("[{{{TYPES}, quant_types: ['weight'], quant_bits: 3}}]")).unwrap();
        let config = config.to_str().unwrap();
        let options = ["-q", "--bits", "3", "--fold", "off", "-Q", "naive", "-c", config];
        let found = torch.measured(&model, &data, &options);
        let warned = found["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(warned.len() == left && warned.iter().all(|reason| reason["code"] == "not-tried"), "{name}: {found}");
        let sites = found["sites"].as_array().unwrap();
        let named = |op: &Value| sites.iter().filter(|site| site["op"] == *op).count();
        for site in
            sites.iter().filter(|site| named(&site["op"]) == 1).take(if name.starts_with("tied") { 2 } else { 1 })
        {
            let op = site["op"].as_str().unwrap();
            let theirs = torch.beside(&model, &data, (&format!("op_names: ['{op}']"), 3), &[]);
            same(&site["at"][0]["alone"], &theirs, &format!("{name}: {op}"));
        }
        if left == 0 {
            same(&found["whole"][0], &torch.beside(&model, &data, (TYPES, 3), &[]), name);
        }
    }
}

#[test]
fn batches_and_folding_change_the_model_as_little_as_they_do() {
    let Some(torch) = Torch::find() else { return };
    let (data, model) = (torch.test_data(), Path::new(DIGITS));
    let one = torch.measured(model, &data, &["--bits", "4", "--batch", "697", "-j", "1"]);
    let many = torch.measured(model, &data, &["--bits", "4", "--batch", "50", "-j", "2"]);
    // PyTorch's kernels do not give the same bits for every size of batch: a rounding of each output, 2^-24 of it, moves the sum of a batch's
    // divergences by far less than this.
    for site in one["sites"].as_array().unwrap() {
        let op = site["op"].as_str().unwrap();
        let [own, other] = [&one, &many].map(|found| at(found, op, 4)["alone"]["loss"].as_f64().unwrap());
        assert!((own - other).abs() <= 1e-3 * own, "{op}: {own}, {other}");
        assert_eq!(at(&one, op, 4)["weight_sqnr_db"], at(&many, op, 4)["weight_sqnr_db"]);
    }
    // With batch norms folded, what is compared is the folded model.
    let mobile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/torch/mobile.script.pt");
    let (data, folded) = (torch.path("inputs.npz"), torch.path("folded.pt"));
    torch.evaluated(&[&"inputs", &"mobile.script", &data]);
    told(torch.command(["fold".as_ref(), mobile.as_ref(), "-o".as_ref(), folded.as_ref()]).arg("-q"));
    let [own, other] = [&mobile, &folded].map(|model| torch.measured(model, &data, &["--bits", "3"]));
    assert_eq!(own["sites"], other["sites"]);
    assert_eq!(own["sites"].as_array().unwrap().len(), 11);
}

#[test]
fn what_an_output_is_stands_beside_it() {
    let Some(torch) = Torch::find() else { return };
    let (data, model) = (torch.test_data(), torch.archive("said"));
    let found = torch.measured(&model, &data, &["--bits", "4"]);
    let outputs: Vec<(&str, &Value, &str)> = found["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|output| (output["name"].as_str().unwrap(), &output["scores"], output["known_by"].as_str().unwrap()))
        .collect();
    let word = |word: &str| Value::from(word);
    let expected = [
        ("output.0", word("probabilities"), "made by Softmax"),
        ("output.1.log", word("logits"), "made by LogSoftmax"),
        ("output.1.each", word("independent"), "made by Sigmoid"),
        ("output.2", word("independent"), "from 0 to 1, rows add up to other sums"),
        ("output.3", word("probabilities"), "from 0 to 1, rows add up to 1"),
        ("output.4", word("logits"), "[rows, classes], not from 0 to 1"),
        ("output.5", Value::Null, "not [rows, classes] of float"),
    ];
    let expected: Vec<_> = expected.iter().map(|(name, scores, known_by)| (*name, scores, *known_by)).collect();
    assert_eq!(outputs, expected);
    // Four ways to the same probabilities have the same divergence: float32 rounds each by 2^-24, and there are few of them.
    let kl = |at: usize| found["sites"][0]["at"][0]["alone"]["outputs"][at]["kl"].as_f64().unwrap();
    for at in [0, 1, 4] {
        assert!(kl(5) > 1e-6 && (kl(at) - kl(5)).abs() <= 1e-3 * kl(5), "{at}: {}, {}", kl(at), kl(5));
    }
}

#[test]
fn what_cannot_be_measured_says_why() {
    let Some(torch) = Torch::find() else { return };
    let (data, digits) = (torch.test_data(), Path::new(DIGITS));
    let refused = |model: &Path, data: &Path, options: &[&str], expected: &str| {
        let said = said(&mut torch.sensitivity(model, data, options));
        assert!(said.contains(&format!("error[{expected}")), "{expected}: {said}");
        assert_eq!(fs::read_dir(torch.temporary()).unwrap().count(), 0, "files stay behind");
    };
    let labelled = ["--labels", "label"];
    let wrong = |name: &str, lines: &str| made(&torch, name, lines);
    let label = wrong("label.npz", "np.savez(sys.argv[2], image=image, label=np.full(100, 10))");
    refused(digits, &label, &labelled, "T0804]: data: the label of sample 0 is 10, expected a class from 0 to 9");
    let half = wrong("half.npz", "np.savez(sys.argv[2], image=image, label=np.full(100, 0.5))");
    refused(digits, &half, &labelled, "T0804]: data: the labels `label` hold a number that is not whole");
    refused(digits, &data, &["--labels", "lable"], "T0804]: data: there is no array `lable` with labels");
    let nan = wrong("nan.npz", "image[70, 0, 2, 3] = np.nan\nnp.savez(sys.argv[2], image=image)");
    refused(digits, &nan, &[], "T0804]: data: `image` has nan at [70, 0, 2, 3]");
    let flat = wrong("flat.npz", "np.savez(sys.argv[2], image=image[:, :, :, 0])");
    refused(
        digits,
        &flat,
        &[],
        "T0803]: PyTorch cannot run the archive on samples 0 to 31 (`image` float32[32, 1, 8]): ",
    );
    refused(digits, &data, &["--python", "/no/python"], "T0801]: no Python with PyTorch was found");
    refused(digits, Path::new(DIGITS), &[], "T0804]: data: ");
    refused(&data, &data, &[], "T01");
    refused(
        &torch.archive("keeping"),
        &data,
        &[],
        "T0805]: the archive gives another `output` when it runs on samples 0 to 31 again",
    );
    refused(&torch.archive("image"), &data, &["--allow-unmatched"], "T0805]: no weight of the model is quantized");
    // A weight at 3 bits is not what this one needs.
    let deep = torch.archive("deep");
    let gone =
        "T0804]: data: the model with all weights at 2 bits gives NaN in `output` for sample 0, whose data is finite";
    refused(&deep, &data, &["--bits", "2"], gone);
    refused(
        &deep,
        &data,
        &["--bits", "8", "--labels", "label"],
        "T0805]: no output of the model has one score per class",
    );
    let found = torch.measured(&deep, &data, &["--bits", "8"]);
    assert_eq!(found["ranked_by"], "noise");

    // What is wrong with the command line says so before anything is opened.
    for bits in ["17", "4,1", "x"] {
        let output = torch.sensitivity(Path::new("none.pt"), &data, &["--bits", bits]).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.starts_with("error[U0203]: ") && told.contains("--bits"), "{told}");
    }
    let output = torch.sensitivity(&deep, &data, &["--report", deep.to_str().unwrap()]).output().unwrap();
    assert!(stderr(&output).starts_with("error[U0106]: "), "{}", stderr(&output));
}

#[test]
fn the_table_and_the_page_say_what_to_do() {
    let Some(torch) = Torch::find() else { return };
    let (data, page, config) = (torch.test_data(), torch.path("page.html"), torch.path("config.json5"));
    fs::write(&config, "[{op_types: 'default', quant_types: ['weight', 'input'], quant_bits: 8}]").unwrap();
    let options =
        ["--labels", "label", "-Q", "qat", "-c", config.to_str().unwrap(), "--report", page.to_str().unwrap()];
    let output = torch.sensitivity(Path::new(DIGITS), &data, &options).output().unwrap();
    let (told, warned) = (String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output));
    assert!(output.status.success() && told.starts_with("697 samples, qat\n"), "{told}{warned}");
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    assert!(told.contains("\noutput: logits ([rows, classes], not from 0 to 1); float accuracy 97.42 %\n"), "{told}");
    assert!(warned.contains("warning[not-tried]: weights alone are tried: 7 inputs and outputs"), "{warned}");
    let page = fs::read_to_string(page).unwrap();
    for op in ["conv1.conv", "dense2"] {
        assert!(told.contains(op) && page.contains(op), "{op}: {told}");
    }
    assert!(page.contains("<h2>3 bits</h2>") && page.ends_with("</body>\n</html>\n"));
}
