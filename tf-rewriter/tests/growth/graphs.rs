//! Graphs, and what is done with one alone.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use tf_rewriter::{Graph, PlanOptions, text};

use super::growth::{Shape, Verb, check};

pub(crate) fn each(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

pub(crate) const FLOAT: &str = "attr { key: 'T' value { type: DT_FLOAT } }";

pub(crate) fn node(name: &str, op: &str, inputs: &[&str]) -> String {
    let inputs = inputs.iter().map(|input| format!("input: '{input}'")).collect::<Vec<_>>().join(" ");
    format!("node {{ name: '{name}' op: '{op}' {inputs} {FLOAT} }}\n")
}

pub(crate) fn weight(name: &str) -> String {
    format!(
        "node {{ name: '{name}' op: 'Const' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} attr {{ key: 'value' value {{ tensor {{ dtype: DT_FLOAT \
         tensor_shape {{ dim {{ size: 2 }} dim {{ size: 2 }} }} float_val: [1, -2, 3, 4] }} }} }} }}\n"
    )
}

pub(crate) fn graph(source: &str) -> Vec<u8> {
    text::parse(source.as_bytes()).unwrap()
}

pub(crate) fn with_x(source: &str) -> Vec<u8> {
    graph(&format!(
        "node {{ name: 'x' op: 'Placeholder' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} }}\n{source}"
    ))
}

fn functions(count: usize) -> Vec<u8> {
    let body = each(count, |i| {
        let inner = weight("w").replacen("node", "node_def", 1)
            + &node("m", "MatMul", &["a", "w:output:0"]).replacen("node", "node_def", 1);
        format!(
            "function {{ signature {{ name: 'f{i}' input_arg {{ name: 'a' type: DT_FLOAT }} }} {inner} ret {{ key: 'r' value: 'm:product:0' }} }}\n"
        )
    });
    with_x(&format!("library {{ {body} }}"))
}

fn empty_functions(count: usize) -> Vec<u8> {
    with_x(&format!("library {{ {} }}", each(count, |i| format!("function {{ signature {{ name: 'f{i}' }} }}\n"))))
}

pub(crate) fn own_weights(count: usize) -> Vec<u8> {
    with_x(&each(count, |i| weight(&format!("w{i}")) + &node(&format!("m{i}"), "MatMul", &["x", &format!("w{i}")])))
}

pub(crate) fn one_weight(count: usize) -> Vec<u8> {
    with_x(&(weight("w") + &each(count, |i| node(&format!("m{i}"), "MatMul", &["x", "w"]))))
}

fn chain(count: usize) -> Vec<u8> {
    let links = each(count, |i| {
        let before = if i == 0 { "w".to_owned() } else { format!("i{}", i - 1) };
        node(&format!("i{i}"), "Identity", &[&before])
    });
    let last = format!("i{}", count - 1);
    with_x(&(weight("w") + &links + &each(count, |i| node(&format!("m{i}"), "MatMul", &["x", &last]))))
}

/// One node that reads all others, and is read by as many.
pub(crate) fn hub(count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|i| format!("r{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let readers = each(count, |i| node(&format!("m{i}"), "MatMul", &["x", "sum"]));
    with_x(&(each(count, |i| node(&format!("r{i}"), "Relu", &["x"])) + &node("sum", "AddN", &names) + &readers))
}

/// One function with many results, each of them of another node.
fn results(count: usize) -> Vec<u8> {
    let arguments = "input_arg { name: 'a' type: DT_FLOAT }";
    let outputs = each(count, |i| format!("output_arg {{ name: 'o{i}' type: DT_FLOAT }}"));
    let nodes = each(count, |i| node(&format!("r{i}"), "Relu", &["a"]).replacen("node", "node_def", 1));
    let returns = each(count, |i| format!("ret {{ key: 'o{i}' value: 'r{i}:activations:0' }}"));
    with_x(&format!("library {{ function {{ signature {{ name: 'f' {arguments} {outputs} }} {nodes} {returns} }} }}"))
}

/// Names that fall into one place of a table whose hash has no seed.
fn colliding_names(count: usize) -> Vec<u8> {
    let names = collisions(count);
    with_x(&names.iter().map(|name| node(name, "Relu", &["x"])).collect::<String>())
}

fn collisions(count: usize) -> Vec<String> {
    let place = |name: &String| BuildHasherDefault::<DefaultHasher>::default().hash_one(name.as_bytes()) % 256;
    (0..).map(|number| format!("n{number}")).filter(|name| place(name) == 0).take(count).collect()
}

/// Names that new nodes would like to have.
fn taken_names(count: usize) -> Vec<u8> {
    let taken = each(count, |i| {
        let number = if i == 0 { String::new() } else { format!("_{i}") };
        each(1, |_| node(&format!("w/weight_quant{number}"), "Relu", &["x"]))
            + &node(&format!("w/float{number}"), "Relu", &["x"])
    });
    with_x(&(taken + &weight("w") + &each(count, |i| node(&format!("m{i}"), "MatMul", &["x", "w"]))))
}

pub(crate) fn loops(count: usize) -> Vec<u8> {
    let one = |i: usize| {
        weight(&format!("w{i}"))
            + &node(&format!("e{i}"), "Enter", &["x"])
            + &node(&format!("g{i}"), "Merge", &[&format!("e{i}"), &format!("n{i}")])
            + &node(&format!("m{i}"), "MatMul", &[&format!("g{i}"), &format!("w{i}")])
            + &node(&format!("n{i}"), "NextIteration", &[&format!("m{i}")])
            + &node(&format!("o{i}"), "Exit", &[&format!("m{i}")])
    };
    with_x(&each(count, one))
}

/// One function with many callers and many readers of its arguments, which a loop names many times.
fn callers(count: usize) -> Vec<u8> {
    let function = |key: &str| format!("attr {{ key: '{key}' value {{ func {{ name: 'f' }} }} }} ");
    let call =
        |i: usize| format!("node {{ name: 'c{i}' op: 'PartitionedCall' input: 'x' input: 'w' {} }}\n", function("f"));
    let read = |i: usize| node(&format!("m{i}"), "MatMul", &["a", "b"]).replacen("node", "node_def", 1);
    let (calls, readers, conditions) = (each(count, call), each(count, read), each(count, |_| function("cond")));
    let arguments = each(count, |i| {
        format!("input_arg {{ name: 'i{i}' type: DT_FLOAT }} output_arg {{ name: 'r{i}' type: DT_FLOAT }} ")
    });
    let returns = each(count, |i| format!("ret {{ key: 'r{i}' value: 'i{i}' }} "));
    let inputs = each(count, |_| "input: 'x' ".to_owned());
    with_x(&format!(
        "{}{calls}
        node {{ name: 'loop' op: 'While' {inputs} {conditions} {} }}
        library {{
            function {{ signature {{ name: 'f' input_arg {{ name: 'a' type: DT_FLOAT }} input_arg {{ name: 'b' type: DT_FLOAT }} }}
                {readers} ret {{ key: 'r' value: 'm0:product:0' }} }}
            function {{ signature {{ name: 'g' {arguments} }} {returns} }}
        }}",
        weight("w"),
        function("body").replace("'f'", "'g'"),
    ))
}

/// A tensor that is one of many, and many layers that read it.
fn merged(count: usize) -> Vec<u8> {
    let weights = each(count, |i| weight(&format!("w{i}")));
    let names: Vec<String> = (0..count).map(|i| format!("w{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    with_x(&(weights + &node("w", "Merge", &names) + &each(count, |i| node(&format!("m{i}"), "MatMul", &["x", "w"]))))
}

pub(crate) fn compress(bytes: &[u8], quantizer: Quantizer, emit: Emit, types: &str) -> Vec<u8> {
    let text = format!("[{{op_types: ['default', 'Relu', 'AddN'], quant_types: [{types}], quant_bits: 8}}]");
    let config = ConfigList::parse(&text, Some(quantizer)).unwrap();
    let graph = Graph::from_bytes(bytes.to_vec()).unwrap();
    let plan = graph.plan(&config, PlanOptions { emit: Some(emit), ..PlanOptions::default() }).unwrap();
    let mut out = Vec::new();
    graph.apply(&plan).unwrap().write(&mut out).unwrap();
    out
}

pub(crate) fn all() {
    let shapes: [Shape<'_>; 13] = [
        ("functions", &functions),
        ("empty functions", &empty_functions),
        ("weights", &own_weights),
        ("one weight", &one_weight),
        ("a chain", &chain),
        ("a hub", &hub),
        ("taken names", &taken_names),
        ("loops", &loops),
        ("callers", &callers),
        ("merged", &merged),
        ("results", &results),
        ("colliding names", &colliding_names),
        ("text", &|size| {
            let mut out = Vec::new();
            text::write(&own_weights(size), &mut out).unwrap();
            out
        }),
    ];
    let all = "'weight', 'input', 'output'";
    let verbs: [Verb<'_>; 8] = [
        ("open", &|bytes| drop(Graph::from_bytes(bytes.clone()).unwrap())),
        ("inspect", &|bytes| drop(Graph::from_bytes(bytes.clone()).unwrap().inspect().unwrap())),
        ("diff", &|bytes| {
            let graph = Graph::from_bytes(bytes.clone()).unwrap();
            drop(graph.diff(&graph).unwrap());
        }),
        ("baked", &|bytes| drop(compress(bytes, Quantizer::Naive, Emit::Baked, "'weight'"))),
        ("packed", &|bytes| drop(compress(bytes, Quantizer::Naive, Emit::Packed, "'weight'"))),
        ("inference", &|bytes| drop(compress(bytes, Quantizer::DoReFa, Emit::Inference, all))),
        ("training of QAT", &|bytes| drop(compress(bytes, Quantizer::Qat, Emit::Training, all))),
        ("training of DoReFa", &|bytes| drop(compress(bytes, Quantizer::DoReFa, Emit::Training, all))),
    ];
    check(&shapes, &verbs, 250);
}
