//! `freeze`.

use quant_math::{Emit, Quantizer};
use tf_rewriter::Graph;
use tf_rewriter::bundle::Tensor;
use tf_rewriter::pb::DataType;

use super::graphs::{FLOAT, compress, each, hub, loops, node, one_weight, own_weights, weight, with_x};
use super::growth::{Shape, check};

/// A value of every variable: ranges and steps by their names, else a weight.
fn value(name: &str) -> Tensor {
    let scalar = |value: f32| (DataType::DT_FLOAT, Vec::new(), value.to_le_bytes().to_vec());
    let (dtype, shape, bytes) = match name {
        _ if name.ends_with("/lower") => scalar(-1.0),
        _ if name.ends_with("/upper") => scalar(1.0),
        _ if name.starts_with('v') => {
            (DataType::DT_FLOAT, vec![2, 2], [1_f32, -2.0, 3.0, 4.0].map(f32::to_le_bytes).concat())
        }
        _ => (DataType::DT_INT64, Vec::new(), i64::MAX.to_le_bytes().to_vec()),
    };
    Tensor { dtype, shape, bytes }
}

fn freeze(bytes: &[u8], emit: Emit) {
    let graph = Graph::from_bytes(bytes.to_vec()).unwrap();
    graph.freeze(|name| Ok(Some(value(name))), emit).unwrap().write(&mut std::io::sink()).unwrap();
}

fn trained(graph: &[u8], quantizer: Quantizer) -> Vec<u8> {
    compress(graph, quantizer, Emit::Training, "'weight', 'input', 'output'")
}

/// A part of a site, by hand.
fn part(name: &str, part: &str, inputs: &[&str]) -> String {
    let attribute = format!("attr {{ key: '_quantization_part' value {{ s: '{part}' }} }}");
    node(name, "Identity", inputs).replacen(FLOAT, &format!("{FLOAT} {attribute}"), 1)
}

/// The last node of a site.
fn site(name: &str, inputs: &[&str]) -> String {
    let said = r#"{"kind":"input","settings":{"quantizer":"dorefa","bits":8,"symmetric":false,"entry":0}}"#;
    let attribute = format!("attr {{ key: '_quantization_site' value {{ s: '{said}' }} }}");
    part(name, "site", inputs).replacen(FLOAT, &format!("{FLOAT} {attribute}"), 1)
}

fn sites_on_sites(count: usize) -> Vec<u8> {
    let before = |i: usize| if i == 0 { "x".to_owned() } else { format!("s{}", i - 1) };
    let sites =
        each(count, |i| site(&format!("s{i}"), &[&before(i)]) + &node(&format!("r{i}"), "Relu", &[&format!("s{i}")]));
    with_x(&sites)
}

fn sites_with_common_parts(count: usize) -> Vec<u8> {
    let before = |i: usize| if i == 0 { "x".to_owned() } else { format!("p{}", i - 1) };
    let parts = each(count, |i| part(&format!("p{i}"), "op", &[&before(i)]));
    let last = before(count);
    let sites =
        each(count, |i| site(&format!("s{i}"), &[&last]) + &node(&format!("r{i}"), "Relu", &[&format!("s{i}")]));
    with_x(&(parts + &sites))
}

/// Weights of shape [2, 2].
fn variable(name: &str, op: &str) -> String {
    format!(
        "node {{ name: '{name}' op: '{op}' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} attr {{ key: 'shape' value {{ shape {{ \
         dim {{ size: 2 }} dim {{ size: 2 }} }} }} }} }}\n"
    )
}

fn one_site() -> String {
    site("s", &["x"]) + &node("r", "Relu", &["s"])
}

fn with_controls(node: &str, controls: &[String]) -> String {
    let controls = each(controls.len(), |i| controls.get(i).map_or(String::new(), |name| format!("input: '^{name}' ")));
    node.replacen("attr", &format!("{controls} attr"), 1)
}

/// Branches that wait for a node that waits for all assignments.
fn waiting_for_assignments(count: usize) -> Vec<u8> {
    let assignments = each(count, |i| {
        variable(&format!("v{i}"), "VariableV2")
            + &node(&format!("n{i}"), "Relu", &["x"])
            + &node(&format!("a{i}"), "Assign", &[&format!("v{i}"), &format!("n{i}")])
    });
    let all: Vec<String> = (0..count).map(|i| format!("a{i}")).collect();
    let branches = each(count, |i| {
        with_controls(&weight(&format!("w{i}")), &["all".to_owned()])
            + &node(&format!("y{i}"), "AddV2", &["x", &format!("w{i}")])
            + &node(&format!("m{i}"), "Merge", &[&format!("y{i}"), "x"])
    });
    with_x(&(assignments + &with_controls(&node("all", "NoOp", &[]), &all) + &branches + &one_site()))
}

/// A value that all read.
fn read_variables(count: usize) -> Vec<u8> {
    let reads = each(count, |i| {
        let read = format!(
            "node {{ name: 'read{i}' op: 'ReadVariableOp' input: 'v{i}' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} }}"
        );
        variable(&format!("v{i}"), "VarHandleOp")
            + &read
            + &node(&format!("m{i}"), "MatMul", &["x", &format!("read{i}")])
    });
    with_x(&(reads + &one_site()))
}

fn types(count: usize, dtype: &str) -> String {
    format!("value {{ list {{ type: [{}] }} }}", vec![dtype; count].join(", "))
}

fn handles(count: usize) -> String {
    each(count, |i| variable(&format!("v{i}"), "VarHandleOp"))
}

fn inputs(count: usize) -> String {
    each(count, |i| format!("input: 'v{i}' "))
}

fn read(name: &str, handle: &str) -> String {
    format!(
        "{{ name: '{name}' op: 'ReadVariableOp' input: '{handle}' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} }}\n"
    )
}

/// A call that is given all handles.
fn handles_into_a_function(count: usize) -> Vec<u8> {
    let arguments = each(count, |i| format!("input_arg {{ name: 'h{i}' type: DT_RESOURCE }} "));
    let results = each(count, |i| format!("output_arg {{ name: 'o{i}' type: DT_FLOAT }} "));
    let body = each(count, |i| format!("node_def {}", read(&format!("r{i}"), &format!("h{i}"))));
    let returns = each(count, |i| format!("ret {{ key: 'o{i}' value: 'r{i}:value:0' }} "));
    let call = format!(
        "node {{ name: 'call' op: 'PartitionedCall' {} attr {{ key: 'Tin' {} }} attr {{ key: 'Tout' {} }} \
         attr {{ key: 'f' value {{ func {{ name: 'f' }} }} }} }}",
        inputs(count),
        types(count, "DT_RESOURCE"),
        types(count, "DT_FLOAT")
    );
    let uses = each(count, |i| node(&format!("m{i}"), "MatMul", &["x", &format!("call:{i}")]));
    let library =
        format!("library {{ function {{ signature {{ name: 'f' {arguments} {results} }} {body} {returns} }} }}");
    with_x(&(handles(count) + &call + &uses + &one_site() + &library))
}

/// A loop that hands on all handles.
fn handles_around_a_loop(count: usize) -> Vec<u8> {
    let arguments = each(count, |i| format!("input_arg {{ name: 'h{i}' type: DT_RESOURCE }} "));
    let results = each(count, |i| format!("output_arg {{ name: 'o{i}' type: DT_RESOURCE }} "));
    let returns = each(count, |i| format!("ret {{ key: 'o{i}' value: 'h{i}' }} "));
    let call = format!(
        "node {{ name: 'loop' op: 'While' {} attr {{ key: 'T' {} }} attr {{ key: 'cond' value {{ func {{ name: 'c' }} }} }} \
         attr {{ key: 'body' value {{ func {{ name: 'b' }} }} }} }}",
        inputs(count),
        types(count, "DT_RESOURCE")
    );
    let uses = each(count, |i| {
        format!("node {}", read(&format!("read{i}"), &format!("loop:{i}")))
            + &node(&format!("m{i}"), "MatMul", &["x", &format!("read{i}")])
    });
    let no = "node_def { name: 'no' op: 'Const' attr { key: 'dtype' value { type: DT_BOOL } } attr { key: 'value' value { tensor { \
              dtype: DT_BOOL tensor_shape { } bool_val: false } } } }";
    let library = format!(
        "library {{ function {{ signature {{ name: 'b' {arguments} {results} }} {returns} }} \
         function {{ signature {{ name: 'c' {arguments} output_arg {{ name: 'o' type: DT_BOOL }} }} {no} ret {{ key: 'o' value: 'no:output:0' }} }} }}"
    );
    with_x(&(handles(count) + &call + &uses + &one_site() + &library))
}

pub(crate) fn all() {
    let trained_shapes: [Shape<'_>; 5] = [
        ("weights", &|size| trained(&own_weights(size), Quantizer::Qat)),
        ("one weight", &|size| trained(&one_weight(size), Quantizer::Qat)),
        ("a hub", &|size| trained(&hub(size), Quantizer::Qat)),
        ("loops", &|size| trained(&loops(size), Quantizer::Qat)),
        ("weights for DoReFa", &|size| trained(&own_weights(size), Quantizer::DoReFa)),
    ];
    check(
        &trained_shapes,
        &[
            ("freeze to inference", &|bytes: &Vec<u8>| freeze(bytes, Emit::Inference)),
            ("freeze to packed", &|bytes| freeze(bytes, Emit::Packed)),
        ],
        40,
    );
    let missing = |bytes: &Vec<u8>| {
        let graph = Graph::from_bytes(bytes.clone()).unwrap();
        assert_eq!(graph.freeze(|_| Ok(None), Emit::Packed).unwrap_err().code(), "E0703");
    };
    let variables: [Shape<'_>; 4] = [
        ("read variables", &read_variables),
        ("branches after assignments", &waiting_for_assignments),
        ("handles into a function", &handles_into_a_function),
        ("handles around a loop", &handles_around_a_loop),
    ];
    check(&variables, &[("freeze", &|bytes: &Vec<u8>| freeze(bytes, Emit::Packed))], 200);
    check(&variables[..1], &[("freeze without values", &missing)], 200);
    let sites: [Shape<'_>; 2] =
        [("sites on sites", &sites_on_sites), ("sites with common parts", &sites_with_common_parts)];
    check(&sites, &[("freeze", &|bytes: &Vec<u8>| freeze(bytes, Emit::Packed))], 200);
}
