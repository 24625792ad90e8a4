//! Ranges against NumPy's, and against the observers on what Python fetched.

use std::fs;
use std::path::Path;
use std::process::Command;

use quant_math::observers::Statistics;
use quant_math::plan::Observer;

use super::{PROGRAM, TEST_DATA, TensorFlow, array, good, read};

const OBSERVERS: [&str; 5] = ["minmax", "ema", "percentile", "entropy", "mse"];

#[test]
fn ranges_are_numpys_and_the_observers_own() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let data = Path::new(TEST_DATA);
    let found = OBSERVERS.map(|observer| {
        let config = tensorflow.config(observer);
        read(&tensorflow.ranges(data, observer, &["--batch", "32", "-c", config.to_str().unwrap()]))
    });
    let mut tensors: Vec<&str> = found[0].ranges.iter().map(|entry| entry.tensor.as_str()).collect();
    tensors.sort_unstable();
    tensors.dedup();
    assert_eq!(tensors.len(), 14, "{tensors:?}");
    let fetched = tensorflow.path("fetched.npz");
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"fetch", &super::DIGITS, &TEST_DATA, &"32", &fetched];
    arguments.extend(tensors.iter().map(|tensor| tensor as &dyn AsRef<std::ffi::OsStr>));
    let numpy = tensorflow.ask(&arguments);
    for (observer, ranges) in OBSERVERS.iter().zip(&found) {
        assert_eq!((ranges.samples, ranges.ranges.len()), (697, 14));
        for entry in &ranges.ranges {
            let story = format!("{observer} of {}", entry.tensor);
            let mine = [entry.min, entry.max];
            if let Some(ends) = numpy[&entry.tensor].get(observer) {
                // Bit for bit: every float32 survives its way through the text, which is read as a float64 that is off by an ulp at most.
                #[expect(clippy::cast_possible_truncation, reason = "they are float32")]
                let ends: Vec<f32> = ends.as_array().unwrap().iter().map(|end| end.as_f64().unwrap() as f32).collect();
                assert_eq!(
                    mine.map(f32::to_bits).to_vec(),
                    ends.iter().map(|end| end.to_bits()).collect::<Vec<_>>(),
                    "{story}"
                );
            } else {
                // Bins are powers of two wide, so that TensorFlow's division is exact and counts as the observer itself does.
                let calibration = entry.calibration.as_ref().unwrap();
                let mut statistics = Statistics::new(Observer::Entropy, None).unwrap();
                let values = array::<f32>(&fetched, &entry.tensor);
                statistics.observe(values.as_slice().unwrap()).unwrap();
                assert_eq!(calibration.statistics, statistics, "{story}");
                let whole =
                    [values.iter().copied().fold(f32::MAX, f32::min), values.iter().copied().fold(f32::MIN, f32::max)];
                assert!(whole[0] <= mine[0] && mine[1] <= whole[1], "{story}: {mine:?} beyond {whole:?}");
            }
        }
    }
}

/// Sums of sixteenths, which float32 holds exactly, so that they are the same in whatever order a kernel adds; how TensorFlow splits a
/// sum depends on the size of the batch.
const EXACT: &str = "
    node { name: 'image' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape {
        dim { size: -1 } dim { size: 8 } dim { size: 8 } dim { size: 1 } } } } }
    node { name: 'flat' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } attr { key: 'value' value { tensor {
        dtype: DT_INT32 tensor_shape { dim { size: 2 } } int_val: -1 int_val: 64 } } } }
    node { name: 'pixels' op: 'Reshape' input: 'image' input: 'flat' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'w' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'value' value { tensor {
        dtype: DT_FLOAT tensor_shape { dim { size: 64 } dim { size: 3 } } float_val: 0.25 } } } }
    node { name: 'product' op: 'MatMul' input: 'pixels' input: 'w' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'b' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'value' value { tensor {
        dtype: DT_FLOAT tensor_shape { dim { size: 3 } } float_val: -4.5 float_val: 0 float_val: -3 } } } }
    node { name: 'sum' op: 'BiasAdd' input: 'product' input: 'b' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'relu' op: 'Relu6' input: 'sum' attr { key: 'T' value { type: DT_FLOAT } } }
    versions { producer: 987 }";

#[test]
fn batches_and_shards_do_not_matter() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let data = Path::new(TEST_DATA);
    let images = array::<f32>(data, "image");
    assert!(images.iter().all(|x| (x * 16.0).fract() == 0.0));
    let model = tensorflow.file("exact.pbtxt", EXACT);
    let run = |data: &Path, name: &str, options: &[&str]| {
        let out = tensorflow.path(name);
        good(tensorflow.calibrate_model(&model, data, &out).args(options));
        fs::read(out).unwrap()
    };
    let shards = tensorflow.path("shards");
    fs::create_dir(&shards).unwrap();
    let parts = [(0, 100), (100, 101), (101, 697)].map(|(from, to)| {
        let path = shards.join(format!("{from:03}.npy"));
        ndarray_npy::write_npy(&path, &images.slice_axis(ndarray::Axis(0), (from..to).into())).unwrap();
        path
    });
    for observer in ["minmax", "percentile", "entropy", "mse"] {
        let config = format!(
            "[{{op_types: ['MatMul', 'BiasAdd', 'Relu6'], quant_types: ['output'], quant_bits: 8, observer: '{observer}'}}]"
        );
        let config = tensorflow.file("config.json5", config);
        let config = config.to_str().unwrap();
        let whole = run(data, "whole.json", &["-c", config]);
        assert_eq!(read(&whole).ranges.len(), 3);
        for batch in ["1", "7", "697", "1000"] {
            let other = run(data, "other.json", &["-c", config, "--batch", batch]);
            assert!(other == whole, "{observer}: batches of {batch} give other bytes");
        }
        assert!(run(&shards, "folder.json", &["-c", config]) == whole, "{observer}: a folder of parts");
        let mut merge = Command::new(PROGRAM);
        merge.arg("merge-ranges").arg("-o").arg(tensorflow.path("merged.json"));
        for (index, part) in parts.iter().enumerate() {
            let name = format!("part_{index}.json");
            run(part, &name, &["-c", config]);
            merge.arg(tensorflow.path(&name));
        }
        good(&mut merge);
        assert!(fs::read(tensorflow.path("merged.json")).unwrap() == whole, "{observer}: merged parts");
    }
}

#[test]
fn memory_does_not_grow_with_the_samples() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let peak = |samples: u64| {
        let data = tensorflow.path("data.npz");
        tensorflow.ask(&[&"repeat", &TEST_DATA, &samples.to_string(), &data]);
        let mut command = tensorflow.calibrate(&data, &tensorflow.path("ranges.json"));
        command.args(["--batch", "100"]);
        let mut words: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"peak"];
        let program = command.get_program().to_owned();
        words.push(&program);
        let arguments: Vec<_> = command.get_args().collect();
        words.extend(arguments.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
        tensorflow.ask(&words).as_u64().unwrap()
    };
    let (few, many) = (peak(1_000), peak(100_000));
    // 99,000 more images are 24,750 KiB. What grew with them, be it a single byte for each one of float32, would be a quarter of that.
    assert!(many < few + 24_750 / 4, "{few} KiB for 1,000 samples, {many} KiB for 100,000");
}

#[test]
fn compress_measures_what_it_needs() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let config = tensorflow.config("minmax");
    let config = config.to_str().unwrap();
    tensorflow.ranges(Path::new(TEST_DATA), "ranges.json", &["-c", config]);
    let [apart, at_once] = ["apart.pb", "at_once.pb"].map(|name| tensorflow.path(name));
    let compress = |out: &Path| {
        let mut command = tensorflow.command("compress", Path::new(super::DIGITS));
        command.arg("-o").arg(out).args(["-Q", "qat", "--emit", "inference", "-q", "-c", config]);
        command
    };
    good(compress(&apart).arg("--ranges").arg(tensorflow.path("ranges.json")));
    good(compress(&at_once).args(["--calibrate", TEST_DATA]));
    assert!(fs::read(apart).unwrap() == fs::read(at_once).unwrap());
}

/// What a function reads and makes cannot be fetched; the rest of the graph is measured all the same.
#[test]
fn activations_in_functions_are_left_out_with_a_word() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules/function_body.pbtxt");
    let config = tensorflow.file(
        "config.json5",
        "[{op_types: ['Conv2D'], quant_types: ['input'], quant_bits: 8},
          {op_types: ['Relu'], quant_types: ['output'], quant_bits: 8}]",
    );
    let data = tensorflow.path("x.npz");
    let mut archive = ndarray_npy::NpzWriter::new(fs::File::create(&data).unwrap());
    archive.add_array("x", &ndarray::Array4::from_elem((3, 2, 2, 2), 1f32)).unwrap();
    archive.finish().unwrap();
    let out = tensorflow.path("ranges.json");
    let output = tensorflow.calibrate_model(&model, &data, &out).arg("-c").arg(&config).output().unwrap();
    let told = super::stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("is in a function body")).collect();
    assert_eq!(lines.len(), 4, "{told}");
    // `conv` and `conv_arg` read the function's argument, the others a node of its body.
    for op in ["body::conv`", "body::conv_1`", "body::conv_2`", "body::conv_arg`"] {
        assert!(lines.iter().any(|line| line.contains(op)), "{op}: {told}");
    }
    let ranges = read(&fs::read(out).unwrap());
    let tensors: Vec<&str> = ranges.ranges.iter().map(|entry| entry.tensor.as_str()).collect();
    assert_eq!(tensors, ["y:0", "z:0", "u:0"]);
    // What was measured is enough for a graph: the rest says why it stays float.
    let inference = tensorflow.path("inference.pb");
    let mut compress = tensorflow.command("compress", &model);
    compress.args(["-Q", "qat", "--emit", "inference", "--json"]).arg("-c").arg(&config);
    compress.arg("--ranges").arg(tensorflow.path("ranges.json")).arg("-o").arg(&inference);
    let told = good(&mut compress);
    assert_eq!(told.matches("not-measured").count(), 4, "{told}");
}
