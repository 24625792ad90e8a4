//! The digits model in TensorFlow and in TFLite: the forms run, the full-integer conversion holds our codes, accuracy stays.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::repository;
use common::tf::{Job, TensorFlow, read_array};
use ndarray::ArrayD;
use quant_math::config::ConfigList;
use quant_math::ranges::Ranges;
use quant_math::weights::codes_view;
use quant_math::{Emit, Quantizer, WeightMap};
use tf_rewriter::{Graph, PlanOptions};

const MODEL: &str = "examples/models/digits.pb";

/// Compress the digits model with a config of `examples/configs`, or without.
fn compress(out: &Path, quantizer: Quantizer, config: Option<&str>, emit: Emit) {
    let config = config.map_or_else(
        || ConfigList::default_for(quantizer),
        |name| {
            let text = fs::read_to_string(repository("examples/configs").join(name)).unwrap();
            ConfigList::parse(&text, Some(quantizer)).unwrap()
        },
    );
    let ranges = Ranges::parse(&fs::read_to_string(repository("examples/ranges/digits.json")).unwrap()).unwrap();
    let graph = Graph::open(repository(MODEL)).unwrap();
    let options = PlanOptions { emit: Some(emit), ranges: Some(&ranges), strict: true, ..PlanOptions::default() };
    let plan = graph.plan(&config, options).unwrap();
    graph.apply(&plan).unwrap().write_to(out).unwrap();
}

/// Every example config, strictly (each entry must match something), in every form, against the float model.
#[test]
fn example_configs_keep_the_accuracy() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let mut models = vec![repository(MODEL)];
    let emits = [Emit::Baked, Emit::Packed, Emit::Inference];
    let ways = [
        (Quantizer::Naive, None),
        (Quantizer::Qat, Some("nni_qat.py.txt")),
        (Quantizer::Qat, Some("tflite_int8.json")),
        (Quantizer::Qat, Some("tflite_int8_per_channel.json")),
    ];
    for (index, (quantizer, config)) in ways.into_iter().enumerate() {
        for emit in emits {
            let out = tensorflow.path(&format!("{index}_{emit}.pb"));
            compress(&out, quantizer, config, emit);
            models.push(out);
        }
    }
    // DoReFa changes the weights' scale, so accuracy says nothing; all forms must say the same.
    let dorefa: Vec<PathBuf> = ["nni_dorefa.py.txt", "nni_dorefa_q_bits.py.txt"]
        .into_iter()
        .flat_map(|config| emits.map(|emit| (config, emit)))
        .map(|(config, emit)| {
            let out = tensorflow.path(&format!("{config}_{emit}.pb"));
            compress(&out, Quantizer::DoReFa, Some(config), emit);
            out
        })
        .collect();
    let (scores, _) = tensorflow.accuracy(&[models.clone(), dorefa].concat());
    let (scores, dorefa) = scores.split_at(models.len());
    for (model, score) in models.iter().zip(scores) {
        eprintln!("{}: {score:.2} %", model.file_name().unwrap().display());
        assert!((score - scores[0]).abs() <= 1.0, "{}: {score} %, float {} %", model.display(), scores[0]);
    }
    // The first image that differs costs 0.14 %. In-graph tanh may be a level off on one weight in 100,000; there are 13,502.
    for score in dorefa {
        assert!((score - dorefa[0]).abs() < 0.2, "{dorefa:?}");
    }
}

#[test]
fn inference_graphs_become_integer_models() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let (float, _) = tensorflow.accuracy(&[repository(MODEL)]);
    for config in ["tflite_int8.json", "tflite_int8_per_channel.json"] {
        let per_channel = config.contains("channel");
        let out = tensorflow.path("inference.pb");
        compress(&out, Quantizer::Qat, Some(config), Emit::Inference);
        for route in ["v1", "v2"] {
            let story = format!("{config}, converter {route}");
            let weights = tensorflow.path("weights.npz");
            let answer = tensorflow.tflite(&out, route, &weights);
            let ops = answer["ops"].as_array().unwrap();
            let count = |name: &str| ops.iter().filter(|op| op["op"] == name).count();
            assert_eq!(
                (count("CONV_2D"), count("DEPTHWISE_CONV_2D"), count("FULLY_CONNECTED")),
                (3, 2, 2),
                "{story}: {ops:?}"
            );
            for op in ops {
                let dtypes: Vec<_> = op["dtypes"].as_array().unwrap().iter().map(|d| d.as_str().unwrap()).collect();
                assert!(dtypes.iter().all(|d| ["int8", "int32"].contains(d)), "{story}: {op}");
            }
            let percent = answer["percent"].as_f64().unwrap();
            eprintln!("{story}: {percent:.2} %, float {:.2} %, {} bytes", float[0], answer["bytes"]);
            assert!((percent - float[0]).abs() <= 1.0, "{story}: {percent} %, float {} %", float[0]);
            check_codes(&tensorflow, &answer["weights"], &weights, per_channel, &story);
        }
    }
}

/// The integers in the flatbuffer are the reference's codes, and its scales the reference's scales.
fn check_codes(tensorflow: &TensorFlow, names: &serde_json::Value, found: &Path, per_channel: bool, story: &str) {
    // Op, and the axes of its weights in TFLite's order: [out, h, w, in], [1, h, w, in · multiplier], [out, in].
    let ops = [
        ("conv1", true),
        ("dw1", true),
        ("pw1", true),
        ("dw2", true),
        ("pw2", true),
        ("dense1", false),
        ("dense2", false),
    ];
    let fetch = ops.map(|(op, _)| format!("{op}@1")).to_vec();
    let model = repository(MODEL);
    let job = Job { model, inputs: None, fetch, digest: Vec::new(), grappler: false, noise: None };
    let float = &tensorflow.run(&[job])[0];
    let names: Vec<&str> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names.len(), ops.len(), "{story}: int8 constants {names:?}");
    for (op, convolution) in ops {
        let mine = |name: &&&str| name.split([';', '/']).next() == Some(op);
        let name = names.iter().find(mine).unwrap_or_else(|| panic!("{story}: no weights of {op} in {names:?}"));
        let (codes, scale) = (read_array::<i8>(found, name), read_array::<f32>(found, &format!("{name}/scale")));
        let (expected, map) =
            reference(&float.array(&format!("{op}@1")), op.starts_with("dw"), per_channel && convolution);
        assert!(codes.mapv(i32::from) == expected, "{story}: codes of {op}");
        let WeightMap::Affine(map) = map else { panic!("QAT weights are affine") };
        assert_eq!(scale.iter().copied().collect::<Vec<_>>(), map.scale(), "{story}: scales of {op}");
    }
}

/// Codes in TFLite's order, and the map that explains them.
fn reference(weights: &ArrayD<f32>, depthwise: bool, per_channel: bool) -> (ArrayD<i32>, WeightMap) {
    let shape = weights.shape().to_vec();
    let channels: usize = shape.iter().rev().take(if depthwise { 2 } else { 1 }).product();
    let rows = weights.to_shape((weights.len() / channels, channels)).unwrap().into_dyn();
    let settings = quant_math::plan::Settings {
        channel_axis: per_channel.then_some(1),
        ..quant_math::plan::Settings::new(Quantizer::Qat, 8)
    };
    let (codes, map) = codes_view(&settings, &rows.view()).unwrap();
    let ordered = if let ([h, w, ..], true) = (shape.as_slice(), depthwise) {
        codes.into_shape_with_order(vec![1, *h, *w, channels]).unwrap()
    } else {
        let rank = shape.len();
        let last_first: Vec<usize> = std::iter::once(rank - 1).chain(0..rank - 1).collect();
        codes.into_shape_with_order(shape).unwrap().permuted_axes(last_first)
    };
    (ordered, map)
}
