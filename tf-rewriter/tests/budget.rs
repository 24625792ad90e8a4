//! Small files that ask for a great deal of memory: an error that says so, and how to allow it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use tf_rewriter::bundle::Tensor;
use tf_rewriter::pb::DataType;
use tf_rewriter::wire::put_bytes;
use tf_rewriter::{Error, Graph, PlanOptions, text};

const FLOAT: &str = "attr { key: 'T' value { type: DT_FLOAT } }";

fn each(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

fn graph(source: &str) -> Graph {
    let x = "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }\n";
    let bytes = text::parse(format!("{x}{source}").as_bytes()).unwrap();
    assert!(bytes.len() < 3 << 20, "{} bytes are no small file", bytes.len());
    Graph::from_bytes(bytes).unwrap()
}

fn weight(name: &str, shape: &str, values: &str) -> String {
    format!(
        "node {{ name: '{name}' op: 'Const' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} attr {{ key: 'value' value {{ tensor {{ \
         dtype: DT_FLOAT tensor_shape {{ {shape} }} float_val: [{values}] }} }} }} }}\n"
    )
}

const SQUARE: &str = "dim { size: 2 } dim { size: 2 }";

#[track_caller]
fn check<T>(result: Result<T, Error>, what: &str) {
    let Err(error) = result else { panic!("no error") };
    assert_eq!(error.code(), "E0104", "{error}");
    assert!(error.to_string().starts_with(&format!("{what} of a file of ")), "{error}");
    assert!(error.help().unwrap().contains("--memory-limit"));
}

fn compress(graph: Graph, quantizer: Quantizer, emit: Emit, more: &str) -> Result<Vec<u8>, Error> {
    let text = format!("[{{op_types: ['default'], quant_types: ['weight'], quant_bits: 8{more}}}]");
    let config = ConfigList::parse(&text, Some(quantizer)).unwrap();
    let plan = graph.plan(&config, PlanOptions { emit: Some(emit), ..PlanOptions::default() })?;
    let mut out = Vec::new();
    graph.apply(&plan)?.write(&mut out)?;
    Ok(out)
}

/// A weight with a name of a MiB, and ops that read it by a short one.
fn long_name(readers: usize) -> Graph {
    let long = "w".repeat(1 << 20);
    let readers =
        each(readers, |i| format!("node {{ name: 'm{i}' op: 'MatMul' input: 'x' input: 'short' {FLOAT} }}\n"));
    let short = format!("node {{ name: 'short' op: 'Identity' input: '{long}' {FLOAT} }}\n");
    graph(&(weight(&long, SQUARE, "1, -2, 3, 4") + &short + &readers))
}

#[test]
fn a_long_name_in_every_site_of_a_plan() {
    let graph = long_name(300);
    let config = ConfigList::default_for(Quantizer::Naive);
    for _ in 0..2 {
        check(graph.plan(&config, PlanOptions::default()), "the sites of the plan");
    }
}

#[test]
fn plans_that_are_gone_are_not_counted() {
    let graph = long_name(60);
    for _ in 0..8 {
        graph.plan(&ConfigList::default_for(Quantizer::Naive), PlanOptions::default()).unwrap();
    }
}

#[test]
fn channels_of_a_constant_in_short_form() {
    let wide = "dim { size: 1 } dim { size: 1048576 }";
    let layers = each(40, |i| {
        weight(&format!("w{i}"), wide, "1")
            + &format!("node {{ name: 'm{i}' op: 'MatMul' input: 'x' input: 'w{i}' {FLOAT} }}\n")
    });
    check(compress(graph(&layers), Quantizer::Qat, Emit::Inference, ", per_channel: true"), "the ranges of channels");
}

#[test]
fn new_nodes_below_long_names() {
    let layers = each(20, |i| {
        let name = format!("m{i}{}", "m".repeat(100_000));
        weight(&format!("w{i}"), SQUARE, "1, -2, 3, 4")
            + &format!("node {{ name: '{name}' op: 'MatMul' input: 'x' input: 'w{i}' {FLOAT} }}\n")
    });
    let text = "[{op_types: ['default'], quant_types: ['weight', 'input', 'output'], quant_bits: 8}]";
    let config = ConfigList::parse(text, Some(Quantizer::Qat)).unwrap();
    let graph = graph(&layers);
    let plan = graph.plan(&config, PlanOptions { emit: Some(Emit::Training), ..PlanOptions::default() }).unwrap();
    check(graph.apply(&plan), "the new nodes and edges");
}

#[test]
fn text_of_what_is_nested_deep() {
    let field = |number: u32, body: &[u8]| {
        let mut field = Vec::new();
        put_bytes(&mut field, number, body);
        field
    };
    // AttrValue.list.i, in AttrValues of functions' attributes.
    let mut value = field(1, &field(3, &vec![1; 1_500_000]));
    for _ in 0..30 {
        let entry = [field(1, b"k"), field(2, &value)].concat();
        value = field(10, &[field(1, b"f"), field(2, &entry)].concat());
    }
    let attr = field(5, &[field(1, b"k"), field(2, &value)].concat());
    let node = field(1, &[field(1, b"n"), field(2, b"NoOp"), attr].concat());
    Graph::from_bytes(node.clone()).unwrap();
    check(text::write(&node, &mut std::io::sink()), "the lines of the text");
}

/// What makes a graph one that was trained.
fn site() -> String {
    let said = r#"{"kind":"input","settings":{"quantizer":"dorefa","bits":8,"symmetric":false,"entry":0}}"#;
    format!(
        "node {{ name: 's' op: 'Identity' input: 'x' {FLOAT} attr {{ key: '_quantization_part' value {{ s: 'site' }} }} \
         attr {{ key: '_quantization_site' value {{ s: '{said}' }} }} }}
         node {{ name: 'y' op: 'Relu' input: 's' {FLOAT} }}"
    )
}

#[test]
fn copies_of_one_variable() {
    let reads = each(300, |i| {
        format!(
            "node {{ name: 'v{i}' op: 'VarHandleOp' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} \
             attr {{ key: 'shared_name' value {{ s: 'shared' }} }} }}
             node {{ name: 'r{i}' op: 'ReadVariableOp' input: 'v{i}' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} }}
             node {{ name: 'm{i}' op: 'MatMul' input: 'x' input: 'r{i}' {FLOAT} }}\n"
        )
    });
    let value = |name: &str| {
        let shared = Tensor { dtype: DataType::DT_FLOAT, shape: vec![1 << 18], bytes: vec![0; 1 << 20] };
        Ok((name == "shared").then_some(shared))
    };
    check(graph(&(reads + &site())).freeze(value, Emit::Packed), "the new nodes and edges");
}

#[cfg(feature = "run")]
#[test]
fn histograms_of_many_tensors() {
    use tf_rewriter::run::{Calibrator, RunOptions};
    let layers = each(5_000, |i| format!("node {{ name: 'r{i}' op: 'Relu' input: 'x' {FLOAT} }}\n"));
    let text = "[{op_types: ['Relu'], quant_types: ['output'], quant_bits: 8, observer: 'percentile'}]";
    let config = ConfigList::parse(text, Some(Quantizer::Qat)).unwrap();
    check(Calibrator::new(&graph(&layers), &config, &RunOptions::default()), "the statistics of tensors");
}
