//! A SavedModel whose two signatures share a function: sites have one name, whichever graph is made of the model, and what is measured, written
//! down or trained for one signature holds for both.

use std::path::PathBuf;

use super::finetune::TRAIN_DATA;
use super::*;

/// Signatures `serving_default` and `features` call `body`; made by `make_digits_saved_model.py`.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits");
/// The ops of `serving_default` with a weight; all but the last are those of `features` too.
const OPS: [&str; 7] = ["conv1", "dw1", "pw1", "dw2", "pw2", "dense1", "dense2"];
const INTEGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/configs/tflite_int8.json");

/// The largest difference between the outputs of both signatures of a SavedModel and the tensors of a GraphDef that they are, on the test images.
const COMPARE: &str = "import sys, numpy as np, tensorflow as tf
model, graph, data = sys.argv[1:]
images = np.load(data)['image']
own = tf.saved_model.load(model).signatures
found = [own[key](image=tf.constant(images))[name] for key, name in [('serving_default', 'logits'), ('features', 'features')]]
frozen = tf.compat.v1.GraphDef.FromString(open(graph, 'rb').read())
names = [node.name for node in frozen.node]
ends = lambda end: [name for name in names if name.endswith(end)]
(features,) = ends('dense1/relu6/output_quant') or ends('dense1/relu6')
(logits,) = [name for name in names if name.endswith('Identity') and name.count('/') == 0]
with tf.Graph().as_default() as scope:
    tf.import_graph_def(frozen, name='')
    (image,) = [op.name for op in scope.get_operations() if op.type == 'Placeholder']
    with tf.compat.v1.Session() as session:
        expected = session.run([logits + ':0', features + ':0'], {image + ':0': images})
print(max(float(np.abs(a - b).max()) for a, b in zip(found, expected)))";

fn difference(tensorflow: &TensorFlow, model: &Path, graph: &Path) -> f64 {
    let mut python = Command::new(&tensorflow.python);
    python.args(["-c", COMPARE]).arg(model).arg(graph).arg(TEST_DATA);
    python.env("TF_CPP_MIN_LOG_LEVEL", "3").env("TF_ENABLE_ONEDNN_OPTS", "0").env("CUDA_VISIBLE_DEVICES", "");
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// The ops of a plan or a report that are quantized, with the kind of the tensor.
fn quantized(told: &str) -> Vec<(String, String)> {
    let found: Value = serde_json::from_str(told).unwrap();
    let sites = found["sites"].as_array().unwrap().iter();
    let sites = sites.filter(|site| !site["decision"]["quantize"].is_null());
    sites.map(|site| (site["op"].as_str().unwrap().to_owned(), site["kind"].as_str().unwrap().to_owned())).collect()
}

/// The ops without the calls that stand in front of them, sorted.
fn short(sites: &[(String, String)]) -> Vec<&str> {
    let mut found: Vec<&str> = sites.iter().map(|(op, _)| op.rsplit("PartitionedCall/").next().unwrap()).collect();
    found.sort_unstable();
    found
}

fn twice() -> Vec<&'static str> {
    let mut all: Vec<&str> = OPS.iter().chain(&OPS[..6]).copied().collect();
    all.sort_unstable();
    all
}

#[test]
fn a_site_has_one_name_in_every_container() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = Path::new(MODEL);
    let names = |place: &Path, options: &[&str]| {
        let told = good(tensorflow.plain("plan", place).args(["--quantizer", "naive", "--json"]).args(options));
        quantized(&told).into_iter().map(|(op, _)| op).collect::<Vec<_>>()
    };
    let (function, main) = (tensorflow.path("function.pb"), tensorflow.path("main.pb"));
    good(tensorflow.plain("freeze", model).arg("-o").arg(&function));
    good(tensorflow.plain("freeze", model).args(["--names", "main"]).arg("-o").arg(&main));
    assert_eq!(names(model, &[]), OPS);
    assert_eq!(names(&function, &[]), OPS);
    assert_eq!(names(&main, &[]), OPS);
    assert_eq!(names(model, &["--signature", "features"]), &OPS[..6]);
    // Their weights are compared whatever they are called.
    for other in [&function, &main] {
        let told = good(tensorflow.plain("diff", model).arg(other).arg("--json"));
        let found: Value = serde_json::from_str(&told).unwrap();
        assert!(found["same"].as_u64().unwrap() >= 14, "{told}");
    }
    let told = good(tensorflow.plain("inspect", model).arg("--json"));
    let found: Value = serde_json::from_str(&told).unwrap();
    let weights = found["weights"].as_array().unwrap();
    assert_eq!(weights.iter().map(|weight| weight["op"].as_str().unwrap()).collect::<Vec<_>>(), OPS);
}

#[test]
fn names_of_one_signature_mean_the_ops_of_all() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let model = Path::new(MODEL);
    let into = |name: &str, arguments: &[&str]| {
        let (out, report) = (tensorflow.path(name), tensorflow.path("report.json"));
        let told = good(tensorflow.plain("compress", model).args(arguments).args(["--json", "-o"]).arg(&out));
        fs::write(report, &told).unwrap();
        quantized(&told)
    };
    // A plan and its names, the names of a config, and ranges.
    let plan = tensorflow.file(
        "plan.json",
        good(tensorflow.plain("plan", model).args(["--quantizer", "naive", "--emit", "packed", "--json"])),
    );
    let by_plan = into("by_plan", &["--plan", plan.to_str().unwrap()]);
    assert_eq!(short(&by_plan), twice());
    let config = tensorflow.file("names.json", "[{ op_names: ['conv1', 'dense2'], quant_bits: { weight: 8 } }]");
    let by_name = into("by_name", &["-Q", "naive", "--emit", "packed", "--config", config.to_str().unwrap()]);
    assert_eq!(short(&by_name), ["conv1", "conv1", "dense2"]);
    let ranges = tensorflow.path("ranges.json");
    good(tensorflow.command("calibrate", model).args(["--data", TRAIN_DATA, "-c", INTEGER, "-o"]).arg(&ranges));
    assert!(read(&fs::read(&ranges).unwrap()).ranges.iter().all(|entry| !entry.site.contains("PartitionedCall")));
    let ranges = ranges.to_str().unwrap();
    let by_ranges = into("by_ranges", &["-Q", "qat", "--config", INTEGER, "--ranges", ranges]);
    let weights: Vec<_> = by_ranges.into_iter().filter(|(_, kind)| kind == "weight").collect();
    assert_eq!(short(&weights), twice());
    let graph = tensorflow.path("by_ranges.pb");
    good(tensorflow.plain("compress", model).args(["-Q", "qat", "-c", INTEGER, "--ranges", ranges, "-o"]).arg(&graph));
    assert!(difference(&tensorflow, &tensorflow.path("by_ranges"), &graph) <= 0.0);
}

/// Two SavedModels are held against each other by what their signatures call inputs and outputs, whatever their graphs do.
#[test]
fn a_model_is_evaluated_against_the_one_that_it_was_made_of() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let (model, out) = (Path::new(MODEL), tensorflow.path("packed"));
    good(tensorflow.plain("compress", model).args(["-Q", "naive", "--emit", "packed", "-o"]).arg(&out));
    for (first, second) in [(out.as_path(), model), (model, out.as_path())] {
        let mut command = tensorflow.command("evaluate", first);
        command.arg("--against").arg(second).args(["--data", TEST_DATA, "--labels", "label", "--per-layer", "--json"]);
        let found: Value = serde_json::from_str(&good(&mut command)).unwrap();
        assert!(found["outputs"][0]["error"]["sqnr_db"].as_f64().unwrap() > 30.0, "{found}");
        let layers: Vec<&str> =
            found["layers"].as_array().unwrap().iter().map(|layer| layer["name"].as_str().unwrap()).collect();
        assert!(OPS.iter().all(|op| layers.contains(op)), "{layers:?}");
    }
}

/// What is trained for one signature is written for all, in every form, and is what the GraphDef of the same training computes.
#[test]
fn a_model_is_finetuned_into_a_model() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let train = |out: &Path, emit: &str| {
        let mut command = tensorflow.command("finetune", Path::new(MODEL));
        command.args(["--data", TRAIN_DATA, "--labels", "label", "-Q", "qat", "--config", INTEGER, "--epochs", "1"]);
        runs(command.args(["--jobs", "1", "--emit", emit, "--quiet", "-o"]).arg(out));
    };
    for emit in ["inference", "packed"] {
        let (folder, graph) = (tensorflow.path(emit), tensorflow.path(&format!("{emit}.pb")));
        train(&folder, emit);
        train(&graph, emit);
        assert!(difference(&tensorflow, &folder, &graph) <= 0.0, "{emit}");
    }
    // It has learnt: the float model's own weights, quantized alike, give something else.
    let untrained = tensorflow.path("untrained.pb");
    runs(
        tensorflow.plain("compress", Path::new(MODEL)).args(["-Q", "naive", "--emit", "packed", "-o"]).arg(&untrained),
    );
    assert!(difference(&tensorflow, &tensorflow.path("packed"), &untrained) > 1e-2);
    let there = tensorflow.path("there");
    fs::create_dir(&there).unwrap();
    fs::write(there.join("somebodys"), "").unwrap();
    let mut command = tensorflow.command("finetune", Path::new(MODEL));
    command.args([
        "--data", TRAIN_DATA, "--labels", "label", "-Q", "qat", "--config", INTEGER, "--epochs", "1", "--quiet",
    ]);
    fails(command.arg("-o").arg(&there), "E0901", &["--force"]);
    let files: Vec<PathBuf> = fs::read_dir(&there).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files, [there.join("somebodys")]);
}
