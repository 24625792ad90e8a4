//! SavedModels and MetaGraphs, frozen without TensorFlow, against what TensorFlow computes of the originals.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking and tells its story on stderr")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Framework, oracle, run_python};
use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use serde_json::{Value, json};
use tf_rewriter::{Error, Graph, ModelOptions, ModelOutput, Names, PlanOptions, WeightPlace};

const MAKE: &str = "tests/tensorflow/saved_models.py";
const CHECK: &str = "tests/tensorflow/check_frozen.py";
const LOAD: &str = "tests/tensorflow/check_models.py";
const INSPECTED: &str = "tests/tensorflow/check_inspected.py";

fn text(call: &Value, key: &str) -> Option<String> {
    call[key].as_str().map(str::to_owned)
}

fn texts(call: &Value, key: &str) -> Vec<String> {
    call[key].as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The model that a call of the manifest is of, and what is meant of it.
fn model(folder: &Path, call: &Value) -> (PathBuf, ModelOptions) {
    let mut options = ModelOptions::default();
    let path = if let Some(meta) = text(call, "meta") {
        options.outputs = texts(call, "outputs");
        meta
    } else {
        options.tags = Some(texts(call, "tags"));
        options.signature = text(call, "signature");
        text(call, "path").unwrap()
    };
    (folder.join(path), options)
}

/// Freeze what a call of the manifest says, into `frozen/NAME`.
fn freeze(folder: &Path, call: &Value, names: Names) -> Result<(), Error> {
    let (path, mut options) = model(folder, call);
    options.names = names;
    let graph = Graph::open_model(path, &options)?;
    let keys = |endpoints: &[tf_rewriter::Endpoint]| {
        endpoints.iter().map(|endpoint| (endpoint.key.clone(), endpoint.tensor.clone())).collect::<BTreeMap<_, _>>()
    };
    let interface = graph.interface().clone();
    let own = folder.join("frozen").join(text(call, "name").unwrap());
    drop(std::fs::remove_dir_all(&own));
    std::fs::create_dir_all(&own).unwrap();
    graph.as_it_is()?.write_to(own.join("graph.pb"))?;
    let mut inputs = keys(&interface.inputs);
    // Without a signature, what is fed is named by its tensor.
    let fed = call["types"].as_object().unwrap().keys().filter(|key| key.contains(':'));
    inputs.extend(fed.filter(|_| interface.inputs.is_empty()).map(|key| (key.clone(), key.clone())));
    let names = json!({ "inputs": inputs, "outputs": keys(&interface.outputs), "init": interface.initializer });
    serde_json::to_writer(std::fs::File::create_new(own.join("names.json")).unwrap(), &names).unwrap();
    Ok(())
}

/// The models, made by TensorFlow: those of CI, or all that stand in the folder `QUANT_SAVED_MODELS`.
struct Corpus {
    folder: PathBuf,
    manifest: Value,
    _own: Option<tempfile::TempDir>,
}

impl Corpus {
    fn make(python: &Path) -> Self {
        let own = std::env::var_os("QUANT_SAVED_MODELS").is_none().then(|| tempfile::tempdir().unwrap());
        let folder = match &own {
            Some(own) => own.path().to_owned(),
            None => std::env::var_os("QUANT_SAVED_MODELS").unwrap().into(),
        };
        if own.is_some() {
            run_python(python, MAKE, &[folder.as_path(), Path::new("--ci")], &[]);
        }
        let manifest = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        Self { folder, manifest, _own: own }
    }

    fn calls(&self) -> &[Value] {
        self.manifest.get("calls").unwrap().as_array().unwrap()
    }
}

/// Write a SavedModel again, in a form.
fn write_again(folder: &Path, call: &Value, form: &str) -> Result<(), Error> {
    let mut options = ModelOptions::default();
    options.tags = Some(texts(call, "tags"));
    options.signature = text(call, "signature");
    options.whole = true;
    let graph = Graph::open_model(folder.join(text(call, "path").unwrap()), &options)?;
    let place = folder.join("models").join(form);
    std::fs::create_dir_all(&place).unwrap();
    let place = place.join(text(call, "name").unwrap());
    let (quantizer, emit, weights) = match form {
        "float" => (None, Emit::Packed, WeightPlace::Fitting),
        "float_variables" => (None, Emit::Packed, WeightPlace::Checkpoint),
        "baked" => (Some(Quantizer::Naive), Emit::Baked, WeightPlace::Fitting),
        "packed" => (Some(Quantizer::Naive), Emit::Packed, WeightPlace::Fitting),
        "packed_variables" => (Some(Quantizer::Naive), Emit::Packed, WeightPlace::Checkpoint),
        _ => (Some(Quantizer::Qat), Emit::Training, WeightPlace::Fitting),
    };
    let made = match quantizer {
        None => graph.as_it_is()?,
        Some(quantizer) => {
            let config = ConfigList::default_for(quantizer);
            let plan = graph.plan(&config, PlanOptions { emit: Some(emit), ..PlanOptions::default() })?;
            graph.apply(&plan)?
        }
    };
    let output = ModelOutput { weights, ..ModelOutput::default() };
    made.write_model(&place, output, &|_| {}).map(drop)
}

/// What is written as a SavedModel loads in every loader of TensorFlow alike: unquantized it computes what the original did, and `packed` what
/// `baked` does.
#[test]
fn models_that_are_written_again_load_everywhere() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let corpus = Corpus::make(&python);
    let folder = corpus.folder.as_path();
    let models: Vec<&Value> =
        corpus.calls().iter().filter(|call| call["refused"].is_null() && call["meta"].is_null()).collect();
    let mut wrong = Vec::new();
    let forms = ["float", "float_variables", "baked", "packed", "packed_variables", "training"];
    for form in forms {
        for call in &models {
            if let Err(error) = write_again(folder, call, form) {
                wrong.push(format!("{form}/{}: {} {error}", text(call, "name").unwrap(), error.code()));
            }
        }
    }
    let answer: Value = serde_json::from_slice(&run_python(&python, LOAD, &[folder], &[])).unwrap();
    let answer = answer.as_object().unwrap();
    assert!(answer.len() + wrong.len() >= forms.len() * models.len(), "{} of {}", answer.len(), models.len());
    for (name, found) in answer {
        let is_float = name.starts_with("float");
        if found["loaders"] != "equal" || (is_float && found["expected"] != "equal") {
            wrong.push(format!("{name}: {found}"));
        }
        let is_packed = |form: &str| name.strip_prefix(form);
        if let Some(call) = is_packed("packed/").or_else(|| is_packed("packed_variables/")) {
            let baked = &answer[&format!("baked/{call}")];
            if baked["expected"] != found["expected"] {
                wrong.push(format!("{name}: {found}, baked {baked}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table of ops is what TensorFlow registers.
#[test]
fn ops_are_those_that_tensorflow_has() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let registered = run_python::<&str>(&python, "tests/tensorflow/ops.py", &[], &[]);
    let table = std::fs::read(common::repository("tf-rewriter/src/graphdef/types/ops.txt")).unwrap();
    let differs = registered != table;
    assert!(!differs, "`python3 tests/tensorflow/ops.py` makes the table anew");
}

#[test]
fn frozen_models_compute_what_the_originals_do() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let corpus = Corpus::make(&python);
    let folder = corpus.folder.as_path();
    for names in [Names::Function, Names::Main] {
        let mut wrong = Vec::new();
        for call in corpus.calls() {
            let name = text(call, "name").unwrap();
            match (freeze(folder, call, names), text(call, "refused")) {
                (Ok(()), None) => {}
                (Err(error), Some(why)) => eprintln!("{name}: refused ({why}): {} {error}", error.code()),
                (Ok(()), Some(why)) => wrong.push(format!("{name}: not refused: {why}")),
                (Err(error), None) => wrong.push(format!("{name}: {} {error} {:?}", error.code(), error.location())),
            }
        }
        let answer: Value = serde_json::from_slice(&run_python(&python, CHECK, &[folder], &[])).unwrap();
        let answer = answer.as_object().unwrap();
        for (name, found) in answer.iter().filter(|(_, found)| *found != "equal") {
            wrong.push(format!("{name}: {found}"));
        }
        eprintln!("{names:?}: {} frozen", answer.len());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// What `inspect` says of meta graphs, signatures, assets, tables and variables is what TensorFlow reads, of models that cannot be frozen too.
#[test]
fn what_is_shown_is_what_tensorflow_reads() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let corpus = Corpus::make(&python);
    let folder = corpus.folder.as_path();
    let own = folder.join("inspected");
    drop(std::fs::remove_dir_all(&own));
    std::fs::create_dir_all(&own).unwrap();
    for call in corpus.calls() {
        let (path, options) = model(folder, call);
        let name = text(call, "name").unwrap();
        let found = tf_rewriter::inspect_model(path, &options).unwrap();
        assert_eq!(found.graph.is_none(), !call["refused"].is_null(), "{name}: {:?}", found.not_flat);
        let file = std::fs::File::create_new(own.join(format!("{name}.json"))).unwrap();
        serde_json::to_writer(file, &found).unwrap();
    }
    let answer: Value = serde_json::from_slice(&run_python(&python, INSPECTED, &[folder], &[])).unwrap();
    let answer = answer.as_object().unwrap();
    assert_eq!(answer.len(), corpus.calls().len());
    let wrong: Vec<String> =
        answer.iter().filter(|(_, found)| *found != "equal").map(|(name, found)| format!("{name}: {found}")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A SavedModel for training keeps its variables in its checkpoint; TensorFlow trains and saves it, and what comes out of `freeze` computes what the
/// trained one does when it learns nothing.
#[test]
fn a_model_is_trained_saved_and_frozen() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let corpus = Corpus::make(&python);
    let call = corpus.calls().iter().find(|call| call["model"] == "keras_export_cnn").unwrap();
    let (path, mut options) = model(&corpus.folder, call);
    options.whole = true;
    let feeds = corpus.folder.join(text(call, "feeds").unwrap());
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let config = "[{ op_types: 'default', quant_types: ['weight', 'output'], quant_bits: 8 }]";
    let config = ConfigList::parse(config, Some(Quantizer::Qat)).unwrap();
    let graph = Graph::open_model(path, &options).unwrap();
    let plan = graph.plan(&config, PlanOptions { emit: Some(Emit::Training), ..PlanOptions::default() }).unwrap();
    graph.apply(&plan).unwrap().write_model(&at("training"), ModelOutput::default(), &|_| {}).unwrap();

    let arguments = [at("training"), at("trained"), feeds.clone()];
    let told: Value =
        serde_json::from_slice(&run_python(&python, "tests/tensorflow/train_model.py", &arguments, &[])).unwrap();
    // Kernels and biases, of which one is the batch norm's.
    assert_eq!(told["trained"].as_array().unwrap().len(), 6, "{told}");
    assert!(told["moved"].as_f64().unwrap() > 1e-3, "{told}");

    options.signature = None;
    let trained = Graph::open_model(at("trained"), &options).unwrap();
    let checkpoint = tf_rewriter::Bundle::open(trained.checkpoint().unwrap()).unwrap();
    let mut outputs = Vec::new();
    for emit in [Emit::Inference, Emit::Packed, Emit::Baked] {
        let trained = Graph::open_model(at("trained"), &options).unwrap();
        assert!(trained.is_training().unwrap());
        let frozen = trained.freeze(|name| checkpoint.tensor(name), emit).unwrap();
        let place = at(&emit.to_string());
        frozen.write_model(&place, ModelOutput::default(), &|_| {}).unwrap();
        let arguments = [PathBuf::from("--run"), place, feeds.clone()];
        let found = run_python(&python, "tests/tensorflow/train_model.py", &arguments, &[]);
        outputs.push(serde_json::from_slice::<Value>(&found).unwrap());
    }
    assert_eq!(outputs[0], told["outputs"]);
    // These two quantize weights alone.
    assert_eq!(outputs[1], outputs[2]);
    assert_ne!(outputs[0], outputs[1]);
}
