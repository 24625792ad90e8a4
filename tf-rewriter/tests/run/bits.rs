//! Bits for each weight under a budget: what is found, beside `compress` of the config that was written and `evaluate` of the file.

use std::collections::BTreeSet;

use super::sensitivity::{SHARED, rows};
use super::*;

const SAVED_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits");
const RESIDUAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/tf/residual_net.py");

/// `compress MODEL -o OUT` with data.
fn search(tensorflow: &TensorFlow, model: &Path, out: &Path, data: &Path, options: &[&str]) -> Command {
    let mut command = tensorflow.command("compress", model);
    command.arg("-o").arg(out).arg("--data").arg(data).args(options);
    command
}

/// What it says, where it goes well.
fn found(command: &mut Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{command:?}\n{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn evaluated(tensorflow: &TensorFlow, model: &Path, against: &Path, options: &[&str]) -> Value {
    let mut command = tensorflow.command("evaluate", model);
    command.arg("--against").arg(against).args(options).arg("--json");
    serde_json::from_str(&good(&mut command)).unwrap()
}

/// The same file again, from the config that was written.
fn made_again(tensorflow: &TensorFlow, model: &Path, config: &Path, emit: &str) -> Vec<u8> {
    let out = tensorflow.path("again.pb");
    runs(tensorflow.plain("compress", model).args(["-q", "--emit", emit, "-c"]).arg(config).arg("-o").arg(&out));
    fs::read(out).unwrap()
}

/// The model with all weights of so many bits that was measured.
fn uniform(mixed: &Value, bits: u64) -> &Value {
    let tried = mixed["tried"].as_array().unwrap();
    tried.iter().find(|trial| trial["bits"] == bits).unwrap_or_else(|| panic!("{bits}: {mixed}"))
}

/// The bits of each site; `None`: float.
fn bits(mixed: &Value) -> Vec<(String, Option<u64>)> {
    let sites = mixed["sites"].as_array().unwrap();
    sites.iter().map(|site| (site["op"].as_str().unwrap().to_owned(), site["bits"].as_u64())).collect()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// The table of `docs/budget.md`: `cargo test -p tf-rewriter --test run bits::a_mix -- --nocapture`, with the Python of TensorFlow in
/// `QUANT_TF_PYTHON`. Neither net has seen the images: bits are searched on one half of them, and the drop is measured on the other, too.
#[test]
fn a_mix_is_smaller_than_8_bits_everywhere_and_drops_less_than_a_point() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let folder = tensorflow.folder.path();
    let output = Command::new(&tensorflow.python)
        .arg(RESIDUAL)
        .arg(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let residual = tensorflow.path("residual");
    let [searched, others] = [0, 1].map(|half| half_of_test(&tensorflow, half));
    let data = |half: &Path| {
        ["--data".to_owned(), half.to_str().unwrap().to_owned(), "--labels".to_owned(), "label".to_owned()]
    };
    for (net, model, options) in [
        ("digits", Path::new(DIGITS), &["--max-drop", "1%"][..]),
        ("residual", &residual, &["--max-drop", "1%", "--bits", "8,4,2"]),
    ] {
        let (out, config) = (tensorflow.path("mixed.pb"), tensorflow.path("mixed.json"));
        let mut command = search(&tensorflow, model, &out, &searched, options);
        let told = found(command.args(["--labels", "label", "--write-config"]).arg(&config));
        let mixed = &told["mixed_bits"];
        let (verified, eight) = (&mixed["verified"], uniform(mixed, 8));

        // What is told is what is written.
        assert_eq!(verified["bytes"], length(&out), "{net}");
        assert_eq!(told["bytes_after"], length(&out), "{net}");
        let theirs = evaluated(&tensorflow, &out, model, &data(&searched).each_ref().map(String::as_str));
        let (own, theirs) = (&verified["outputs"][0], &theirs["outputs"][0]);
        // The float model of a search has its batch norms in its layers: its outputs round otherwise, by less than 1e-6 of them.
        let of = |error: &Value| error["mse"].as_f64().unwrap();
        let (own_mse, mse) = (of(&own["error"]), of(&theirs["error"]));
        assert!((own_mse - mse).abs() <= 1e-5 * mse, "{net}: {own_mse} {mse}");
        assert_eq!((&own["top_1"], &own["accuracy"]), (&theirs["agreement"]["top_1"], &theirs["accuracy"]["model"]));
        let drop = theirs["accuracy"]["reference"].as_f64().unwrap() - theirs["accuracy"]["model"].as_f64().unwrap();
        assert!(near(verified["drop"].as_f64().unwrap(), drop), "{net}");
        assert!(drop <= 0.01 && verified["holds"] == true, "{net}: {drop}");
        assert!(made_again(&tensorflow, model, &config, "packed") == fs::read(&out).unwrap(), "{net}");

        // A file with 8 bits everywhere is as large as `compress` makes it.
        let plain = tensorflow.path("eight.pb");
        runs(tensorflow.plain("compress", model).args(["-q", "-Q", "naive", "--emit", "packed", "-o"]).arg(&plain));
        assert_eq!(eight["bytes"], length(&plain), "{net}");

        // It is a mix, and worth it.
        let kinds: BTreeSet<Option<u64>> = bits(mixed).into_iter().map(|(_, bits)| bits).collect();
        assert!(kinds.len() > 1, "{net}: {kinds:?}");
        let dropped = |path: &Path, half: &Path| {
            let found = evaluated(&tensorflow, path, model, &data(half).each_ref().map(String::as_str));
            let accuracy = &found["outputs"][0]["accuracy"];
            let [float, own] =
                [&accuracy["reference"], &accuracy["model"]].map(|share| 100.0 * share.as_f64().unwrap());
            float - own
        };
        let on_others = dropped(&out, &others);
        let count = |bits: Option<u64>| self::bits(mixed).iter().filter(|(_, own)| *own == bits).count();
        eprintln!(
            "| {net} | {} | {} | {} | {:.1} % | {} + {} + {} + {} | {:.2}, {:.2} | {:.2}, {on_others:.2} |",
            told["bytes_before"],
            length(&plain),
            length(&out),
            100.0 - 100.0 * num(length(&out)) / num(length(&plain)),
            count(Some(8)),
            count(Some(4)),
            count(Some(2)),
            count(None),
            dropped(&plain, &searched),
            dropped(&plain, &others),
            100.0 * drop,
        );
        assert!(num(length(&out)) <= 0.85 * num(length(&plain)), "{net}: {} {}", length(&out), length(&plain));
        // Of 349 others, at most 2 % are right in one model alone: two standard errors of their difference are 1.5 points.
        assert!(on_others <= 2.5, "{net}: {on_others}");
        // Nothing below the bound, and the search says what it has measured.
        assert!(mixed["bound"].as_f64().unwrap() <= verified["sum"].as_f64().unwrap());
        assert!(["converged", "smallest"].contains(&mixed["stopped"].as_str().unwrap()));
    }
}

/// Every second image, with its label.
fn half_of_test(tensorflow: &TensorFlow, half: usize) -> PathBuf {
    let path = tensorflow.path(&format!("half{half}.npz"));
    let mut archive = ndarray_npy::NpzWriter::new(fs::File::create(&path).unwrap());
    let every_second = ndarray::Slice::new(isize::try_from(half).unwrap(), None, 2);
    let images = array::<f32>(Path::new(TEST_DATA), "image");
    archive.add_array("image", &images.slice_axis(ndarray::Axis(0), every_second)).unwrap();
    let labels = array::<i64>(Path::new(TEST_DATA), "label");
    archive.add_array("label", &labels.slice_axis(ndarray::Axis(0), every_second)).unwrap();
    archive.finish().unwrap();
    path
}

/// Shares of samples are read from text, and subtracted: a sample more is far more than this.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[expect(clippy::cast_precision_loss, reason = "lengths of small files")]
fn num(bytes: u64) -> f64 {
    bytes as f64
}

#[test]
fn what_fits_loses_least_and_without_labels_first_classes_count() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let out = tensorflow.path("fits.pb");
    let size = |size: &str| {
        found(&mut search(&tensorflow, Path::new(DIGITS), &out, Path::new(TEST_DATA), &["--max-size", size]))
    };
    let mut before = f64::INFINITY;
    for (asked, most) in [("30%", 0.3 * num(length(Path::new(DIGITS)))), ("19kB", 19_000.0), ("22.5KiB", 23_040.0)] {
        let told = size(asked);
        let mixed = &told["mixed_bits"];
        assert!(num(length(&out)) <= most, "{asked}: {}", length(&out));
        assert_eq!((&mixed["stopped"], &mixed["drop_of"]), (&"fits".into(), &"first_class".into()));
        // What fits and was measured loses no less.
        let loss = mixed["verified"]["loss"].as_f64().unwrap();
        for trial in mixed["tried"].as_array().unwrap().iter().filter(|trial| trial["holds"] == true) {
            assert!(trial["loss"].as_f64().unwrap() >= loss, "{asked}: {trial}");
        }
        assert!(loss <= before, "{asked}: {loss} {before}");
        before = loss;
        let agreement = evaluated(&tensorflow, &out, Path::new(DIGITS), &["--data", TEST_DATA]);
        let same = agreement["outputs"][0]["agreement"]["top_1"].as_f64().unwrap();
        assert!(near(mixed["verified"]["drop"].as_f64().unwrap(), 1.0 - same), "{asked}");
    }
    let old = fs::read(&out).unwrap();
    let texts = ["with weights of 8 or 4 bits the file takes ", "allow more bytes, or fewer bits: `--bits 8,4,2`"];
    fails(
        &mut search(&tensorflow, Path::new(DIGITS), &out, Path::new(TEST_DATA), &["--max-size", "10%"]),
        "B0102",
        &texts,
    );
    assert_eq!(fs::read(&out).unwrap(), old);
    // Less than all first classes: at most two of 697 samples.
    let told = found(&mut search(&tensorflow, Path::new(DIGITS), &out, Path::new(TEST_DATA), &["--max-drop", "0.3%"]));
    assert!(told["mixed_bits"]["verified"]["drop"].as_f64().unwrap() <= 0.003);
}

#[test]
fn the_config_says_which_sites_and_how() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let config = "[{op_types: 'default', quant_types: ['weight', 'output'], quant_bits: 8, per_channel: false},
                   {op_names: ['conv1', 'dw*'], exclude: true}]";
    let config = tensorflow.file("some.json5", config);
    let (out, written) = (tensorflow.path("some.pb"), tensorflow.path("written.json"));
    let run = |emit: &str| {
        let mut command =
            search(&tensorflow, Path::new(DIGITS), &out, Path::new(TEST_DATA), &["--min-sqnr", "20", "-Q", "qat"]);
        found(command.args(["--emit", emit, "--bits", "8,4", "-c"]).arg(&config).arg("--write-config").arg(&written))
    };
    for emit in ["packed", "baked"] {
        let told = run(emit);
        let mixed = &told["mixed_bits"];
        assert_eq!(
            bits(mixed).iter().map(|(op, _)| op.as_str()).collect::<Vec<_>>(),
            ["pw1", "pw2", "dense1", "dense2"]
        );
        assert_eq!(mixed["quantizer"], "qat");
        assert!(mixed["warnings"][0]["text"].as_str().unwrap().contains("weights alone are tried"), "{mixed}");
        let error = &evaluated(&tensorflow, &out, Path::new(DIGITS), &["--data", TEST_DATA])["outputs"][0]["error"];
        assert_eq!(&mixed["verified"]["outputs"][0]["error"], error, "{emit}");
        assert!(error["sqnr_db"].as_f64().unwrap() >= 20.0);
        for site in told["sites"].as_array().unwrap().iter().filter(|site| site["kind"] == "weight") {
            if let Some(settings) = site["decision"].get("quantize") {
                assert!(settings.get("channel_axis").is_none(), "{site}");
                let op = site["op"].as_str().unwrap();
                let own = bits(mixed).into_iter().find(|(name, _)| name == op).unwrap().1;
                assert_eq!(settings["bits"].as_u64(), own, "{op}");
            }
        }
        assert!(made_again(&tensorflow, Path::new(DIGITS), &written, emit) == fs::read(&out).unwrap(), "{emit}");
        // Activations are still in it, for another form.
        assert!(fs::read_to_string(&written).unwrap().contains("output"));
    }
}

/// The layers of a model with two signatures are there twice, and functions in between: all of them get the bits.
#[test]
fn a_saved_model_stays_one_and_is_counted_whole() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let (out, written, again) = (tensorflow.path("small"), tensorflow.path("small.json"), tensorflow.path("again"));
    let before: u64 = files(Path::new(SAVED_MODEL)).iter().map(|path| length(path)).sum();
    let mut command = search(&tensorflow, Path::new(SAVED_MODEL), &out, Path::new(TEST_DATA), &["--max-size", "45%"]);
    let told = found(command.arg("--write-config").arg(&written));
    let after: u64 = files(&out).iter().map(|path| length(path)).sum();
    assert_eq!((&told["bytes_before"], &told["bytes_after"]), (&before.into(), &after.into()));
    assert_eq!(told["mixed_bits"]["verified"]["bytes"], after);
    assert!(num(after) <= 0.45 * num(before), "{after} {before}");
    let error = &evaluated(&tensorflow, &out, Path::new(SAVED_MODEL), &["--data", TEST_DATA])["outputs"][0]["error"];
    assert_eq!(&told["mixed_bits"]["verified"]["outputs"][0]["error"], error);
    let mut command = tensorflow.plain("compress", Path::new(SAVED_MODEL));
    runs(command.args(["-q", "--emit", "packed", "-c"]).arg(&written).arg("-o").arg(&again));
    assert!(fs::read(again.join("saved_model.pb")).unwrap() == fs::read(out.join("saved_model.pb")).unwrap());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn ops_that_read_one_constant_have_their_bits_together() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file("shared.pbtxt", SHARED);
    let data = rows(&tensorflow, "rows.npz", 40, 1);
    let (out, written) = (tensorflow.path("shared.pb"), tensorflow.path("shared.json"));
    let options = ["--min-sqnr", "15", "--bits", "8,4,2", "--outputs", "y"];
    let told = found(search(&tensorflow, &model, &out, &data, &options).arg("--write-config").arg(&written));
    let sites = told["mixed_bits"]["sites"].as_array().unwrap();
    let of = |op: &str| sites.iter().find(|site| site["op"] == op).unwrap();
    assert_eq!(of("first")["bits"], of("second")["bits"]);
    assert_eq!(of("second")["bytes"], 0);
    assert_eq!(told["mixed_bits"]["verified"]["bytes"], length(&out));
    assert!(made_again(&tensorflow, &model, &written, "packed") == fs::read(&out).unwrap());
}

#[test]
fn where_no_mix_holds_nothing_is_written_and_it_says_how_near_one_came() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let out = tensorflow.path("none.pb");
    let options = ["--min-sqnr", "200", "--bits", "2"];
    let texts = [
        "no mix of the bits [2] and float keeps 200 dB; the nearest, with ",
        " of 7 weights in float, has ",
        "`sensitivity`",
    ];
    fails(&mut search(&tensorflow, Path::new(DIGITS), &out, Path::new(TEST_DATA), &options), "B0101", &texts);
    // An output that is no score of classes has no drop.
    let text = SHARED.replace("'y'", "'z'").replace("op: 'Softmax' input: 'sum'", "op: 'Identity' input: 'flat'");
    let flat = "node { name: 'minus' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } attr { key: 'value' value { tensor {
            dtype: DT_INT32 tensor_shape { dim { size: 3 } } int_val: [-1, 3, 1] } } } }
        node { name: 'flat' op: 'Reshape' input: 'sum' input: 'minus' attr { key: 'T' value { type: DT_FLOAT } }
            attr { key: 'Tshape' value { type: DT_INT32 } } }
        node { name: 'z'";
    let text = text.replace("node { name: 'z'", flat).replace("op: 'Square'", "op: 'NoOp'");
    let text = text
        .replace("node { name: 'squares' op: 'NoOp' input: 'read' attr { key: 'T' value { type: DT_FLOAT } } }", "");
    let model = tensorflow.file("flat.pbtxt", text);
    let data = rows(&tensorflow, "rows.npz", 40, 1);
    let drop = search(&tensorflow, &model, &out, &data, &["--max-drop", "1%"]).output().unwrap();
    let told = stderr(&drop);
    assert!(told.starts_with("error[B0103]: ") && told.contains("`--min-sqnr 30`"), "{told}");
    assert!(!out.exists());
    let near = found(&mut search(&tensorflow, &model, &out, &data, &["--min-sqnr", "30"]));
    assert!(near["mixed_bits"]["verified"].get("drop").is_none());
    let error = &evaluated(&tensorflow, &out, &model, &["--data", data.to_str().unwrap()])["outputs"][0]["error"];
    assert!(error["sqnr_db"].as_f64().is_none_or(|db| db >= 30.0), "{error}");
}

#[test]
fn what_does_not_go_together_says_so_before_anything_is_opened() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let refused = |options: &[&str], code: &str, text: &str| {
        let mut command = tensorflow.command("compress", Path::new("none.pb"));
        let output = command.args(["-o", "out.pb"]).args(options).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {told}");
        assert!(told.starts_with(&format!("error[{code}]: ")) && told.contains(text), "{options:?}: {told}");
    };
    let data = ["--data", "none.npz"];
    for (options, code, text) in [
        (&["--max-drop", "1"][..], "U0203", "expected one like `1%`"),
        (&["--max-drop=-1%"], "U0203", "expected one like `1%`"),
        (&["--max-size", "5XB"], "U0203", "`4MB`"),
        (&["--min-sqnr", "much"], "U0203", "expected one like `30`"),
        (&["--max-drop", "1%", "--bits", "16"], "U0203", "at most 8"),
        (&["--max-drop", "1%", "--bits", "8,1"], "U0203", "expected 2 to 16"),
        (&["--max-drop", "1%", "--max-size", "30%"], "U0205", "--max-size"),
        (&["--max-drop", "1%", "--calibrate", "none.npz"], "U0205", "--calibrate"),
        (&["--max-drop", "1%", "--plan", "plan.json"], "U0205", "--plan"),
        (&["--max-drop", "1%", "--emit", "inference"], "U0205", "`--write-config C.json`"),
        (&["--max-size", "30%", "--emit", "baked"], "U0205", "`--emit packed`"),
        (&[], "U0204", "--max-drop"),
    ] {
        refused(&[options, &data].concat(), code, text);
    }
    refused(&["--max-drop", "1%"], "U0204", "--data");
    refused(&["-Q", "naive", "--write-config", "c.json"], "U0204", "--max-drop");
    // Files.
    let model = tensorflow.file("model.pb", fs::read(DIGITS).unwrap());
    let mut command =
        search(&tensorflow, &model, &tensorflow.path("out.pb"), Path::new(TEST_DATA), &["--max-drop", "1%"]);
    let output = command.arg("--write-config").arg(&model).output().unwrap();
    assert!(stderr(&output).starts_with("error[U0106]: "), "{}", stderr(&output));
    let text = tensorflow.path("out.pbtxt");
    fails(&mut search(&tensorflow, &model, &text, Path::new(TEST_DATA), &["--max-drop", "1%"]), "B0105", &["OUT.pb"]);
    assert!(!text.exists());
}

#[test]
fn the_text_says_what_was_found_and_why_it_stopped() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let out = tensorflow.path("told.pb");
    let options = ["--max-drop", "1%", "--labels", "label", "--bits", "8,6,4,3"];
    let output = search(&tensorflow, Path::new(DIGITS), &out, Path::new(TEST_DATA), &options).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    let told = String::from_utf8(output.stdout).unwrap();
    for text in [
        "not tried, since more bits take as much: 6, 3\n",
        "\n8 bits    ",
        "\nthis mix  ",
        "points of accuracy are lost, at most 1.00 % are allowed",
        "stopped with ",
        "no mix of so many bytes has a smaller sum",
        "{\"quantizer\":\"naive\",\"config_list\":[{",
        "naive, packed: ",
    ] {
        // Lines are as long as the terminal is wide.
        assert!(told.contains(text) || told.replace('\n', " ").contains(text), "`{text}`: {told}");
    }
}
