//! The verbs that run graphs, on graphs of n, 2n and 4n of what costs them most: what this process allocates is near linear. TensorFlow's own
//! memory is not counted, and not ours to bound.
//!
//! One test in a file of its own: the allocation counter is the process's.
#![cfg(feature = "run")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it leaves out")]

#[path = "../../tests/common/growth.rs"]
mod growth;
#[path = "../../tests/common/oracle.rs"]
#[expect(dead_code, reason = "no test here asks PyTorch")]
mod oracle;
#[path = "../../tests/common/peak.rs"]
mod peak;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::arr2;
use ndarray_npy::NpzWriter;
use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use tempfile::TempDir;
use tf_rewriter::run::{
    Calibrator, EvaluateOptions, Evaluator, Feeds, FinetuneOptions, Finetuner, Model, Objective, RunOptions, Search,
    VARIABLE,
};
use tf_rewriter::{Graph, text};

use growth::{Shape, Verb, check};

/// A model, and its data.
struct Case {
    folder: TempDir,
    model: Vec<u8>,
}

impl Case {
    /// A model with inputs of shape [?, 2]: four samples of each.
    fn new(source: &str, inputs: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = NpzWriter::new(Cursor::new(Vec::new()));
        for name in inputs {
            archive.add_array(name.as_str(), &arr2(&[[1_f32, -2.0], [0.5, 3.0], [-1.0, 1.0], [2.0, 0.25]])).unwrap();
        }
        model_file::atomic::write(&folder.path().join("data.npz"), archive.finish().unwrap().get_ref()).unwrap();
        Self { folder, model: text::parse(source.as_bytes()).unwrap() }
    }

    fn with_x(source: &str) -> Self {
        Self::new(&(placeholder("x") + source), &["x".to_owned()])
    }

    fn graph(&self) -> Graph {
        Graph::from_bytes(self.model.clone()).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data.npz")
    }
}

fn each(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

fn node(name: &str, op: &str, inputs: &[&str], dtype: &str) -> String {
    let inputs = inputs.iter().map(|input| format!("input: '{input}'")).collect::<Vec<_>>().join(" ");
    format!("node {{ name: '{name}' op: '{op}' {inputs} attr {{ key: 'T' value {{ type: {dtype} }} }} }}\n")
}

fn float(name: &str, op: &str, inputs: &[&str]) -> String {
    node(name, op, inputs, "DT_FLOAT")
}

fn placeholder(name: &str) -> String {
    format!(
        "node {{ name: '{name}' op: 'Placeholder' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} attr {{ key: 'shape' value {{ shape {{ \
         dim {{ size: -1 }} dim {{ size: 2 }} }} }} }} }}\n"
    )
}

fn weight(name: &str) -> String {
    format!(
        "node {{ name: '{name}' op: 'Const' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} attr {{ key: 'value' value {{ tensor {{ dtype: DT_FLOAT \
         tensor_shape {{ dim {{ size: 2 }} dim {{ size: 2 }} }} float_val: [0.5, -0.25, 0.75, 0.5] }} }} }} }}\n"
    )
}

/// An input, a layer and an output, each many times.
fn inputs(count: usize) -> Case {
    let names: Vec<String> = (0..count).map(|i| format!("x{i}")).collect();
    let layers = each(count, |i| {
        placeholder(&format!("x{i}"))
            + &weight(&format!("w{i}"))
            + &float(&format!("m{i}"), "MatMul", &[&format!("x{i}"), &format!("w{i}")])
    });
    Case::new(&layers, &names)
}

fn layers(count: usize) -> Case {
    let before = |i: usize| if i == 0 { "x".to_owned() } else { format!("r{}", i - 1) };
    Case::with_x(&each(count, |i| {
        weight(&format!("w{i}"))
            + &float(&format!("m{i}"), "MatMul", &[&before(i), &format!("w{i}")])
            + &float(&format!("r{i}"), "Tanh", &[&format!("m{i}")])
    }))
}

/// Layers that one node reads, and one that reads it.
fn hub(count: usize) -> Case {
    let layers =
        each(count, |i| weight(&format!("w{i}")) + &float(&format!("m{i}"), "MatMul", &["x", &format!("w{i}")]));
    let names = each(count, |i| format!("input: 'm{i}' "));
    let sum = format!(
        "node {{ name: 'sum' op: 'AddN' {names} attr {{ key: 'N' value {{ i: {count} }} }} attr {{ key: 'T' value {{ type: DT_FLOAT }} }} }}\n"
    );
    Case::with_x(&(layers + &sum + &weight("last") + &float("y", "MatMul", &["sum", "last"])))
}

/// Activations that meet in tensors of integers, which are not compared themselves: each of them is computed from all before it.
fn counted(count: usize) -> Case {
    let cast = |name: &str, from: &str, types: [&str; 2]| {
        format!(
            "node {{ name: '{name}' op: 'Cast' input: '{from}' attr {{ key: 'SrcT' value {{ type: {} }} }} attr {{ key: 'DstT' value {{ type: {} }} }} }}\n",
            types[0], types[1]
        )
    };
    let first = weight("w") + &float("m", "MatMul", &["x", "w"]) + &cast("s", "m", ["DT_FLOAT", "DT_INT32"]);
    let sum = |i: usize| if i == 0 { "s".to_owned() } else { format!("s{}", i - 1) };
    let sums = each(count, |i| {
        float(&format!("r{i}"), "Relu", &["m"])
            + &cast(&format!("c{i}"), &format!("r{i}"), ["DT_FLOAT", "DT_INT32"])
            + &node(&format!("s{i}"), "AddV2", &[&sum(i), &format!("c{i}")], "DT_INT32")
    });
    Case::with_x(&(first + &sums + &cast("y", &sum(count), ["DT_INT32", "DT_FLOAT"])))
}

/// Variables that get a value on the way.
fn assigned(count: usize) -> Case {
    let float_type = "attr { key: 'dtype' value { type: DT_FLOAT } }";
    let layers = each(count, |i| {
        format!(
            "node {{ name: 'v{i}' op: 'VarHandleOp' {float_type} attr {{ key: 'shape' value {{ shape {{ dim {{ size: 2 }} dim {{ size: 2 }} }} }} }} \
             attr {{ key: 'shared_name' value {{ s: 'v{i}' }} }} }}
             node {{ name: 'a{i}' op: 'AssignVariableOp' input: 'v{i}' input: 'w{i}' {float_type} }}
             node {{ name: 'g{i}' op: 'ReadVariableOp' input: 'v{i}' input: '^a{i}' {float_type} }}\n"
        ) + &weight(&format!("w{i}"))
            + &float(&format!("m{i}"), "MatMul", &["x", &format!("g{i}")])
    });
    Case::with_x(&layers)
}

fn config(kinds: &str) -> ConfigList {
    let text = format!("[{{op_types: ['default', 'Relu', 'AddN'], quant_types: [{kinds}], quant_bits: 8}}]");
    ConfigList::parse(&text, Some(Quantizer::Qat)).unwrap()
}

fn calibrate(case: &Case) {
    let config = config("'input', 'output'");
    let mut calibrator = Calibrator::new(&case.graph(), &config, &RunOptions::default()).unwrap();
    let mut data = Feeds::open(calibrator.model(), &case.data(), None).unwrap();
    while let Some(batch) = data.next(2).unwrap() {
        calibrator.observe(&batch).unwrap();
    }
    calibrator.ranges().unwrap();
}

fn evaluate(case: &Case) {
    let graph = case.graph();
    let open = || Model::new(&graph, &RunOptions::default()).unwrap();
    let options = EvaluateOptions { top_k: 1, per_layer: true };
    let mut evaluator = Evaluator::new(open(), Some(open()), &graph, &options).unwrap();
    let mut data = Feeds::open(evaluator.model(), &case.data(), None).unwrap();
    while let Some(batch) = data.next(4).unwrap() {
        evaluator.add(Path::new("data.npz"), &batch, None).unwrap();
    }
    evaluator.finish().unwrap();
}

fn finetune(case: &Case) {
    let options = FinetuneOptions { objective: Objective::Distill, epochs: 1, batch: 2, ..FinetuneOptions::default() };
    let config = config("'weight', 'input'");
    let run = RunOptions::default();
    let mut finetuner = Finetuner::new(case.graph(), &config, &case.data(), None, options, &run).unwrap();
    finetuner.epoch(&|_| {}).unwrap();
    finetuner.state().unwrap();
    finetuner.freeze(Emit::Packed).unwrap().write(&mut std::io::sink()).unwrap();
}

#[test]
fn twice_the_graph_is_twice_the_work() {
    if std::env::var_os(VARIABLE).is_none() {
        run_with_library();
        return;
    }
    let shapes: [Shape<'_, Case>; 5] = [
        ("inputs", &inputs),
        ("layers", &layers),
        ("layers before a hub", &hub),
        ("counted activations", &counted),
        ("assigned variables", &assigned),
    ];
    let verbs: [Verb<'_, Case>; 2] = [("calibrate", &calibrate), ("evaluate", &evaluate)];
    check(&shapes, &verbs, 60);
    check(&shapes[..3], &[("finetune", &finetune)], 12);
}

/// This test once more, in a process that is told where the library is before it begins.
fn run_with_library() {
    const FIND: &str = "import importlib.util as u; print(u.find_spec('tensorflow').submodule_search_locations[0])";
    let Some(python) = oracle::oracle(oracle::Framework::TensorFlow) else { return };
    let found = Command::new(&python).args(["-c", FIND]).output().unwrap();
    let package = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
    let folder = Search::new(Some(&package)).folder().unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "twice_the_graph_is_twice_the_work"]).env(VARIABLE, folder.path());
    let output = again.env("TF_CPP_MIN_LOG_LEVEL", "3").env("CUDA_VISIBLE_DEVICES", "").output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}
