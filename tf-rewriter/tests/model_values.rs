//! Values of a model that stay in its checkpoint. A bit that is not what was stored: whatever reads the value or copies it says so, and nothing is
//! written. What needs no values does not look at them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod made_model;

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use made_model::{field, tensor_with};
use tempfile::TempDir;
use tf_rewriter::bundle::BundleWriter;
use tf_rewriter::pb::DataType;
use tf_rewriter::{Bundle, Graph, ModelOptions, text};

/// Rows and columns of the weight; each column has a bias.
const SHAPE: [u64; 2] = [16, 1100];

/// A product with a bias, both variables; a scale that is short; and a variable that no signature needs.
const GRAPH: &str = "
    node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }
    node { name: 'weight' op: 'VariableV2' attr { key: 'dtype' value { type: DT_FLOAT } } }
    node { name: 'bias' op: 'VariableV2' attr { key: 'dtype' value { type: DT_FLOAT } } }
    node { name: 'scale' op: 'VariableV2' attr { key: 'dtype' value { type: DT_FLOAT } } }
    node { name: 'unused' op: 'VariableV2' attr { key: 'dtype' value { type: DT_FLOAT } } }
    node { name: 'product' op: 'MatMul' input: 'x' input: 'weight' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'sum' op: 'AddV2' input: 'product' input: 'bias' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'y' op: 'Mul' input: 'sum' input: 'scale' attr { key: 'T' value { type: DT_FLOAT } } }";

/// Every form that can be written: the options, and what the output is called.
const FORMS: [(&[&str], &str); 9] = [
    (&["compress", "--emit", "baked"], "out"),
    (&["compress", "--emit", "baked"], "out.pb"),
    (&["compress", "--emit", "packed"], "out"),
    (&["compress", "--emit", "packed", "--weights", "checkpoint"], "out"),
    (&["compress", "--emit", "packed"], "out.pbtxt"),
    (&["compress", "--emit", "inference"], "out"),
    (&["compress", "--emit", "training"], "out"),
    (&["freeze"], "out.pb"),
    (&["freeze"], "out"),
];

/// A folder with the SavedModel `model`, whose checkpoint has `shards` data files: the weight is in the first, the rest in the last.
struct Models(TempDir);

impl Models {
    fn new(shards: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        fs::create_dir_all(model.join("variables")).unwrap();
        let info = field(4, b"serve");
        let sides = [field(1, &tensor_with("x", "x:0", &[])), field(2, &tensor_with("y", "y:0", &[]))].concat();
        let signature = field(5, &[field(1, b"serving_default"), field(2, &sides)].concat());
        let graph = text::parse(GRAPH.as_bytes()).unwrap();
        let meta = [field(1, &info), field(2, &graph), signature].concat();
        let bytes = [vec![0x08, 1], field(2, &meta)].concat();
        fs::File::create_new(model.join("saved_model.pb")).unwrap().write_all(&bytes).unwrap();
        let mut bundle = BundleWriter::create(&model.join("variables/variables"), shards).unwrap();
        for (name, shape) in [("weight", &SHAPE[..]), ("bias", &SHAPE[1..]), ("scale", &[]), ("unused", &SHAPE[..])] {
            let count = usize::try_from(shape.iter().product::<u64>()).unwrap();
            let values = (0..count).flat_map(|at| (f32::from(u8::try_from(at % 251).unwrap()) - 125.0).to_le_bytes());
            let values: Vec<u8> = values.collect();
            let write = |out: &mut (dyn Write + Send)| {
                out.write_all(&values).unwrap();
                Ok(())
            };
            bundle.tensor(name, DataType::DT_FLOAT, shape, write).unwrap();
            bundle.next_shard().unwrap();
        }
        bundle.finish().unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// One bit of a value is another; the data file.
    fn damage(&self, name: &str) -> PathBuf {
        let bundle = Bundle::open(&self.path("model/variables/variables")).unwrap();
        let entry = bundle.entry(name).unwrap().unwrap();
        let path = bundle.locate(name, "").unwrap().unwrap().files[0].clone();
        drop(bundle);
        let at = SeekFrom::Start(entry.offset + entry.size / 2);
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.seek(at).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(at).unwrap();
        file.write_all(&[byte[0] ^ 1]).unwrap();
        path
    }

    fn write(&self, command: &[&str], out: &str) -> Output {
        run(command, &[&self.path("model"), Path::new("-o"), &self.path(out)])
    }
}

fn run(command: &[&str], arguments: &[&Path]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tf-rewriter"));
    let (verb, options) = command.split_first().unwrap();
    program.arg(verb).args(arguments).args(options);
    if ["compress", "plan"].contains(verb) {
        program.args(["-Q", if options.contains(&"training") { "qat" } else { "naive" }]);
    }
    program.output().unwrap()
}

#[track_caller]
fn told(output: &Output, name: &str, file: &Path) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with(&format!("error[E0201]: tensor `{name}`: found CRC-32C ")), "{text}");
    assert!(text.contains(&format!("\n  --> {}", file.display())), "{text}");
}

#[track_caller]
fn good(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn values_that_are_right_are_written_in_every_form() {
    for shards in [1, 2] {
        for (command, out) in FORMS {
            good(&Models::new(shards).write(command, out));
        }
    }
}

#[test]
fn nothing_is_written_of_a_damaged_value() {
    // The weight is quantized, the bias is copied, and the scale is so short that it is in the graph itself.
    for (name, shards) in [("weight", 1), ("bias", 1), ("bias", 2), ("scale", 1)] {
        let models = Models::new(shards);
        let file = models.damage(name);
        for (command, out) in FORMS {
            told(&models.write(command, out), name, &file);
            let left = fs::read_dir(models.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
            assert_eq!(left.collect::<Vec<_>>(), ["model"], "{name} {command:?} {out}");
        }
    }
}

/// Where no weight is chosen, whole files are copied.
#[test]
fn a_model_that_is_copied_as_it_is_is_checked() {
    for (name, shards) in [("weight", 1), ("bias", 2)] {
        let models = Models::new(shards);
        let config = models.path("none.json");
        fs::File::create_new(&config).unwrap().write_all(b"[{op_types: 'default', exclude: true}]").unwrap();
        let command = ["compress", "--emit", "baked", "--config", config.to_str().unwrap(), "--allow-unmatched"];
        good(&models.write(&command, "out"));
        let file = models.damage(name);
        told(&models.write(&command, "again"), name, &file);
        assert!(!models.path("again").exists());
    }
}

#[test]
fn a_model_with_a_damaged_value_is_like_no_other() {
    for name in ["weight", "bias"] {
        let models = Models::new(1);
        good(&models.write(&["freeze"], "out.pb"));
        let file = models.damage(name);
        let (model, frozen) = (models.path("model"), models.path("out.pb"));
        told(&run(&["diff"], &[&model, &frozen]), name, &file);
        told(&run(&["diff"], &[&frozen, &model]), name, &file);
        told(&run(&["diff"], &[&model, &model]), name, &file);
    }
}

/// Constants that are called alike and lie at the same place of two checkpoints are not the same for that.
#[test]
fn values_in_checkpoints_are_compared() {
    let models = Models::new(1);
    good(&models.write(&["compress", "--emit", "baked"], "baked"));
    let (model, baked) = (models.path("model"), models.path("baked"));
    let told = |first: &Path, second: &Path| {
        let output = run(&["diff", "--json"], &[first, second]);
        good(&output);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let tensors =
            told["tensors"].as_array().unwrap().iter().map(|tensor| tensor["tensor"].as_str().unwrap().to_owned());
        (tensors.collect::<Vec<_>>(), told["same"].as_u64().unwrap(), told["changed"].as_array().unwrap().len())
    };
    assert_eq!(told(&model, &model), (vec![], 3, 0));
    assert_eq!(told(&model, &baked), (vec!["weight:0".to_owned()], 2, 0));
}

#[test]
fn what_a_session_gets_is_checked() {
    let models = Models::new(1);
    models.damage("bias");
    let graph = Graph::open_model(models.path("model"), &ModelOptions::default()).unwrap();
    assert_eq!(graph.whole_bytes().unwrap_err().code(), "E0201");
}

#[test]
fn a_plan_does_not_look_at_values() {
    let models = Models::new(1);
    let before = run(&["plan"], &[&models.path("model")]);
    good(&before);
    for name in ["weight", "bias", "unused"] {
        models.damage(name);
    }
    let after = run(&["plan"], &[&models.path("model")]);
    good(&after);
    assert_eq!(String::from_utf8(after.stdout), String::from_utf8(before.stdout));
}

/// The least and greatest value of a weight are told, and nothing of what is no weight.
#[test]
fn inspect_looks_at_weights_alone() {
    let models = Models::new(1);
    models.damage("bias");
    good(&run(&["inspect"], &[&models.path("model")]));
    models.damage("weight");
    let output = run(&["inspect", "--json"], &[&models.path("model")]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("E0201"), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What nothing reads stays as it is, with the CRC that tells it.
#[test]
fn a_damaged_value_that_nothing_needs_is_copied_with_its_crc() {
    let models = Models::new(1);
    models.damage("unused");
    good(&models.write(&["compress", "--emit", "baked"], "out"));
    let bundle = Bundle::open(&models.path("out/variables/variables")).unwrap();
    assert_eq!(bundle.require("unused").unwrap_err().code(), "E0201");
    bundle.require("weight").unwrap();
}
