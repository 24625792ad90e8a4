//! `packed` with codes of at most 4 bits, which share bytes: the bits of `baked` in both frameworks for every quantizer, width, length and type,
//! how small a ResNet50 of TensorFlow gets (`torch_real_size` has PyTorch's), and what `diff`, `inspect` and a second run say.
#![expect(
    clippy::unwrap_used,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test fails by panicking, and its text is short"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::tf::{Job, TensorFlow};
use common::{Framework, oracle, run_python};
use ndarray::Array2;
use ndarray_npy::NpzWriter;
use quant_math::config::ConfigList;
use quant_math::data::write_little_endian;
use quant_math::{DType, Emit, Quantizer};
use serde_json::json;
use tf_rewriter::{Graph, PlanOptions, text};
use torch_adapter::Model;

/// A constant of `rows · columns` numbers, all of them different in float32.
fn constant(name: &str, dtype: DType, (rows, columns): (usize, usize)) -> String {
    let values: Vec<f32> = (0..rows * columns)
        .map(|i| f32::from(u16::try_from(i * 2_654 % 9_973).unwrap()) / 9_973.0 - 0.4)
        .map(|x| x * x.abs())
        .collect();
    let mut bytes = vec![0; values.len() * dtype.size()];
    write_little_endian(dtype, &values, &mut bytes);
    let content: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let dtype = type_name(dtype);
    format!(
        "name: '{name}' op: 'Const' attr {{ key: 'dtype' value {{ type: {dtype} }} }} attr {{ key: 'value' value {{ tensor {{ dtype: {dtype} \
         tensor_shape {{ dim {{ size: {rows} }} dim {{ size: {columns} }} }} tensor_content: '{content}' }} }} }}"
    )
}

fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "DT_FLOAT",
        DType::F64 => "DT_DOUBLE",
        DType::F16 => "DT_HALF",
        DType::BF16 => "DT_BFLOAT16",
    }
}

fn op(op: &str, name: &str, inputs: &[&str], types: &[(&str, &str)]) -> String {
    let inputs: String = inputs.iter().map(|input| format!(" input: '{input}'")).collect();
    let types = types.iter().map(|(key, dtype)| format!(" attr {{ key: '{key}' value {{ type: {dtype} }} }}"));
    format!("name: '{name}' op: '{op}'{inputs}{}", types.collect::<String>())
}

const ROWS: usize = 37;
/// Odd numbers of codes, one that two and one that four divide; and one too short for codes to share bytes.
const COLUMNS: [usize; 5] = [61, 58, 59, 60, 11];
const FLOAT: (&str, &str) = ("T", "DT_FLOAT");

/// Products with weights of every length, of every type behind a cast, and one in a function.
fn graph() -> (String, Vec<String>) {
    let placeholder = "name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape { dim { \
                       size: 1 } dim { size: 37 } } } }";
    let mut nodes = vec![placeholder.to_owned()];
    let mut products = Vec::new();
    let mut product = |nodes: &mut Vec<String>, weight: &str, name: String| {
        nodes.push(op("MatMul", &name, &["x", weight], &[FLOAT]));
        products.push(name);
    };
    for columns in COLUMNS {
        let weight = format!("w{columns}");
        nodes.push(constant(&weight, DType::F32, (ROWS, columns)));
        product(&mut nodes, &weight, format!("m{columns}"));
    }
    for (name, dtype) in [("half", DType::F16), ("brain", DType::BF16), ("wide", DType::F64)] {
        nodes.push(constant(name, dtype, (ROWS, 61)));
        let types = [("SrcT", type_name(dtype)), ("DstT", "DT_FLOAT")];
        nodes.push(op("Cast", &format!("{name}/cast"), &[name], &types));
        product(&mut nodes, &format!("{name}/cast"), format!("{name}/product"));
    }
    nodes.push(
        "name: 'call' op: 'PartitionedCall' input: 'x' attr { key: 'f' value { func { name: 'body' } } } attr { key: 'Tin' value { list { type: \
         DT_FLOAT } } } attr { key: 'Tout' value { list { type: DT_FLOAT } } }"
            .to_owned(),
    );
    let mut text: String = nodes.iter().map(|node| format!("node {{ {node} }}\n")).collect();
    let body = [constant("inner", DType::F32, (ROWS, 61)), op("MatMul", "product", &["x", "inner:output:0"], &[FLOAT])];
    let body: String = body.iter().map(|node| format!("node_def {{ {node} }}\n")).collect();
    text.push_str(&format!(
        "library {{ function {{ signature {{ name: 'body' input_arg {{ name: 'x' type: DT_FLOAT }} output_arg {{ name: 'y' type: DT_FLOAT }} }} \
         {body} ret {{ key: 'y' value: 'product:product:0' }} }} }} versions {{ producer: 1395 }}"
    ));
    (text, products)
}

/// A quantizer's entry of one width.
fn config(quantizer: Quantizer, bits: u32, more: &str) -> ConfigList {
    let text = format!("[{{op_types: 'default', quant_types: ['weight'], quant_bits: {bits}{more}}}]");
    ConfigList::parse(&text, Some(quantizer)).unwrap()
}

/// Every quantizer at every width of shared codes, and the next one.
fn ways() -> Vec<(String, u32, ConfigList)> {
    let mut ways = Vec::new();
    for bits in 1..=5 {
        ways.push((format!("dorefa {bits}"), bits, config(Quantizer::DoReFa, bits, "")));
        for (quantizer, name) in [(Quantizer::Naive, "naive"), (Quantizer::Qat, "qat")] {
            for more in ["per_channel: false", "per_channel: true", "per_channel: true, symmetric: false"] {
                if bits > 1 {
                    ways.push((format!("{name} {bits} {more}"), bits, config(quantizer, bits, &format!(", {more}"))));
                }
            }
        }
    }
    ways
}

fn compress(model: &Path, config: &ConfigList, emit: Emit, out: &Path) -> u64 {
    let options = PlanOptions { emit: Some(emit), ..PlanOptions::default() };
    let graph = Graph::open(model).unwrap();
    let plan = graph.plan(config, options).unwrap();
    assert_eq!(plan.skipped().count(), 0, "{}", out.display());
    graph.apply(&plan).unwrap().write_to(out).unwrap();
    let again = Graph::open(out).unwrap();
    let plan = again.plan(config, options).unwrap();
    assert!(plan.is_empty(), "{}: a second run would quantize something", out.display());
    fs::metadata(out).unwrap().len()
}

/// Both forms have the same values to `diff`, and `inspect` says how wide the codes are and which values they have.
fn surveyed(baked: &Path, packed: &Path, bits: u32) {
    let (baked, packed) = (Graph::open(baked).unwrap(), Graph::open(packed).unwrap());
    let difference = baked.diff(&packed).unwrap();
    assert!(difference.tensors.is_empty(), "{:?}", difference.tensors);
    let (baked, packed) = (baked.inspect().unwrap(), packed.inspect().unwrap());
    assert_eq!(baked.weights.len(), packed.weights.len());
    assert!(packed.weight_bytes < baked.weight_bytes);
    for (first, second) in baked.weights.iter().zip(&packed.weights) {
        assert_eq!((&first.op, &first.shape, &first.range), (&second.op, &second.shape, &second.range));
        let how = second.quantized.as_ref().unwrap();
        assert!(how.contains(&format!("{bits} bit")), "{how}");
    }
}

fn job(model: &Path, inputs: &Path, fetch: &[String], digest: &[String], grappler: bool) -> Job {
    let (model, inputs) = (model.to_owned(), Some(inputs.to_owned()));
    Job { model, inputs, fetch: fetch.to_vec(), digest: digest.to_vec(), grappler, noise: None }
}

#[test]
fn codes_that_share_bytes_have_the_bits_of_baked() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let (text, products) = graph();
    let (model, inputs) = (tensorflow.path("float.pb"), tensorflow.path("inputs.npz"));
    #[expect(clippy::disallowed_methods, reason = "a new file in a folder of the test's own")]
    fs::write(&model, text::parse(text.as_bytes()).unwrap()).unwrap();
    let mut writer = NpzWriter::new(fs::File::create_new(&inputs).unwrap());
    let x = Array2::from_shape_fn((1, ROWS), |(_, i)| f32::from(u8::try_from(i).unwrap()) - 17.3);
    writer.add_array("x", &x).unwrap();
    writer.finish().unwrap();
    let edges: Vec<String> = products.iter().map(|name| format!("{name}@1")).collect();
    let call = vec!["call:0".to_owned()];
    let mut jobs = Vec::new();
    let ways = ways();
    for (name, bits, config) in &ways {
        let path = |emit: Emit| tensorflow.path(&format!("{name} {emit}.pb"));
        let [baked, packed] = [Emit::Baked, Emit::Packed].map(|emit| {
            compress(&model, config, emit, &path(emit));
            path(emit)
        });
        surveyed(&baked, &packed, *bits);
        for (model, grappler) in [(&baked, false), (&packed, false), (&packed, true)] {
            jobs.push(job(model, &inputs, &call, &edges, grappler));
        }
    }
    let answers = tensorflow.run(&jobs);
    for ((name, ..), answers) in ways.iter().zip(answers.chunks(3)) {
        let [baked, packed @ ..] = answers else { panic!("three answers") };
        for packed in packed {
            for edge in &edges {
                assert_eq!(packed.digest(edge), baked.digest(edge), "{name}: {edge}");
            }
            assert_eq!(packed.array("call:0"), baked.array("call:0"), "{name}: in the function");
        }
    }
}

#[test]
fn a_resnet50_takes_an_eighth_or_a_sixteenth() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let (model, inputs, names) = tensorflow.keras("resnet50");
    let logits = vec![names["logits"].as_str().unwrap().to_owned()];
    let before = fs::metadata(&model).unwrap().len();
    let cases = [
        ("naive 4", config(Quantizer::Naive, 4, ""), 14),
        ("qat 4 affine", config(Quantizer::Qat, 4, ", symmetric: false"), 14),
        ("naive 2", config(Quantizer::Naive, 2, ""), 8),
        ("dorefa 2", config(Quantizer::DoReFa, 2, ""), 8),
    ];
    let mut jobs = Vec::new();
    for (name, config, percent) in &cases {
        let path = |emit: Emit| -> PathBuf { tensorflow.path(&format!("{name} {emit}.pb")) };
        compress(&model, config, Emit::Baked, &path(Emit::Baked));
        let after = compress(&model, config, Emit::Packed, &path(Emit::Packed));
        assert!(after * 100 <= before * percent, "{name}: {after} of {before} bytes");
        surveyed(&path(Emit::Baked), &path(Emit::Packed), if *percent == 8 { 2 } else { 4 });
        let plan = Graph::open(&model).unwrap();
        let plan = plan.plan(config, PlanOptions { emit: Some(Emit::Packed), ..PlanOptions::default() }).unwrap();
        let edges: Vec<String> = plan.quantized().map(|site| format!("{}@1", site.op)).collect();
        assert_eq!(edges.len(), 53 + 1, "convolutions and one dense layer");
        jobs.extend([Emit::Baked, Emit::Packed].map(|emit| job(&path(emit), &inputs, &logits, &edges, false)));
    }
    for (answers, (jobs, (name, ..))) in tensorflow.run(&jobs).chunks(2).zip(jobs.chunks(2).zip(&cases)) {
        let ([baked, packed], [job, _]) = (answers, jobs) else { panic!("two answers") };
        for edge in &job.digest {
            assert_eq!(packed.digest(edge), baked.digest(edge), "{name}: {edge}");
        }
    }
}

const SCRIPT: &str = "tests/torch/shared_codes.py";

/// One form of an archive, in which a second run finds nothing to do.
fn torch(source: &Path, config: &ConfigList, emit: Emit, out: &Path) -> Model {
    let options = PlanOptions { emit: Some(emit), ..PlanOptions::default() };
    let model = Model::open(source).unwrap();
    let plan = model.plan(config, options).unwrap();
    let left: Vec<_> = plan.skipped().filter(|(_, reason)| reason.code != "excluded").collect();
    assert!(left.is_empty() && !plan.is_empty(), "{}: {left:?}", out.display());
    model.apply(&plan).unwrap().write_to(out).unwrap();
    let written = Model::open(out).unwrap();
    assert!(
        written.plan(config, options).unwrap().is_empty(),
        "{}: a second run would quantize something",
        out.display()
    );
    written
}

#[test]
fn codes_that_share_bytes_have_the_bits_of_baked_in_torch() {
    let Some(python) = oracle(Framework::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run_python(&python, SCRIPT, &["make".as_ref(), folder], &[]);
    let names = [
        "layers.script",
        "layers.trace",
        "layers.freeze",
        "held.script",
        "double.script",
        "half.script",
        "brain.script",
    ];
    let mut cases = Vec::new();
    for name in names {
        let source = folder.join(format!("{name}.pt"));
        // One reader of the tied weight has a copy of its own.
        let other = if name.starts_with("held") { ", {op_types: 'Embedding', exclude: true}" } else { "" };
        for (way, bits, more) in [
            (Quantizer::DoReFa, 1, ""),
            (Quantizer::DoReFa, 2, ""),
            (Quantizer::Naive, 2, ", per_channel: true"),
            (Quantizer::Qat, 2, ", per_channel: true, symmetric: false"),
            (Quantizer::Naive, 3, ", per_channel: false"),
            (Quantizer::DoReFa, 4, ""),
            (Quantizer::Qat, 4, ", per_channel: false, symmetric: false"),
            (Quantizer::Naive, 4, ", per_channel: true"),
        ] {
            let types = "op_types: ['default', 'LSTM'], quant_types: ['weight']";
            let text = format!("[{{{types}, quant_bits: {bits}{more}}}{other}]");
            let config = ConfigList::parse(&text, Some(way)).unwrap();
            let number = cases.len();
            let path = |emit: Emit| folder.join(format!("{name}.{number}.{emit}.pt"));
            let [baked, packed] = [Emit::Baked, Emit::Packed].map(|emit| torch(&source, &config, emit, &path(emit)));
            let difference = baked.diff(&packed).unwrap();
            assert!(difference.tensors.is_empty(), "{name} {way} {bits}: {:?}", difference.tensors);
            let [baked, packed] = [baked, packed].map(|model| model.inspect().unwrap());
            let weights = |found: &quant_math::inspection::Inspection| -> Vec<_> {
                found.weights.iter().map(|weight| (weight.op.clone(), weight.shape.clone(), weight.range)).collect()
            };
            assert_eq!(weights(&baked), weights(&packed), "{name} {way} {bits}");
            assert!(packed.quantized.iter().all(|site| site.settings.bits == bits), "{:?}", packed.quantized);
            cases.push(json!({"baked": path(Emit::Baked), "packed": path(Emit::Packed), "bits": bits}));
        }
    }
    let said = run_python(&python, SCRIPT, &["check"], &serde_json::to_vec(&cases).unwrap());
    assert_eq!(String::from_utf8(said).unwrap(), format!("{} pairs\n", cases.len()));
}
