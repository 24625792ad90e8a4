//! Models whose bytes are in memory, and whose variables the caller gives: the same graphs as from files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::unnecessary_wraps, reason = "values are given as the library takes them")]

mod made_model;

use std::io::Write as _;
use std::path::Path;

use made_model::{field, tensor_with};
use tf_rewriter::bundle::{BundleWriter, Tensor};
use tf_rewriter::pb::DataType;
use tf_rewriter::{Error, Graph, ModelOptions, NaiveQuantizer, text};

/// A product with a variable of TensorFlow 1, and a sum with one of TensorFlow 2 that a function reads and that is shared under another name.
const GRAPH: &str = "
    node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }
    node { name: 'w' op: 'VariableV2' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape { dim { size: 32 } dim { size: 64 } } } } }
    node { name: 'y' op: 'MatMul' input: 'x' input: 'w' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'handle' op: 'VarHandleOp' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shared_name' value { s: 'bias' } } }
    node { name: 'call' op: 'PartitionedCall' input: 'y' input: 'handle' attr { key: 'f' value { func { name: 'f' } } } }
    library { function {
        signature { name: 'f' input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'h' type: DT_RESOURCE } output_arg { name: 'out' type: DT_FLOAT } }
        node_def { name: 'read' op: 'ReadVariableOp' input: 'h' attr { key: 'dtype' value { type: DT_FLOAT } } }
        node_def { name: 'sum' op: 'AddV2' input: 'a' input: 'read:value:0' attr { key: 'T' value { type: DT_FLOAT } } }
        ret { key: 'out' value: 'sum:z:0' } } }";

fn tensor(key: &str, name: &str) -> Vec<u8> {
    tensor_with(key, name, &[])
}

fn graph() -> Vec<u8> {
    text::parse(GRAPH.as_bytes()).unwrap()
}

/// With one signature, from `x` to the call's result.
fn meta_graph() -> Vec<u8> {
    let signature = [field(1, &tensor("x", "x:0")), field(2, &tensor("y", "call:0"))].concat();
    let entry = [field(1, b"serving_default"), field(2, &signature)].concat();
    let info = [field(4, b"serve"), field(5, b"2.21.0")].concat();
    [field(1, &info), field(2, &graph()), field(5, &entry)].concat()
}

fn saved_model() -> Vec<u8> {
    [vec![0x08, 1], field(2, &meta_graph())].concat()
}

fn floats(shape: &[u64], first: f32) -> Tensor {
    let count = shape.iter().product::<u64>();
    let bytes = (0..u16::try_from(count).unwrap()).flat_map(|at| (first + f32::from(at) / 64.0).to_le_bytes());
    Tensor { dtype: DataType::DT_FLOAT, shape: shape.to_vec(), bytes: bytes.collect() }
}

/// The first is long enough to stay beside the graph until it is written.
fn values() -> [(&'static str, Tensor); 2] {
    [("bias", floats(&[64], -0.5)), ("w", floats(&[32, 64], 1.0))]
}

fn value(name: &str) -> Result<Option<Tensor>, Error> {
    Ok(values().into_iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor))
}

fn nothing(_: &str) -> Result<Option<Tensor>, Error> {
    Ok(None)
}

fn checkpoint(prefix: &Path) {
    let mut bundle = BundleWriter::create(prefix, 1).unwrap();
    for (name, tensor) in values() {
        let write = |out: &mut (dyn std::io::Write + Send)| {
            out.write_all(&tensor.bytes).unwrap();
            Ok(())
        };
        bundle.tensor(name, tensor.dtype, &tensor.shape, write).unwrap();
    }
    bundle.finish().unwrap();
}

/// The same model as files.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create_new(folder.path().join("saved_model.pb")).unwrap().write_all(&saved_model()).unwrap();
    std::fs::create_dir(folder.path().join("variables")).unwrap();
    checkpoint(&folder.path().join("variables/variables"));
    folder
}

fn asked(change: impl FnOnce(&mut ModelOptions)) -> ModelOptions {
    let mut options = ModelOptions::default();
    change(&mut options);
    options
}

fn whole(graph: &Graph) -> Vec<u8> {
    graph.whole_bytes().unwrap().into_owned()
}

#[test]
fn a_model_in_memory_is_the_graph_that_its_files_are() {
    let folder = folder();
    let of_files = Graph::open_model(folder.path(), &ModelOptions::default()).unwrap();
    let expected = whole(&of_files);
    let defaults = ModelOptions::default();
    for bytes in [saved_model(), meta_graph()] {
        let made = Graph::from_model_bytes(bytes.clone(), value, &defaults).unwrap();
        assert_eq!(made.path(), None);
        assert_eq!(format!("{:?}", made.interface()), format!("{:?}", of_files.interface()));
        assert!(whole(&made) == expected);
        let steps: Vec<&str> = made.steps().iter().map(|step| step.text.as_str()).collect();
        assert!(steps.contains(&"2 variables are constants with the values that were given"), "{steps:?}");
        // The values of a checkpoint, and of both.
        let prefix = folder.path().join("variables/variables");
        let options = asked(|options| options.checkpoint = Some(prefix));
        assert!(whole(&Graph::from_model_bytes(bytes.clone(), nothing, &options).unwrap()) == expected);
        let one = |name: &str| if name == "w" { value(name) } else { Ok(None) };
        assert!(whole(&Graph::from_model_bytes(bytes, one, &options).unwrap()) == expected);
    }
    // A graph is run for the outputs that are named, under its own names of nodes.
    for bytes in [graph(), GRAPH.as_bytes().to_vec()] {
        let options = asked(|options| options.outputs = vec!["call".to_owned()]);
        let made = Graph::from_model_bytes(bytes, value, &options).unwrap();
        assert_eq!(made.inspect().unwrap().weights.len(), 1);
    }
}

#[test]
fn nni_s_calls_take_a_model_in_memory() {
    let folder = folder();
    let quantized = |graph: Graph| {
        let mut bytes = Vec::new();
        let report = NaiveQuantizer::new(graph).compress().unwrap().write(&mut bytes).unwrap();
        assert_eq!(report.sites.iter().filter(|site| site.site.settings().is_some()).count(), 1);
        bytes
    };
    let defaults = ModelOptions::default();
    let of_files = quantized(Graph::open_model(folder.path(), &defaults).unwrap());
    assert!(quantized(Graph::from_model_bytes(saved_model(), value, &defaults).unwrap()) == of_files);
}

/// What binds ranges to a model knows the values that were given.
#[test]
fn other_values_are_another_model() {
    let print = |first: f32| {
        let other = |name: &str| if name == "w" { Ok(Some(floats(&[32, 64], first))) } else { value(name) };
        Graph::from_model_bytes(saved_model(), other, &ModelOptions::default()).unwrap().fingerprint()
    };
    assert_eq!(print(1.0), print(1.0));
    assert_ne!(print(1.0), print(2.0));
}

#[test]
fn what_is_wrong_is_told() {
    let defaults = ModelOptions::default();
    let error = |bytes: Vec<u8>, read: &dyn Fn(&str) -> Result<Option<Tensor>, Error>, options: &ModelOptions| {
        let error = Graph::from_model_bytes(bytes, read, options).unwrap_err();
        assert!(error.location().is_none_or(|location| !location.is_empty()), "no file: {error:?}");
        error
    };
    let missing = error(saved_model(), &nothing, &defaults);
    assert_eq!(missing.code(), "E0904", "{missing}");
    // Another shape, and another type.
    let with = |tensor: Tensor| move |name: &str| if name == "w" { Ok(Some(tensor.clone())) } else { value(name) };
    let short = with(floats(&[64, 32], 0.0));
    let found = error(saved_model(), &short, &defaults).to_string();
    assert!(found.contains("variable `w`") && found.contains("[64, 32]"), "{found}");
    let whole_numbers = with(Tensor { dtype: DataType::DT_INT32, ..floats(&[32, 64], 0.0) });
    let found = error(saved_model(), &whole_numbers, &defaults).to_string();
    assert!(found.contains("variable `w`") && found.contains("DT_INT32"), "{found}");
    // What the caller says.
    let refuses = |_: &str| Err(Error::Verify { message: "no session".to_owned() });
    assert!(error(saved_model(), &refuses, &defaults).to_string().contains("no session"));
    // A graph has neither tags nor signatures, and nothing that it is run for.
    assert_eq!(error(graph(), &value, &defaults).code(), "E0903");
    let options = asked(|options| options.signature = Some("serving_default".to_owned()));
    assert_eq!(error(graph(), &value, &options).code(), "E0903");
    let options = asked(|options| options.tags = Some(vec!["train".to_owned()]));
    assert_eq!(error(saved_model(), &value, &options).code(), "E0902");
    // No model.
    assert_eq!(error(b"no model".to_vec(), &value, &defaults).code(), "E0102");
    // Its other files are nowhere: it is no SavedModel again.
    let options = asked(|options| options.whole = true);
    let made = Graph::from_model_bytes(saved_model(), value, &options).unwrap();
    assert!(!NaiveQuantizer::new(made).compress().unwrap().is_model());
}
