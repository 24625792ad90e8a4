//! What is fed: samples, whole arrays, values on the command line, and numbers of other types.

use ndarray::{Array2, Array3, Array4, arr0, arr1};
use ndarray_npy::NpzWriter;

use super::*;

/// x·w·keep_prob + is_training·Σ thresholds, where w is [1, 2].
const SCALARS: &str = "
    node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape {
        dim { size: -1 } dim { size: 2 } } } } }
    node { name: 'keep_prob' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }
    node { name: 'is_training' op: 'Placeholder' attr { key: 'dtype' value { type: DT_BOOL } } attr { key: 'shape' value { shape { } } } }
    node { name: 'thresholds' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape {
        dim { size: 3 } } } } }
    node { name: 'w' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'value' value { tensor {
        dtype: DT_FLOAT tensor_shape { dim { size: 2 } dim { size: 1 } } float_val: 1 float_val: 2 } } } }
    node { name: 'product' op: 'MatMul' input: 'x' input: 'w' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'kept' op: 'Mul' input: 'product' input: 'keep_prob' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'axis' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } attr { key: 'value' value { tensor {
        dtype: DT_INT32 tensor_shape { dim { size: 1 } } int_val: 0 } } } }
    node { name: 'sum' op: 'Sum' input: 'thresholds' input: 'axis' attr { key: 'T' value { type: DT_FLOAT } }
        attr { key: 'Tidx' value { type: DT_INT32 } } }
    node { name: 'flag' op: 'Cast' input: 'is_training' attr { key: 'SrcT' value { type: DT_BOOL } }
        attr { key: 'DstT' value { type: DT_FLOAT } } }
    node { name: 'added' op: 'Mul' input: 'flag' input: 'sum' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'y' op: 'AddV2' input: 'kept' input: 'added' attr { key: 'T' value { type: DT_FLOAT } } }
    versions { producer: 987 }";

/// The sum of an image's pixels, channel by channel, through a convolution; the graph makes the batch itself.
const IMAGE: &str = "
    node { name: 'image' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape {
        dim { size: -1 } dim { size: -1 } dim { size: 3 } } } } }
    node { name: 'front' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } attr { key: 'value' value { tensor {
        dtype: DT_INT32 tensor_shape { } int_val: 0 } } } }
    node { name: 'batch' op: 'ExpandDims' input: 'image' input: 'front' attr { key: 'T' value { type: DT_FLOAT } }
        attr { key: 'Tdim' value { type: DT_INT32 } } }
    node { name: 'w' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'value' value { tensor {
        dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 1 } dim { size: 3 } dim { size: 1 } } float_val: 1 } } } }
    node { name: 'conv' op: 'Conv2D' input: 'batch' input: 'w' attr { key: 'T' value { type: DT_FLOAT } }
        attr { key: 'strides' value { list { i: [1, 1, 1, 1] } } } attr { key: 'padding' value { s: 'VALID' } } }
    node { name: 'axes' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } attr { key: 'value' value { tensor {
        dtype: DT_INT32 tensor_shape { dim { size: 2 } } int_val: 1 int_val: 2 } } } }
    node { name: 'pixels' op: 'Sum' input: 'conv' input: 'axes' attr { key: 'T' value { type: DT_FLOAT } }
        attr { key: 'Tidx' value { type: DT_INT32 } } }
    node { name: 'v' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'value' value { tensor {
        dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 1 } } float_val: 1 } } } }
    node { name: 'y' op: 'MatMul' input: 'pixels' input: 'v' attr { key: 'T' value { type: DT_FLOAT } } }
    versions { producer: 987 }";

const OUTPUT: &str = "[{op_types: ['default'], quant_types: ['weight'], quant_bits: 8}, {op_names: ['y'], quant_types: ['output'], quant_bits: 8}]";

/// Samples and range of `y`.
fn measured(tensorflow: &TensorFlow, model: &Path, data: &Path, options: &[&str]) -> (u64, [f32; 2]) {
    let out = tensorflow.path("measured.json");
    let config = tensorflow.file("output.json5", OUTPUT);
    good(tensorflow.calibrate_model(model, data, &out).arg("-c").arg(config).args(options));
    let ranges = read(&fs::read(out).unwrap());
    let y = ranges.ranges.iter().find(|entry| entry.tensor == "y:0").unwrap();
    (ranges.samples, [y.min, y.max])
}

#[test]
fn what_is_no_sample_is_fed_whole_in_every_run() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file("scalars.pbtxt", SCALARS);
    let x = Array2::from_shape_fn((5, 2), |(row, column)| if row == 4 && column == 1 { 3f32 } else { 1.0 });
    let data = |name: &str, keep_prob: bool| {
        let path = tensorflow.path(name);
        let mut archive = NpzWriter::new(fs::File::create(&path).unwrap());
        archive.add_array("x", &x).unwrap();
        archive.add_array("thresholds", &arr1(&[1f32, 2.0, 3.0])).unwrap();
        if keep_prob {
            archive.add_array("keep_prob", &arr0(2f32)).unwrap();
        }
        archive.finish().unwrap();
        path
    };
    let (with, without) = (data("with.npz", true), data("without.npz", false));
    // Rows of x give 3 but for the last, 7; twice that, and the thresholds' 6 on top where the flag is set.
    for batch in ["1", "3", "32"] {
        let found = measured(&tensorflow, &model, &with, &["--feed", "is_training=false", "--batch", batch]);
        assert_eq!(found, (5, [6.0, 14.0]), "batches of {batch}");
    }
    let flags = ["--feed", "is_training=true", "--feed", "keep_prob=2"];
    assert_eq!(measured(&tensorflow, &model, &without, &flags), (5, [12.0, 20.0]));
    // What is given by hand comes before what the file has.
    let flags = ["--feed", "is_training=1", "--feed", "keep_prob=0.5", "--feed", "thresholds=[0,0,1]"];
    assert_eq!(measured(&tensorflow, &model, &with, &flags), (5, [2.5, 4.5]));

    // In every command that runs a graph.
    let flags = ["--feed", "is_training=false", "--feed", "keep_prob=1"];
    let config = tensorflow.file("output.json5", OUTPUT);
    let out = tensorflow.path("out.pb");
    let mut compress = tensorflow.command("compress", &model);
    compress
        .args(["-q", "-Q", "qat", "--calibrate"])
        .arg(&without)
        .args(flags)
        .arg("-c")
        .arg(&config)
        .arg("-o")
        .arg(&out);
    good(&mut compress);
    let mut evaluate = tensorflow.command("evaluate", &out);
    evaluate.arg("--against").arg(&model).arg("--data").arg(&without).args(flags).arg("--json");
    let told: Value = serde_json::from_str(&good(&mut evaluate)).unwrap();
    assert_eq!(told["samples"], 5);
    assert!(told["outputs"][0]["error"]["sqnr_db"].as_f64().unwrap() > 30.0, "{told}");
    let mut finetune = tensorflow.command("finetune", &model);
    finetune.args(["-Q", "qat", "--distill", "--epochs", "1", "--validation", "0", "--data"]).arg(&without).args(flags);
    let output = finetune.arg("-c").arg(&config).arg("-o").arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    // Nothing is assumed: what is missing is named, with its shape and the flag.
    let missing = ["`is_training`", "Bool", "a single number", "--feed is_training=1"];
    for command in ["calibrate", "evaluate", "finetune"] {
        let mut program = tensorflow.command(command, &model);
        program.arg("--data").arg(&with);
        match command {
            "calibrate" => program.arg("-o").arg(tensorflow.path("never.json")),
            "finetune" => program.args(["-Q", "qat", "--distill", "-c"]).arg(&config).arg("-o").arg(&out),
            _ => &mut program,
        };
        fails(&mut program, "E0804", &missing);
    }
    let calibrate = |flags: &[&str]| {
        let mut command = tensorflow.calibrate_model(&model, &with, &tensorflow.path("never.json"));
        command.args(flags);
        command
    };
    let flag = ["--feed", "is_training=false", "--feed"];
    for (value, texts) in [
        ("thresholds=[1,2]", ["`--feed thresholds`", "[3]"]),
        ("no_input=1", ["`--feed no_input`", "keep_prob"]),
        ("is_training=2", ["2 is no value of", "is_training"]),
    ] {
        fails(&mut calibrate(&[&flag[..], &[value]].concat()), "E0805", &texts);
    }
    // A value per sample runs sample by sample: the rank of the array says so.
    let path = tensorflow.path("each.npz");
    let mut archive = NpzWriter::new(fs::File::create(&path).unwrap());
    archive.add_array("x", &x).unwrap();
    archive.add_array("keep_prob", &arr1(&[1f32, 1.0, 1.0, 1.0, 1.0])).unwrap();
    archive.add_array("is_training", &arr1(&[false, true, false, false, false])).unwrap();
    archive.finish().unwrap();
    let flags = ["--feed", "thresholds=[1,2,3]", "--feed", "keep_prob=1"];
    assert_eq!(measured(&tensorflow, &model, &path, &flags), (5, [3.0, 9.0]));
}

#[test]
fn an_image_without_a_batch_is_not_cut() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file("image.pbtxt", IMAGE);
    let image = Array3::from_elem((6, 4, 3), 1f32);
    let whole = tensorflow.path("whole.npz");
    let mut archive = NpzWriter::new(fs::File::create(&whole).unwrap());
    archive.add_array("image", &image).unwrap();
    archive.finish().unwrap();
    for batch in ["1", "2", "32"] {
        assert_eq!(measured(&tensorflow, &model, &whole, &["--batch", batch]), (1, [72.0, 72.0]), "batch {batch}");
    }
    let three = tensorflow.path("three.npz");
    let mut archive = NpzWriter::new(fs::File::create(&three).unwrap());
    let images = Array4::from_shape_fn((3, 6, 4, 3), |(number, ..)| if number == 1 { 2f32 } else { 1.0 });
    archive.add_array("image", &images).unwrap();
    archive.finish().unwrap();
    assert_eq!(measured(&tensorflow, &model, &three, &[]), (3, [72.0, 144.0]));
    let config = tensorflow.file("output.json5", OUTPUT);
    let mut finetune = tensorflow.command("finetune", &model);
    finetune.args(["-Q", "qat", "--distill", "--epochs", "1", "--validation", "0", "--data"]).arg(&three);
    let output = finetune.arg("-c").arg(&config).arg("-o").arg(tensorflow.path("out.pb")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn numbers_are_converted_as_tensorflows_own_feed_does() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = tensorflow.file("scalars.pbtxt", SCALARS);
    let flags = ["--feed", "is_training=false", "--feed", "keep_prob=1", "--feed", "thresholds=[0,0,0]"];
    let npz = |name: &str, add: &dyn Fn(&mut NpzWriter<fs::File>)| {
        let path = tensorflow.path(name);
        let mut archive = NpzWriter::new(fs::File::create(&path).unwrap());
        add(&mut archive);
        archive.finish().unwrap();
        path
    };
    let x = Array2::from_shape_fn((2, 2), |(row, _)| if row == 0 { 1u8 } else { 200 });
    let bytes = npz("u8.npz", &|archive| archive.add_array("x", &x).unwrap());
    assert_eq!(measured(&tensorflow, &model, &bytes, &flags), (2, [3.0, 600.0]));
    let long = npz("i8.npz", &|archive| archive.add_array("x", &x.mapv(i64::from)).unwrap());
    assert_eq!(measured(&tensorflow, &model, &long, &flags), (2, [3.0, 600.0]));
    let tenth = x.mapv(|x| f64::from(x) / 10.0);
    let double = npz("f8.npz", &|archive| archive.add_array("x", &tenth).unwrap());
    let single = npz("f4.npz", &|archive| archive.add_array("x", &x.mapv(|x| f32::from(x) / 10.0)).unwrap());
    assert_eq!(measured(&tensorflow, &model, &double, &flags), measured(&tensorflow, &model, &single, &flags));
    // No float32 is 2^24 + 1.
    let odd = npz("odd.npz", &|archive| archive.add_array("x", &ndarray::arr2(&[[1i64, 1], [16_777_217, 1]])).unwrap());
    let mut command = tensorflow.calibrate_model(&model, &odd, &tensorflow.path("never.json"));
    let texts = ["`x` holds 16777217", "in sample 1, which would be another number in Float"];
    fails(command.args(flags), "E0804", &texts);
}

/// One flag beside five samples is no sixth sample, and three samples are no batch of four.
#[test]
fn samples_that_do_not_fill_what_the_model_takes() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let npz = |name: &str, samples: usize, flag: bool| {
        let path = tensorflow.path(name);
        let mut archive = NpzWriter::new(fs::File::create(&path).unwrap());
        archive.add_array("x", &Array2::<f32>::ones((samples, 2))).unwrap();
        if flag {
            archive.add_array("is_training", &arr1(&[false])).unwrap();
        }
        archive.finish().unwrap();
        path
    };
    let flags = ["--feed", "keep_prob=1", "--feed", "thresholds=[0,0,0]"];
    let out = tensorflow.path("never.json");
    let model = tensorflow.file("scalars.pbtxt", SCALARS);
    let mut command = tensorflow.calibrate_model(&model, &npz("flag.npz", 5, true), &out);
    fails(command.args(flags), "E0804", &["samples, but", "`--feed NAME=VALUE`"]);
    let four = SCALARS.replacen("dim { size: -1 }", "dim { size: 4 }", 1);
    let model = tensorflow.file("four.pbtxt", four);
    let mut command = tensorflow.calibrate_model(&model, &npz("three.npz", 3, false), &out);
    command.args(flags).args(["--feed", "is_training=false"]);
    fails(&mut command, "E0804", &["there are 3 samples, and the model takes 4 at once"]);
}
