//! TensorFlow as the measure: graphs in, arrays and scores out (`tests/tf_oracle.py`).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::NpzReader;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Framework, oracle, repository, run_python};

/// An interpreter with TensorFlow, and a folder for what passes to and fro.
#[derive(Debug)]
pub(crate) struct TensorFlow {
    python: PathBuf,
    folder: TempDir,
}

/// One execution of a graph; see `tests/tf_oracle.py`.
#[derive(Debug)]
pub(crate) struct Job {
    /// The graph.
    pub(crate) model: PathBuf,
    /// What is fed.
    pub(crate) inputs: Option<PathBuf>,
    /// Tensors that come back, as `node:0` or `op@input`.
    pub(crate) fetch: Vec<String>,
    /// Tensors of which a digest comes back.
    pub(crate) digest: Vec<String>,
    /// Whether TensorFlow may rewrite the graph before it runs it.
    pub(crate) grappler: bool,
    /// Seed of uniform noise, and its mean square for the weight of each op that is named.
    pub(crate) noise: Option<(u64, BTreeMap<String, f64>)>,
}

/// What came back from a [`Job`].
#[derive(Debug)]
pub(crate) struct Answer {
    arrays: PathBuf,
    digests: Value,
}

/// Shape and CRC-32 of the little-endian bytes.
pub(crate) type Digest = (Vec<usize>, u32);

/// The digest of an array of ours.
pub(crate) fn digest(shape: &[usize], values: &[f32]) -> Digest {
    let mut crc = crc32fast::Hasher::new();
    for value in values {
        crc.update(&value.to_le_bytes());
    }
    (shape.to_vec(), crc.finalize())
}

impl TensorFlow {
    /// `None` where no interpreter was named and none is required.
    pub(crate) fn find() -> Option<Self> {
        let python = oracle(Framework::TensorFlow)?;
        Some(Self { python, folder: TempDir::new().expect("a scratch folder") })
    }

    /// The interpreter.
    pub(crate) fn python(&self) -> &Path {
        &self.python
    }

    /// A path in the scratch folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Run graphs, one after the other, in one process.
    pub(crate) fn run(&self, jobs: &[Job]) -> Vec<Answer> {
        let out = |index: usize| self.path(&format!("out_{index}.npz"));
        let requests = jobs.iter().enumerate().map(|(index, job)| {
            let Job { model, inputs, fetch, digest, grappler, noise } = job;
            let mut request = json!({
                "model": model, "inputs": inputs, "fetch": fetch, "digest": digest, "grappler": grappler, "out": out(index),
            });
            if let Some((seed, noise)) = noise {
                request["seed"] = json!(seed);
                request["noise"] = json!(noise);
            }
            request
        });
        let requests: Value = requests.collect();
        let answers = self.ask(&["run"], requests.to_string().as_bytes());
        let answers = answers.as_array().expect("a list").iter().enumerate();
        answers.map(|(index, answer)| Answer { arrays: out(index), digests: answer["digests"].clone() }).collect()
    }

    /// Percent of the digits test images that each model gets right, and the number of images.
    pub(crate) fn accuracy(&self, models: &[PathBuf]) -> (Vec<f64>, f64) {
        let data = repository("examples/data/digits_test.npz");
        let mut arguments = vec!["accuracy".into(), "--data".into(), data];
        arguments.extend_from_slice(models);
        let answer = self.ask(&arguments, &[]);
        let percent = |model: &PathBuf| answer["percent"][model.to_str().expect("UTF-8")].as_f64().expect("a score");
        (models.iter().map(percent).collect(), answer["samples"].as_f64().expect("a count"))
    }

    /// Convert to TFLite with int8 input and output, `route` v1 or v2, and run it on the digits test images. The int8 constants go to
    /// the .npz file `weights`.
    pub(crate) fn tflite(&self, model: &Path, route: &str, weights: &Path) -> Value {
        let data = repository("examples/data/digits_test.npz");
        let [model, data, weights] = [model, &data, weights].map(|path| path.to_str().expect("UTF-8"));
        self.ask(&["tflite", model, "--route", route, "--data", data, "--out", weights], &[])
    }

    /// A frozen Keras model (`mobilenet_v2` or `resnet50`) under `target/models`, made if it is not there; the model, the batch to run it
    /// on, and the names of its tensors.
    pub(crate) fn keras(&self, name: &str) -> (PathBuf, PathBuf, Value) {
        // Tests of one binary run side by side, and two of them may want the same model.
        static MAKING: Mutex<()> = Mutex::new(());
        let path = |end: &str| repository("target/models").join(format!("{name}{end}"));
        let _making = MAKING.lock().expect("a maker that failed has failed its test");
        if !path(".pb").exists() {
            run_python(&self.python, "tests/models/make_keras.py", &["--only", name], &[]);
        }
        let names = std::fs::read_to_string(path(".json")).expect("the names of its tensors");
        (path(".pb"), path("_input.npz"), serde_json::from_str(&names).expect("JSON"))
    }

    fn ask<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A], input: &[u8]) -> Value {
        let answer = run_python(&self.python, "tests/tf_oracle.py", arguments, input);
        serde_json::from_slice(&answer).unwrap_or_else(|error| {
            panic!("tf_oracle.py printed no JSON ({error}): {}", String::from_utf8_lossy(&answer));
        })
    }
}

impl Answer {
    /// A float32 array that was fetched.
    pub(crate) fn array(&self, name: &str) -> ArrayD<f32> {
        read_array(&self.arrays, name)
    }

    /// The digest of a float32 tensor.
    pub(crate) fn digest(&self, name: &str) -> Digest {
        let digest = &self.digests[name];
        assert_eq!(digest["dtype"], "float32", "{name}");
        let shape = digest["shape"].as_array().expect("a shape").iter();
        let shape = shape.map(|dim| usize::try_from(dim.as_u64().expect("a dimension")).expect("fits")).collect();
        (shape, u32::try_from(digest["crc32"].as_u64().expect("a number")).expect("32 bits"))
    }
}

/// An array of an .npz file.
pub(crate) fn read_array<T: ndarray_npy::ReadableElement>(path: &Path, name: &str) -> ArrayD<T> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut npz = NpzReader::new(file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    npz.by_name::<OwnedRepr<T>, IxDyn>(name).unwrap_or_else(|error| panic!("{}: {name}: {error}", path.display()))
}
