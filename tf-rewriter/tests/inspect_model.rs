//! What `inspect` says of the files of a model: meta graphs, signatures, assets, lookup tables and variables. Models are made by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod made_model;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use made_model::{field, tensor_with};
use serde_json::{Value, json};
use tf_rewriter::bundle::BundleWriter;
use tf_rewriter::pb::DataType;
use tf_rewriter::{Error, ModelInfo, ModelOptions, inspect_model, text};

/// Two variables, one of which the checkpoint has; a table; and a product.
const GRAPH: &str = "
    node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape { dim { size: -1 } dim { size: 2 } } } } }
    node { name: 'w' op: 'VariableV2' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape { dim { size: 2 } dim { size: 3 } } } } }
    node { name: 'total' op: 'VariableV2' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape { } } } }
    node { name: 'unused' op: 'VariableV2' attr { key: 'dtype' value { type: DT_FLOAT } } }
    node { name: 'table' op: 'HashTableV2' attr { key: 'key_dtype' value { type: DT_STRING } } attr { key: 'value_dtype' value { type: DT_INT64 } } }
    node { name: 'path' op: 'Const' attr { key: 'dtype' value { type: DT_STRING } } attr { key: 'value' value { tensor { dtype: DT_STRING tensor_shape { } string_val: 'words.txt' } } } }
    node { name: 'fill' op: 'InitializeTableFromTextFileV2' input: 'table' input: 'path' }
    node { name: 'init_all_tables' op: 'NoOp' input: '^fill' }
    node { name: 'y' op: 'MatMul' input: 'x' input: 'w' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'sum' op: 'AddV2' input: 'y' input: 'total' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'write' op: 'AssignAdd' input: 'total' input: 'y' attr { key: 'T' value { type: DT_FLOAT } } }";

/// A signature's side: key, tensor, and a shape of two dimensions of which the first is open.
fn tensor(key: &str, name: &str, last: u8) -> Vec<u8> {
    let mut open = vec![0x08];
    open.extend([0xff; 9]);
    open.push(1);
    let shape = [field(2, &open), field(2, &[0x08, last])].concat();
    tensor_with(key, name, &field(3, &shape))
}

fn signature(key: &str, output: &str) -> Vec<u8> {
    let sides = [field(1, &tensor("x", "x:0", 2)), field(2, &tensor("y", output, 3)), field(3, b"predict")].concat();
    field(5, &[field(1, key.as_bytes()), field(2, &sides)].concat())
}

fn meta_graph(tags: &[&str], signatures: &[(&str, &str)]) -> Vec<u8> {
    let tags = tags.iter().flat_map(|tag| field(4, tag.as_bytes()));
    let info: Vec<u8> = tags.chain(field(5, b"1.15.0")).collect();
    let names = field(1, &field(1, b"init_all_tables"));
    let init = field(4, &[field(1, b"legacy_init_op"), field(2, &names)].concat());
    let asset = |file: &[u8]| field(6, &[field(1, &field(1, b"path:0")), field(2, file)].concat());
    let mut meta = [field(1, &info), field(2, &text::parse(GRAPH.as_bytes()).unwrap()), init].concat();
    meta.extend([asset(b"words.txt"), asset(b"gone.txt"), asset(b"../saved_model.pb")].concat());
    meta.extend(signatures.iter().flat_map(|(key, output)| signature(key, output)));
    meta
}

/// `PREFIX.index` and its data file, with `w`.
fn checkpoint(prefix: &Path) {
    let mut bundle = BundleWriter::create(prefix, 1).unwrap();
    let values: Vec<u8> = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    for name in ["w", "w/Momentum"] {
        let write = |out: &mut (dyn std::io::Write + Send)| {
            out.write_all(&values).unwrap();
            Ok(())
        };
        bundle.tensor(name, DataType::DT_FLOAT, &[2, 3], write).unwrap();
    }
    bundle.finish().unwrap();
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::File::create_new(path).unwrap().write_all(bytes).unwrap();
}

fn saved_model(meta_graphs: &[Vec<u8>]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let metas = meta_graphs.iter().flat_map(|meta| field(2, meta));
    let model: Vec<u8> = [0x08, 1].into_iter().chain(metas).collect();
    write(&folder.path().join("saved_model.pb"), &model);
    for part in ["variables", "assets"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
    }
    write(&folder.path().join("assets/words.txt"), b"one\ntwo\n");
    checkpoint(&folder.path().join("variables/variables"));
    folder
}

fn inspect(folder: &Path) -> ModelInfo {
    inspect_model(folder, &ModelOptions::default()).unwrap()
}

fn json_of(found: &ModelInfo) -> Value {
    serde_json::to_value(found).unwrap()
}

fn asked(change: impl FnOnce(&mut ModelOptions)) -> ModelOptions {
    let mut options = ModelOptions::default();
    change(&mut options);
    options
}

#[test]
fn all_parts_of_a_saved_model_are_told() {
    let folder = saved_model(&[
        meta_graph(&["train"], &[]),
        meta_graph(&["serve", "gpu"], &[("serving_default", "y:0"), ("summed", "sum:0")]),
    ]);
    let found = inspect(folder.path());
    let weights = found.graph.as_ref().map(|graph| graph.weights.len());
    assert_eq!((weights, &found.not_flat), (Some(1), &None));
    let told = json_of(&found);
    assert_eq!(told["weights"][0]["op"], "y", "the flat graph stands as it does for a GraphDef");
    let container = &told["container"];
    assert_eq!(container["format"], "SavedModel (binary)");
    assert_eq!(container["meta_graphs"][0]["tags"], json!(["train"]));
    assert_eq!(container["meta_graphs"][0]["chosen"], false);
    let side = |key, tensor, last| json!([{ "key": key, "tensor": tensor, "dtype": "DT_FLOAT", "shape": [-1, last] }]);
    let signature = |key, output, chosen| {
        let (inputs, outputs) = (side("x", "x:0", 2), side("y", output, 3));
        json!({ "key": key, "chosen": chosen, "method_name": "predict", "inputs": inputs, "outputs": outputs })
    };
    let expected = json!({
        "tags": ["serve", "gpu"], "chosen": true, "tensorflow_version": "1.15.0",
        "signatures": [signature("serving_default", "y:0", true), signature("summed", "sum:0", false)],
        "assets": [
            { "file": "words.txt", "tensor": "path:0", "bytes": 8 },
            { "file": "gone.txt", "tensor": "path:0", "bytes": null },
            { "file": "../saved_model.pb", "tensor": "path:0", "bytes": null }],
        "init_op": "init_all_tables" });
    assert_eq!(container["meta_graphs"][1], expected);
    let table = json!({ "name": "table", "op": "HashTableV2", "key_dtype": "DT_STRING", "value_dtype": "DT_INT64" });
    assert_eq!(container["tables"], json!([table]));
    let file = "variables.data-00000-of-00001";
    let expected = json!([
        { "name": "w", "dtype": "DT_FLOAT", "shape": [2, 3], "key": "w", "needed": true, "bytes": 24, "files": [file] },
        { "name": "total", "dtype": "DT_FLOAT", "shape": [], "needed": true, "bytes": null, "files": [] },
        { "name": "unused", "dtype": "DT_FLOAT", "shape": null, "needed": false, "bytes": null, "files": [] }]);
    assert_eq!(container["variables"], expected);
    let prefix = folder.path().join("variables/variables").display().to_string();
    let expected = json!({ "prefix": prefix, "files": [{ "file": file, "bytes": 48 }], "unread": ["w/Momentum"] });
    assert_eq!(container["checkpoint"], expected);
}

/// A model that has no flat graph has its parts all the same.
#[test]
fn what_has_no_flat_graph_is_shown_with_the_reason() {
    let refused = |folder: &Path, code: &str, help: &str| {
        let found = inspect(folder);
        let why = found.not_flat.clone().unwrap();
        assert!(found.graph.is_none() && why.code == code, "{why:?}");
        assert!(why.help.unwrap().contains(help));
        json_of(&found)
    };
    // A signature that needs a variable without a value, and one that writes one.
    let folder = saved_model(&[meta_graph(&["serve"], &[("summed", "sum:0")])]);
    let told = refused(folder.path(), "E0904", "");
    assert_eq!(told["container"]["variables"][0]["bytes"], 24);
    assert!(told.get("weights").is_none(), "{told}");
    let folder = saved_model(&[meta_graph(&["serve"], &[("write", "write:0")])]);
    refused(folder.path(), "E0904", "");
    // Several signatures, and none is meant.
    let folder = saved_model(&[meta_graph(&["serve"], &[("one", "y:0"), ("two", "y:0")])]);
    let told = refused(folder.path(), "E0903", "`one`, `two`");
    let signatures = told["container"]["meta_graphs"][0]["signatures"].as_array().unwrap();
    assert!(signatures.len() == 2 && signatures.iter().all(|signature| signature["chosen"] == false));
    // Several meta graphs, and none is meant.
    let folder = saved_model(&[meta_graph(&["a"], &[("one", "y:0")]), meta_graph(&["b"], &[])]);
    let told = refused(folder.path(), "E0902", "`a` or `b`");
    assert_eq!(told["container"]["meta_graphs"][0]["signatures"][0]["key"], "one");
    assert_eq!(told["container"]["variables"], json!([]));
    // A data file that was not copied.
    let folder = saved_model(&[meta_graph(&["serve"], &[("serving_default", "y:0")])]);
    std::fs::remove_file(folder.path().join("variables/variables.data-00000-of-00001")).unwrap();
    refused(folder.path(), "E0701", "copy them again");
}

/// What was asked for and is not there is an error.
#[test]
fn what_was_asked_for_has_to_be_there() {
    let folder = saved_model(&[meta_graph(&["serve"], &[("serving_default", "y:0")])]);
    let wrong: [(ModelOptions, &str); 4] = [
        (asked(|options| options.tags = Some(vec!["train".to_owned()])), "E0902"),
        (asked(|options| options.signature = Some("other".to_owned())), "E0903"),
        (asked(|options| options.outputs = vec!["nowhere".to_owned()]), "E0505"),
        (asked(|options| options.checkpoint = Some(PathBuf::from("nowhere"))), "E0701"),
    ];
    for (options, code) in wrong {
        let error: Error = inspect_model(folder.path(), &options).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
}

/// A meta graph without a signature says what can be named; with it, it is a graph.
#[test]
fn a_meta_graph_says_what_it_can_be_run_for() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("m.meta"), &meta_graph(&[], &[]));
    checkpoint(&folder.path().join("m"));
    let path = folder.path().join("m.meta");
    let found = inspect(&path);
    assert_eq!(found.not_flat.as_ref().unwrap().code, "E0903");
    let told = json_of(&found);
    let container = &told["container"];
    assert_eq!(container["format"], "MetaGraph (binary)");
    assert_eq!(container["inputs"], json!([{ "name": "x", "dtype": "DT_FLOAT", "shape": [-1, 2] }]));
    assert_eq!(container["outputs"][0]["name"], "sum");
    let options = asked(|options| options.outputs = vec!["y".to_owned()]);
    let found = inspect_model(&path, &options).unwrap();
    assert_eq!(found.graph.unwrap().weights.len(), 1);
    // The same graph by itself, with and without its checkpoint.
    let graph = folder.path().join("g.pbtxt");
    write(&graph, GRAPH.as_bytes());
    assert!(inspect(&graph).container.is_none());
    let options = asked(|options| {
        options.outputs = vec!["y".to_owned()];
        options.checkpoint = Some(folder.path().join("m"));
    });
    let found = json_of(&inspect_model(&graph, &options).unwrap());
    assert_eq!(found["container"]["format"], "GraphDef (text)");
    assert_eq!(found["container"]["variables"][0]["key"], "w");
    assert_eq!(found["weights"][0]["tensor"], "w:0");
}
