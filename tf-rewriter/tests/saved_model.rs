//! SavedModels made by hand: what is refused, and what damaged ones do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod made_model;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use made_model::{field, tensor_with};
use tf_rewriter::bundle::BundleWriter;
use tf_rewriter::pb::DataType;
use tf_rewriter::{Error, Graph, ModelOptions, ModelOutput, text};

/// A signature's side: key and tensor, with a type.
fn tensor(key: &str, name: &str) -> Vec<u8> {
    tensor_with(key, name, &[])
}

/// A SavedModel of this graph, in text form, whose signature has the input `x` and the output `call:0`.
fn model(graph: &str) -> Vec<u8> {
    let graph = text::parse(graph.as_bytes()).unwrap();
    let saver = field(3, b"restore");
    let signature = [field(1, &tensor("x", "x:0")), field(2, &tensor("y", "call:0"))].concat();
    let entry = [field(1, b"serving_default"), field(2, &signature)].concat();
    let meta = [field(1, &field(4, b"serve")), field(2, &graph), field(3, &saver), field(5, &entry)].concat();
    [vec![0x08, 1], field(2, &meta)].concat()
}

/// A folder with the model, and a checkpoint that has the tensor `key` with the values 1 and 2.
fn folder(model: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    File::create_new(folder.path().join("saved_model.pb")).unwrap().write_all(model).unwrap();
    std::fs::create_dir(folder.path().join("variables")).unwrap();
    let mut bundle = BundleWriter::create(&folder.path().join("variables/variables"), 1).unwrap();
    let values: Vec<u8> = [1f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    bundle
        .tensor("key", DataType::DT_FLOAT, &[2], |out| {
            out.write_all(&values).unwrap();
            Ok(())
        })
        .unwrap();
    bundle.finish().unwrap();
    folder
}

fn open(folder: &Path) -> Result<Graph, Error> {
    Graph::open_model(folder, &ModelOptions::default())
}

#[track_caller]
fn refused(graph: &str, code: &str, words: &str) {
    let folder = folder(&model(graph));
    let error = open(folder.path()).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

const FLOAT: &str = "attr { key: 'dtype' value { type: DT_FLOAT } }";

/// The input, a variable with what restores it, and a call of `f` with both.
fn main_graph() -> String {
    format!(
        "node {{ name: 'x' op: 'Placeholder' {FLOAT} }}
         node {{ name: 'v' op: 'VarHandleOp' {FLOAT} }}
         node {{ name: 'names' op: 'Const' attr {{ key: 'value' value {{ tensor {{ dtype: DT_STRING tensor_shape {{ dim {{ size: 1 }} }} string_val: 'key' }} }} }} }}
         node {{ name: 'slices' op: 'Const' attr {{ key: 'value' value {{ tensor {{ dtype: DT_STRING tensor_shape {{ dim {{ size: 1 }} }} string_val: '' }} }} }} }}
         node {{ name: 'file' op: 'Placeholder' }}
         node {{ name: 'values' op: 'RestoreV2' input: 'file' input: 'names' input: 'slices' }}
         node {{ name: 'restore' op: 'AssignVariableOp' input: 'v' input: 'values' {FLOAT} }}
         node {{ name: 'call' op: 'PartitionedCall' input: 'x' input: 'v' attr {{ key: 'f' value {{ func {{ name: 'f' }} }} }} }}"
    )
}

/// A function of `a` and the variable `h` that gives `result`.
fn function(name: &str, nodes: &str, result: &str) -> String {
    format!(
        "function {{ signature {{ name: '{name}' input_arg {{ name: 'a' type: DT_FLOAT }} input_arg {{ name: 'h' type: DT_RESOURCE }}
           output_arg {{ name: 'out' type: DT_FLOAT }} }} {nodes} ret {{ key: 'out' value: '{result}' }} }}"
    )
}

const READ: &str = "node_def { name: 'read' op: 'ReadVariableOp' input: 'h' attr { key: 'dtype' value { type: DT_FLOAT } } }
                    node_def { name: 'sum' op: 'AddV2' input: 'a' input: 'read:value:0' attr { key: 'T' value { type: DT_FLOAT } } }";

fn call(name: &str, function: &str, input: &str) -> String {
    format!(
        "node_def {{ name: '{name}' op: 'PartitionedCall' input: '{input}' input: 'h' attr {{ key: 'f' value {{ func {{ name: '{function}' }} }} }} }}"
    )
}

#[test]
fn calls_are_inlined_and_variables_are_constants() {
    let outer = function("f", &(call("inner", "g", "a") + &call("again", "g", "inner:output:0")), "again:output:0");
    let graph = format!("{} library {{ {outer} {} }}", main_graph(), function("g", READ, "sum:z:0"));
    let folder = folder(&model(&graph));
    let made = open(folder.path()).unwrap();
    let outputs: Vec<&str> = made.interface().outputs.iter().map(|output| output.tensor.as_str()).collect();
    assert_eq!(outputs, ["again/sum:0"]);
    let whole = Graph::from_bytes(made.whole_bytes().unwrap().into_owned()).unwrap();
    let mut text = Vec::new();
    text::write(whole.bytes(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    // One constant for both readers.
    assert_eq!(text.matches("op: \"Const\"").count(), 1, "{text}");
    assert!(text.contains("name: \"inner/sum\"") && text.contains("input: \"inner/sum\""), "{text}");
    assert!(text.contains("tensor_content: \"\\000\\000\\200?\\000\\000\\000@\""), "{text}");
    assert!(!text.contains("library"), "{text}");
}

#[test]
fn what_cannot_be_frozen_is_refused_by_name() {
    let with = |functions: &str| format!("{} library {{ {functions} }}", main_graph());
    refused(&with(&function("f", &call("self", "f", "a"), "self:output:0")), "E0905", "`f` calls itself");
    let writes = "node_def { name: 'write' op: 'AssignVariableOp' input: 'h' input: 'a' attr { key: 'dtype' value { type: DT_FLOAT } } }
                  node_def { name: 'read' op: 'ReadVariableOp' input: 'h' input: '^write' attr { key: 'dtype' value { type: DT_FLOAT } } }";
    refused(&with(&function("f", writes, "read:value:0")), "E0904", "`f::write` (AssignVariableOp)");
    let unknown = "node_def { name: 'two' op: 'NoSuchOp' input: 'a' }
                   node_def { name: 'sum' op: 'AddV2' input: 'two:second:0' input: 'two:second:0' attr { key: 'T' value { type: DT_FLOAT } } }";
    refused(&with(&function("f", unknown, "sum:z:0")), "E0904", "`f::two` (NoSuchOp)");
    let lost = main_graph().replace("string_val: 'key'", "string_val: 'gone'");
    refused(&format!("{lost} library {{ {} }}", function("f", READ, "sum:z:0")), "E0904", "`v` (VarHandleOp)");
    let unnamed = main_graph().replace("name: 'call'", "name: 'other'");
    refused(&format!("{unnamed} library {{ {} }}", function("f", READ, "sum:z:0")), "E0505", "call");
}

/// Functions that call the next one twice double the nodes; functions that call the next one once are deep.
#[test]
fn calls_do_not_take_more_than_their_share() {
    let level = |number: u32, calls: u32| {
        let names: Vec<String> = (0..calls).map(|call| format!("c{call}")).collect();
        let mut nodes = String::new();
        let mut input = "a".to_owned();
        for name in &names {
            nodes += &call(name, &format!("f{}", number + 1), &input);
            input = format!("{name}:output:0");
        }
        function(&if number == 0 { "f".to_owned() } else { format!("f{number}") }, &nodes, &input)
    };
    for (levels, calls, code) in [(40, 2, "E0104"), (100, 1, "E0905")] {
        let functions: String = (0..levels).map(|number| level(number, calls)).collect();
        let last = function(&format!("f{levels}"), READ, "sum:z:0");
        refused(&format!("{} library {{ {functions} {last} }}", main_graph()), code, "");
    }
}

#[test]
fn damaged_models_are_errors_or_models() {
    let outer = function("f", &call("inner", "g", "a"), "inner:output:0");
    let graph = format!("{} library {{ {outer} {} }}", main_graph(), function("g", READ, "sum:z:0"));
    let whole = model(&graph);
    let place = folder(&whole);
    assert!(open(place.path()).is_ok());
    let path = place.path().join("saved_model.pb");
    let mut opened = 0;
    for at in 0..whole.len() {
        for flipped in [0x01, 0x80] {
            let mut damaged = whole.clone();
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= flipped;
            }
            std::fs::remove_file(&path).unwrap();
            File::create_new(&path).unwrap().write_all(&damaged).unwrap();
            if let Ok(graph) = open(place.path()) {
                opened += usize::from(graph.whole_bytes().is_ok());
            }
        }
        std::fs::remove_file(&path).unwrap();
        File::create_new(&path).unwrap().write_all(whole.get(..at).unwrap_or_default()).unwrap();
        drop(open(place.path()));
    }
    // Much of a model is names and what nobody looks at.
    assert!(opened > 0);
}

/// Nodes that are fetched beside those of the signature.
#[test]
fn outputs_are_fetched_besides_those_of_the_signature() {
    let inner = function("f", READ, "sum:z:0");
    let folder = folder(&model(&format!("{} library {{ {inner} }}", main_graph())));
    let mut options = ModelOptions::default();
    options.outputs = vec!["read".to_owned()];
    let names = |graph: &Graph| {
        let outputs = graph.inspect().unwrap().outputs;
        outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>()
    };
    let graph = Graph::open_model(folder.path(), &options).unwrap();
    assert_eq!(graph.interface().outputs.len(), 1);
    assert_eq!(names(&graph), ["read", "sum"]);
    options.only_outputs = true;
    assert_eq!(names(&Graph::open_model(folder.path(), &options).unwrap()), ["read", "sum"]);
    options.outputs = vec!["gone".to_owned()];
    assert_eq!(Graph::open_model(folder.path(), &options).unwrap_err().code(), "E0505");
}

/// Hubs keep files as links; a folder that holds itself has no end.
#[cfg(unix)]
#[test]
fn links_are_followed_and_may_not_lead_back() {
    use std::os::unix::fs::symlink;
    let inner = function("f", READ, "sum:z:0");
    let place = folder(&model(&format!("{} library {{ {inner} }}", main_graph())));
    let elsewhere = tempfile::tempdir().unwrap();
    let blob = elsewhere.path().join("blob");
    std::fs::rename(place.path().join("saved_model.pb"), &blob).unwrap();
    symlink(&blob, place.path().join("saved_model.pb")).unwrap();
    let write = || {
        let mut options = ModelOptions::default();
        options.whole = true;
        let made = Graph::open_model(place.path(), &options).unwrap().as_it_is().unwrap();
        let out = tempfile::tempdir().unwrap();
        made.write_model(&out.path().join("new"), ModelOutput::default(), &|_| {}).map(|_| ())
    };
    write().unwrap();
    std::fs::create_dir(place.path().join("assets")).unwrap();
    symlink(place.path(), place.path().join("assets").join("back")).unwrap();
    let error = write().unwrap_err();
    assert_eq!(error.code(), "E0901", "{error}");
    assert!(error.to_string().contains("leads back"), "{error}");
    std::fs::remove_file(place.path().join("assets/back")).unwrap();
    symlink("nowhere", place.path().join("assets/lost")).unwrap();
    let error = write().unwrap_err();
    assert!(error.location().is_some_and(|at| at.contains("lost")), "{error} {:?}", error.location());
}
