//! What is missing, damaged or does not fit: clear errors, and nothing lost.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::{Array1, Array4};
use ndarray_npy::{NpzWriter, WritableElement, WriteNpyExt as _};

use super::{DIGITS, PROGRAM, TEST_DATA, TensorFlow, fails, good, stderr};

const INSTALL: &str = "python3 -m pip install tensorflow-cpu";

fn images<T: Clone + num_like::Zero>(samples: usize, side: usize) -> Array4<T> {
    Array4::from_elem((samples, side, side, 1), T::zero())
}

/// Just what the element types here share.
mod num_like {
    pub(super) trait Zero {
        fn zero() -> Self;
    }
    impl Zero for f32 {
        fn zero() -> Self {
            0.0
        }
    }
    impl Zero for f64 {
        fn zero() -> Self {
            0.0
        }
    }
}

fn npz<T: WritableElement + Clone>(tensorflow: &TensorFlow, name: &str, array: &Array4<T>) -> PathBuf {
    let mut archive = NpzWriter::new(Cursor::new(Vec::new()));
    archive.add_array(name, array).unwrap();
    let samples = array.shape()[0];
    archive.add_array("label", &Array1::from_iter((0..samples).map(|i| i64::try_from(i).unwrap()))).unwrap();
    tensorflow.file("wrong.npz", archive.finish().unwrap().into_inner())
}

#[test]
fn no_library() {
    let empty = tempfile::TempDir::new().unwrap();
    let out = empty.path().join("ranges.json");
    for command in ["calibrate", "evaluate", "compress"] {
        let mut program = Command::new(PROGRAM);
        program.args([command, DIGITS]).arg("--tensorflow-dir").arg(empty.path());
        match command {
            "calibrate" => program.args(["--data", TEST_DATA, "-o"]).arg(&out),
            "evaluate" => program.args(["--data", TEST_DATA]),
            _ => program.args(["-Q", "qat", "--calibrate", TEST_DATA, "-o"]).arg(&out),
        };
        fails(&mut program, "E0801", &["--tensorflow-dir", INSTALL, "doctor"]);
    }
    let doctor = Command::new(PROGRAM).arg("doctor").arg("--tensorflow-dir").arg(empty.path()).output().unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains(INSTALL), "{doctor:?}");
    assert!(stderr(&doctor).starts_with("error[E0801]"), "{}", stderr(&doctor));
    assert!(fs::read_dir(empty.path()).unwrap().next().is_none());
}

#[test]
fn a_library_that_is_none() {
    let folder = tempfile::TempDir::new().unwrap();
    let library = folder.path().join("libtensorflow.so");
    let run = || {
        let mut program = Command::new(PROGRAM);
        program.args(["evaluate", DIGITS, "--data", TEST_DATA, "--tensorflow-dir"]).arg(folder.path());
        program
    };
    fs::write(&library, "no library").unwrap();
    fails(&mut run(), "E0802", &["libtensorflow.so", INSTALL]);
    // A library of something else: the C compiler's run-time support is wherever a Rust program runs.
    let other = [
        "/lib/x86_64-linux-gnu/libgcc_s.so.1",
        "/lib/aarch64-linux-gnu/libgcc_s.so.1",
        "/lib64/libgcc_s.so.1",
        "/usr/lib/libgcc_s.so.1",
    ];
    if let Some(other) = other.iter().find(|path| Path::new(path).exists()) {
        fs::copy(other, &library).unwrap();
        fails(&mut run(), "E0802", &["libtensorflow.so", INSTALL]);
    }
}

#[test]
fn doctor_finds_it() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let doctor = good(Command::new(PROGRAM).arg("doctor").arg("--tensorflow-dir").arg(&tensorflow.library));
    assert!(doctor.contains("TensorFlow 2.") && !doctor.contains(INSTALL), "{doctor}");
}

#[test]
fn data_that_does_not_fit() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let out = tensorflow.path("ranges.json");
    let both = |data: &Path, texts: &[&str]| {
        fails(&mut tensorflow.calibrate(data, &out), "E0804", texts);
        let mut evaluate = tensorflow.command("evaluate", Path::new(DIGITS));
        fails(evaluate.arg("--data").arg(data), "E0804", texts);
    };
    both(&npz(&tensorflow, "picture", &images::<f32>(3, 8)), &["there is no array `image`", "`picture`", "wrong.npz"]);
    both(
        &npz(&tensorflow, "image", &images::<f32>(3, 9)),
        &["`image` has samples of shape [9, 9, 1], expected [8, 8, 1]"],
    );
    let mut beyond = images::<f64>(3, 8);
    beyond[[2, 1, 0, 0]] = 1e300;
    both(
        &npz(&tensorflow, "image", &beyond),
        &["`image` holds 1", "in sample 2, which would be another number in Float"],
    );
    for bad in [f32::NAN, f32::INFINITY] {
        let mut array = images::<f32>(50, 8);
        array[[41, 2, 3, 0]] = bad;
        both(&npz(&tensorflow, "image", &array), &[&format!("`image` holds {bad} in sample 41")]);
    }
    both(&tensorflow.path("absent.npz"), &["absent.npz"]);
    let good = fs::read(TEST_DATA).unwrap();
    for percent in [1, 30, 60, 99] {
        both(&tensorflow.file("cut.npz", &good[..good.len() * percent / 100]), &["cut.npz"]);
    }
    let mut array = Vec::new();
    images::<f32>(10, 8).write_npy(&mut array).unwrap();
    array.truncate(array.len() - 300);
    both(&tensorflow.file("cut.npy", &array), &["`image` ends early: its head says 10 samples"]);
    assert!(!out.exists());
}

/// What `freeze` takes and what it does not take.
#[test]
fn variables_without_values() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let out = tensorflow.path("out");
    let training = tensorflow.path("training.pb");
    let mut compress = Command::new(PROGRAM);
    compress.args(["compress", DIGITS, "-q", "-Q", "qat", "--emit", "training", "-o"]).arg(&training);
    good(compress.arg("-c").arg(tensorflow.config("ema")));
    let variable = |kind: &str| {
        let read = if kind == "VarHandleOp" { "ReadVariableOp" } else { "Identity" };
        let dtype = if kind == "VarHandleOp" { "dtype" } else { "T" };
        let shape = "attr { key: 'shape' value { shape { dim { size: 64 } dim { size: 10 } } } }";
        let text = format!(
            "node {{ name: 'image' op: 'Placeholder' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} }}
             node {{ name: 'shape' op: 'Const' attr {{ key: 'dtype' value {{ type: DT_INT32 }} }} attr {{ key: 'value' value {{ tensor {{
                dtype: DT_INT32 tensor_shape {{ dim {{ size: 2 }} }} int_val: -1 int_val: 64 }} }} }} }}
             node {{ name: 'flat' op: 'Reshape' input: 'image' input: 'shape' attr {{ key: 'T' value {{ type: DT_FLOAT }} }} }}
             node {{ name: 'weight' op: '{kind}' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} {shape} }}
             node {{ name: 'value' op: '{read}' input: 'weight' attr {{ key: '{dtype}' value {{ type: DT_FLOAT }} }} }}
             node {{ name: 'logits' op: 'MatMul' input: 'flat' input: 'value' attr {{ key: 'T' value {{ type: DT_FLOAT }} }} }}
             versions {{ producer: 987 }}"
        );
        tensorflow.file(&format!("{kind}.pbtxt"), text)
    };
    let config = tensorflow.config("minmax");
    let [resource, reference] = ["VarHandleOp", "VariableV2"].map(variable);
    for (model, texts) in [
        (&training, ["(VarHandleOp)", "tf-rewriter freeze MODEL --checkpoint"]),
        (&resource, ["`weight` (VarHandleOp) has no value", "convert_variables_to_constants"]),
        (&reference, ["`weight` (VariableV2) has no value", "convert_variables_to_constants"]),
    ] {
        let place = format!("--> {}, node `", model.display());
        let texts = [&texts[..], &[&place]].concat();
        let mut evaluate = tensorflow.command("evaluate", model);
        fails(evaluate.args(["--data", TEST_DATA]), "E0808", &texts);
        let mut against = tensorflow.command("evaluate", Path::new(DIGITS));
        fails(against.args(["--data", TEST_DATA, "--against"]).arg(model), "E0808", &texts);
        let mut finetune = tensorflow.command("finetune", model);
        finetune.args(["--data", TEST_DATA, "-Q", "qat", "--labels", "label", "-c"]).arg(&config).arg("-o").arg(&out);
        fails(&mut finetune, "E0808", &texts);
    }
    for model in [&resource, &reference] {
        let calibrate = || tensorflow.calibrate_model(model, Path::new(TEST_DATA), &out);
        fails(&mut calibrate(), "E0808", &["`weight`"]);
    }
    assert!(!out.exists());
}

#[test]
fn labels_that_are_no_classes() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let evaluate = |data: &Path, label: &str| {
        let mut command = tensorflow.command("evaluate", Path::new(DIGITS));
        command.arg("--data").arg(data).args(["--labels", label]);
        command
    };
    // Labels 0, 1, …, 11 of ten classes.
    let data = npz(&tensorflow, "image", &images::<f32>(12, 8));
    fails(&mut evaluate(&data, "label"), "E0804", &["the label of sample 10 is 10, expected a class from 0 to 9"]);
    fails(&mut evaluate(&data, "labels"), "E0804", &["there is no array `labels`"]);
    fails(&mut evaluate(&data, "image"), "E0805", &["the labels `image` are an input of the model"]);
    for (name, labels, said) in [
        (
            "pairs",
            ndarray::arr2(&[[0.0, 1.0], [2.0, 3.0]]),
            "the labels `right` have shape [2, 2], expected one per sample",
        ),
        ("halves", ndarray::arr2(&[[0.0], [0.5]]), "the labels `right` hold a number that is not whole"),
    ] {
        let mut archive = NpzWriter::new(Cursor::new(Vec::new()));
        archive.add_array("image", &images::<f32>(2, 8)).unwrap();
        archive.add_array("right", &labels).unwrap();
        let data = tensorflow.file(&format!("{name}.npz"), archive.finish().unwrap().into_inner());
        fails(&mut evaluate(&data, "right"), "E0804", &[said]);
    }
}

#[test]
fn every_form_of_data_is_one() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let images = super::array::<f32>(Path::new(TEST_DATA), "image");
    let mut bytes = Vec::new();
    images.write_npy(&mut bytes).unwrap();
    let whole = tensorflow.ranges(Path::new(TEST_DATA), "whole.json", &[]);
    let deflated = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("image.npy", deflated).unwrap();
    archive.write_all(&bytes).unwrap();
    let deflated = tensorflow.file("deflated.npz", archive.finish().unwrap().into_inner());
    let single = tensorflow.file("any name.npy", &bytes);
    for data in [deflated, single] {
        assert!(tensorflow.ranges(&data, "other.json", &[]) == whole, "{}", data.display());
    }
}

#[cfg(unix)]
#[test]
fn no_space_for_the_ranges() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let out = tensorflow.file("ranges.json", "old");
    // A limit on the size of files stands for a full disk. The unit is 512 bytes.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" calibrate \"$@\"", PROGRAM, DIGITS, "--data", TEST_DATA]);
    shell.arg("--tensorflow-dir").arg(&tensorflow.library).arg("-o").arg(&out);
    fails(&mut shell, "O0104", &["ranges.json", "free some space"]);
    assert_eq!(fs::read(&out).unwrap(), b"old");
    assert!(!tensorflow.path("ranges.json.partial").exists());
    // What is no file is refused before anything is measured.
    fails(&mut tensorflow.calibrate(Path::new(TEST_DATA), Path::new("/dev/full")), "O0102", &["a device or pipe"]);
    fails(
        &mut tensorflow.calibrate(Path::new(TEST_DATA), Path::new("/no/such/folder/r.json")),
        "O0101",
        &["/no/such/folder"],
    );
    let mut evaluate = tensorflow.command("evaluate", Path::new(DIGITS));
    fails(evaluate.args(["--data", TEST_DATA, "--save", "/dev/full"]), "O0102", &["a device or pipe"]);
}

/// Scores of two classes from one number: the logarithm of `x` times two weights, a step further as an activation.
const LOGARITHM: &str = "
    node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape {
        dim { size: -1 } dim { size: 1 } } } } }
    node { name: 'log' op: 'Log' input: 'x' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'relu' op: 'Relu6' input: 'log' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'w' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'value' value { tensor {
        dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } } float_val: 0.5 float_val: -0.25 } } } }
    node { name: 'scores' op: 'MatMul' input: 'relu' input: 'w' attr { key: 'T' value { type: DT_FLOAT } } }
    versions { producer: 987 }";

#[test]
fn nan_that_a_graph_makes_itself() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file("log.pbtxt", LOGARITHM);
    let data = |name: &str, bad: Option<usize>| {
        let x = ndarray::Array2::from_shape_fn((70, 1), |(sample, _)| if Some(sample) == bad { -1.0_f32 } else { 3.0 });
        let mut archive = NpzWriter::new(Cursor::new(Vec::new()));
        archive.add_array("x", &x).unwrap();
        archive.add_array("label", &Array1::from_iter((0..70_i64).map(|sample| sample % 2))).unwrap();
        tensorflow.file(name, archive.finish().unwrap().into_inner())
    };
    let (sound, spoilt) = (data("sound.npz", None), data("spoilt.npz", Some(40)));
    let place = ["gives NaN in `scores:0` for sample 40", "spoilt.npz", "a logarithm"];
    let evaluate = |data: &Path| {
        let mut command = tensorflow.command("evaluate", &model);
        command.arg("--data").arg(data);
        command
    };
    let saved = tensorflow.file("saved.npz", "old");
    good(&mut evaluate(&sound));
    fails(evaluate(&spoilt).arg("--save").arg(&saved), "E0804", &place);
    fails(evaluate(&spoilt).args(["--labels", "label", "--against"]).arg(&model), "E0804", &place);
    assert_eq!(fs::read(&saved).unwrap(), b"old");

    let config = tensorflow.file("log.json5", "[{quant_types: ['weight'], quant_bits: 8, op_types: ['default']}, {quant_types: ['output'], quant_bits: 8, op_types: ['Relu6']}]");
    let out = tensorflow.file("out", "old");
    let calibrate = |data: &Path| {
        let mut command = tensorflow.calibrate_model(&model, data, &out);
        command.arg("-c").arg(&config).args(["--batch", "32"]);
        command
    };
    fails(&mut calibrate(&spoilt), "M0101", &["`relu:0", "NaN"]);
    assert_eq!(fs::read(&out).unwrap(), b"old");
    // What was measured before it is there, and it goes on where the data is sound.
    let left = super::read(&fs::read(tensorflow.path("out.partial")).unwrap());
    assert_eq!(left.samples, 32);
    good(calibrate(&sound).arg("--resume"));
    assert_eq!(super::read(&fs::read(&out).unwrap()).samples, 70);

    fs::write(&out, "old").unwrap();
    let finetune = |data: &Path, options: &[&str]| {
        let mut command = tensorflow.command("finetune", &model);
        command
            .arg("--data")
            .arg(data)
            .args(["-Q", "qat", "-q"])
            .args(options)
            .arg("-c")
            .arg(&config)
            .arg("-o")
            .arg(&out);
        command
    };
    let place = ["sample 40", "spoilt.npz", "NaN"];
    for options in [&["--labels", "label"][..], &["--distill"], &["--labels", "label", "--validation", "0.9"]] {
        fails(&mut finetune(&spoilt, options), "E0804", &place);
        assert_eq!(fs::read(&out).unwrap(), b"old");
    }
    good(&mut finetune(&sound, &["--labels", "label"]));
}

#[test]
fn quantizers_without_ranges_are_not_calibrated() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let out = tensorflow.path("no_ranges.pb");
    for (quantizer, why) in [("dorefa", "clipped to [0, 1]"), ("lsq", "training learns their steps")] {
        let text = format!(
            "{{ quantizer: '{quantizer}', config_list: [{{ quant_types: ['output'], quant_bits: 4, op_types: ['Relu6'] }}] }}"
        );
        let config = tensorflow.file("no_ranges_config.json", text);
        let mut command = tensorflow.command("compress", Path::new(DIGITS));
        command.args(["--calibrate", TEST_DATA]).arg("-c").arg(&config).arg("-o").arg(&out);
        fails(&mut command, "E0805", &[why, "leave the calibration out"]);
        assert!(!out.exists());
    }
}

#[test]
fn a_misspelt_type_is_told_with_the_nearest_one() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let out = tensorflow.path("misspelt.json");
    let entry = |word: &str| format!("{{ quant_types: ['output'], quant_bits: 8, op_types: ['{word}'] }}");
    let nearest = "`Relu66` matches no op in this model; did you mean `Relu6`";
    let config = tensorflow.file("misspelt_config.json", format!("[{}]", entry("Relu66")));
    fails(tensorflow.calibrate(Path::new(TEST_DATA), &out).arg("-c").arg(&config), "E0805", &[nearest]);
    let config = tensorflow.file("misspelt_config.json", format!("[{}, {}]", entry("Relu6"), entry("Relu66")));
    let output = tensorflow.calibrate(Path::new(TEST_DATA), &out).arg("-c").arg(&config).output().unwrap();
    assert!(output.status.success() && stderr(&output).contains(nearest), "{output:?}");
}
