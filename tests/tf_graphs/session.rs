//! Graphs to TensorFlow, values back (`tests/tensorflow/run_graphs.py`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use quant_math::{Emit, Plan};
use serde_json::{Value, json};
use tf_rewriter::Graph;

use crate::common::run_python;

/// A float graph and what was made of it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) float: PathBuf,
    pub(crate) models: BTreeMap<String, PathBuf>,
    /// Whether it can run, or only be loaded.
    pub(crate) runs: bool,
}

/// What a graph gave: for each tensor, its type, shape and bytes in each run.
pub(crate) type Outputs = BTreeMap<String, Vec<(String, Vec<u64>, Vec<u8>)>>;

/// Run all graphs; for each job, the outputs of each graph by name. An error of TensorFlow fails the test.
pub(crate) fn run(python: &Path, jobs: &[Job]) -> Vec<BTreeMap<String, Outputs>> {
    let request: Value =
        jobs.iter().map(|job| json!({"float": job.float, "models": job.models, "run": job.runs})).collect();
    let answer = run_python(python, "tests/tensorflow/run_graphs.py", &[""; 0], request.to_string().as_bytes());
    let answers: Vec<BTreeMap<String, Value>> = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answers.len(), jobs.len());
    let mut errors = Vec::new();
    let mut found = Vec::new();
    for (job, graphs) in jobs.iter().zip(answers) {
        assert_eq!(graphs.len(), job.models.len() + 1, "{}", job.name);
        for (name, graph) in &graphs {
            if let Some(error) = graph["error"].as_str() {
                errors.push(format!("{}, {name}: {error}", job.name));
            }
        }
        found.push(graphs.into_iter().map(|(name, graph)| (name, outputs(&graph["outputs"]))).collect());
    }
    assert!(errors.is_empty(), "{} graphs fail:\n{}", errors.len(), errors.join("\n"));
    found
}

fn outputs(value: &Value) -> Outputs {
    let tensors = value.as_object().expect("tensors by name").iter();
    let run = |run: &Value| {
        let shape = run[1].as_array().expect("a shape").iter().map(|dim| dim.as_u64().expect("a size")).collect();
        (run[0].as_str().expect("a type").to_owned(), shape, bytes(run[2].as_str().expect("hex")))
    };
    tensors.map(|(name, runs)| (name.clone(), runs.as_array().expect("runs").iter().map(run).collect())).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

/// The float32 values of all runs of a tensor.
pub(crate) fn floats(outputs: &Outputs, tensor: &str) -> Vec<f32> {
    let runs = outputs.get(tensor).unwrap_or_else(|| panic!("no {tensor} in {:?}", outputs.keys()));
    let values = runs.iter().flat_map(|(dtype, _, bytes)| {
        assert_eq!(dtype, "float32", "{tensor}");
        bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value))
    });
    values.collect()
}

/// Write a graph's quantized form beside the others.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(format!("{name}.pb"));
    #[expect(clippy::disallowed_methods, reason = "a new file in a folder of the test's own")]
    fs::write(&path, bytes).unwrap();
    path
}

/// All of the forms that exist.
pub(crate) const EMITS: [Emit; 3] = [Emit::Baked, Emit::Packed, Emit::Inference];

/// Carry a plan out, into memory.
pub(crate) fn apply(graph: Graph, plan: &Plan) -> Vec<u8> {
    let mut out = Vec::new();
    graph.apply(plan).unwrap().write(&mut out).unwrap();
    out
}
