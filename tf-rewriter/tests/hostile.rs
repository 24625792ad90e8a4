//! Files that are damaged, contradictory or something else: each gives its own error, and nothing panics.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use tf_rewriter::wire::put_bytes;
use tf_rewriter::{Error, Graph, PlanOptions, text};

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits.pb");

/// A weight of shape [2, 2], a reader of it, and what else a test needs.
fn conv(weight: &str, rest: &str) -> Vec<u8> {
    binary(&format!(
        r#"node {{ name: "x" op: "Placeholder" attr {{ key: "dtype" value {{ type: DT_FLOAT }} }} }}
        node {{ name: "w" op: "Const" attr {{ key: "dtype" value {{ type: DT_FLOAT }} }}
            attr {{ key: "value" value {{ tensor {{ {weight} }} }} }} }}
        node {{ name: "y" op: "MatMul" input: "x" input: "w" attr {{ key: "T" value {{ type: DT_FLOAT }} }} }}
        {rest}"#
    ))
}

fn binary(source: &str) -> Vec<u8> {
    text::parse(source.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{source}"))
}

const WEIGHT: &str = "dtype: DT_FLOAT tensor_shape { dim { size: 2 } dim { size: 2 } } float_val: [1, -2, 3, 4]";

/// Everything that the library does with a graph: all quantizers in all forms, into memory.
fn compress_all(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let mut results = Vec::new();
    let per_channel = "[{quant_types: ['weight'], quant_bits: 8, op_types: ['default'], per_channel: true}]";
    for (quantizer, config) in
        [(Quantizer::Naive, None), (Quantizer::Qat, Some(per_channel)), (Quantizer::DoReFa, None)]
    {
        let config = match config {
            Some(text) => ConfigList::parse(text, Some(quantizer)).unwrap(),
            None => ConfigList::default_for(quantizer),
        };
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
            let graph = Graph::from_bytes(bytes.to_vec())?;
            let plan = graph.plan(&config, PlanOptions { emit: Some(emit), ..PlanOptions::default() })?;
            let mut out = Vec::new();
            graph.apply(&plan)?.write(&mut out)?;
            results.push(out);
        }
    }
    Ok(results)
}

#[track_caller]
fn check(bytes: &[u8], code: &str, message: &str) {
    match compress_all(bytes) {
        Err(error) => assert_eq!((error.code(), error.to_string().as_str()), (code, message)),
        Ok(_) => panic!("no error, expected {code}: {message}"),
    }
}

#[test]
fn the_sound_graph_is_quantized() {
    let results = compress_all(&conv(WEIGHT, "")).unwrap();
    assert_eq!(results.len(), 9);
    for result in results {
        Graph::from_bytes(result).unwrap();
    }
}

#[test]
fn what_is_no_graph() {
    let other = |found: &str| format!("this is {found}, expected a TensorFlow GraphDef (binary or text)");
    check(b"", "E0102", &other("an empty file"));
    check(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "E0102", &other("a file of no known format"));
    check(b"#!/bin/sh\necho hello\n", "E0102", &other("text of another kind"));
    check(&[0xff; 1000], "E0102", &other("a file of no known format"));
    check(b"\x08\x01\x12\x02\x12\x00", "E0102", &other("the saved_model.pb of a SavedModel"));
}

/// An attribute that no rule asks for is told all the same: a second run, or TensorFlow, might ask.
#[test]
fn attributes_that_end_too_early() {
    for value in [&b"\x18"[..], b"\x0a\x03\x1a\x01\x80", b"\x3a\x02\x08\x80"] {
        let (mut attr, mut node, mut graph) = (Vec::new(), Vec::new(), conv(WEIGHT, ""));
        put_bytes(&mut attr, 1, b"a");
        put_bytes(&mut attr, 2, value);
        for (number, content) in [(1, &b"n"[..]), (2, b"NoOp"), (5, &attr)] {
            put_bytes(&mut node, number, content);
        }
        put_bytes(&mut graph, 1, &node);
        Graph::from_bytes(graph.clone()).unwrap();
        let error = compress_all(&graph).unwrap_err();
        assert_eq!(error.code(), "E0201", "{error}");
        assert!(error.to_string().starts_with("AttrValue: found "), "{error}");
    }
}

#[test]
fn edges_names_and_cycles() {
    let node = |name: &str, inputs: &str| format!("node {{ name: '{name}' op: 'AddN' {inputs} }}");
    check(
        &conv(WEIGHT, &node("z", "input: 'y' input: 'nowhere:1'")),
        "E0203",
        "node `z` reads `nowhere:1`, which is not in the graph",
    );
    check(&conv(WEIGHT, &node("z", "input: '^gone'")), "E0203", "node `z` reads `^gone`, which is not in the graph");
    check(&conv(WEIGHT, &node("z", "input: ''")), "E0203", "node `z` reads ``, which is not in the graph");
    check(&conv(WEIGHT, &node("z", "input: 'y:x'")), "E0203", "node `z` reads `y:x`, which is not in the graph");
    check(&conv(WEIGHT, &node("w", "")), "E0202", "two nodes are called `w` (numbers 1 and 3), expected unique names");
    check(&conv(WEIGHT, &node("z", "input: 'z'")), "E0204", "node `z` depends on itself: z → z");
    let cycle = node("a", "input: 'c'") + &node("b", "input: 'a:0'") + &node("c", "input: '^b'");
    check(&conv(WEIGHT, &cycle), "E0204", "node `a` depends on itself: a → b → c → a");
    check(
        &conv(WEIGHT, &node("z", "input: 'y' input: '^w' input: 'y'")),
        "E0206",
        "node `z` reads `y` after a control edge, expected its data first",
    );
    let inside = "node_def { name: 'n' op: 'NoOp' } node_def { name: 'r' op: 'Relu' input: '^n' input: 'a' }";
    check(
        &binary(&format!("library {{ function {{ signature {{ name: 'f' input_arg {{ name: 'a' }} }} {inside} }} }}")),
        "E0206",
        "node `r` reads `a` after a control edge, expected its data first",
    );
    let function = "function { signature { name: 'f' } node_def { name: 'n' op: 'NoOp' } }";
    check(
        &binary(&format!("library {{ {function} {function} }}")),
        "E0205",
        "two functions of the library are called `f`, expected unique names",
    );
    check(&binary("node { name: 'a' }"), "E0201", "NodeDef: found a node without an op, expected both");
    check(&binary("node { op: 'NoOp' }"), "E0201", "NodeDef: found a node without a name, expected both");
}

#[test]
fn a_loop_that_next_iteration_closes_is_no_cycle() {
    let bytes = conv(
        WEIGHT,
        "node { name: 'enter' op: 'Enter' input: 'y' }
         node { name: 'merge' op: 'Merge' input: 'enter' input: 'next' }
         node { name: 'next' op: 'NextIteration' input: 'merge' }",
    );
    compress_all(&bytes).unwrap();
}

#[test]
fn tensors_that_contradict_themselves() {
    let shape = "tensor_shape { dim { size: 2 } dim { size: 2 } }";
    let floats = |content: &str| format!("dtype: DT_FLOAT {shape} {content}");
    check(
        &conv(&floats("tensor_content: 'fifteen bytes..'"), ""),
        "E0301",
        "tensor of `w`: found 15 bytes of tensor_content, expected 16 for DT_FLOAT of shape [2, 2]",
    );
    check(
        &conv(&floats("float_val: [1, 2, 3, 4, 5]"), ""),
        "E0301",
        "tensor of `w`: found 5 values in field 5, expected at most 4 for DT_FLOAT of shape [2, 2]",
    );
    check(
        &conv("dtype: DT_FLOAT tensor_shape { dim { size: -1 } dim { size: 2 } }", ""),
        "E0301",
        "tensor of `w`: found a dimension of size -1, expected a size of at least 0",
    );
    check(
        &conv("dtype: DT_FLOAT tensor_shape { unknown_rank: true }", ""),
        "E0301",
        "tensor of `w`: found a shape of unknown rank, expected the shape of a value",
    );
    check(
        &conv("dtype: DT_FLOAT tensor_shape { dim { size: 4611686018427387904 } dim { size: 4 } }", ""),
        "E0301",
        "tensor of `w`: found shape [4611686018427387904, 4], expected fewer than 2^63 bytes",
    );
    check(
        &conv("dtype: DT_FLOAT tensor_shape { dim { size: 4611686018427387904 } dim { size: 4 } dim { size: 0 } }", ""),
        "E0301",
        "tensor of `w`: found shape [4611686018427387904, 4, 0], expected fewer than 2^63 bytes",
    );
    // Also where nothing is to be quantized: TensorFlow would refuse the graph.
    check(
        &conv(
            WEIGHT,
            "node { name: 'b' op: 'Const' attr { key: 'value' value { tensor { dtype: DT_INT32 tensor_content: '12' } } } }",
        ),
        "E0301",
        "tensor of `b`: found 2 bytes of tensor_content, expected 4 for DT_INT32 of shape []",
    );
    check(
        &conv(&format!("{shape} float_val: 1"), ""),
        "E0301",
        "tensor of `w`: found no element type, expected the type of a value",
    );
}

#[test]
fn numbers_without_a_quantized_form() {
    let floats = |values: &str| {
        format!("dtype: DT_FLOAT tensor_shape {{ dim {{ size: 2 }} dim {{ size: 2 }} }} float_val: [{values}]")
    };
    check(&conv(&floats("1, nan, 2, 3"), ""), "M0101", "tensor `w`: element 1 is NaN, expected a finite number");
    check(&conv(&floats("1, 2, 3, -inf"), ""), "M0101", "tensor `w`: element 3 is -inf, expected a finite number");
    check(&conv(&floats("nan"), ""), "M0101", "tensor `w`: element 0 is NaN, expected a finite number");
    let half = "dtype: DT_HALF tensor_shape { dim { size: 2 } dim { size: 1 } } half_val: [15360, 31744]";
    check(&conv(half, ""), "M0101", "tensor `w`: element 1 is inf, expected a finite number");
    let double = "dtype: DT_DOUBLE tensor_shape { dim { size: 1 } dim { size: 1 } } double_val: 1e300";
    check(&conv(double, ""), "M0101", "tensor `w`: element 0 is inf, expected a finite number");
}

#[test]
fn a_small_file_with_a_huge_tensor_stays_small() {
    // 2^40 · 2^10 elements, either of which may be the channels.
    let shapes: [(u64, u64); 3] = [(1 << 40, 1 << 10), (1 << 10, 1 << 40), (1, (1 << 60) - 1)];
    for (rows, columns) in shapes {
        for values in ["DT_FLOAT float_val: 3", "DT_FLOAT float_val: [3, 4]", "DT_FLOAT", "DT_DOUBLE double_val: -1"] {
            let weight = format!("tensor_shape {{ dim {{ size: {rows} }} dim {{ size: {columns} }} }} dtype: {values}");
            for result in compress_all(&conv(&weight, "")).unwrap() {
                // Two ranges of float32 for each of 1,024 channels at most.
                assert!(result.len() < 16 * 1024, "{} bytes for {weight}", result.len());
            }
        }
    }
}

fn each(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join("\n")
}

/// Chains and crowds for which twice the file must not mean four times the work.
#[test]
fn long_chains_and_many_readers_end() {
    const MANY: usize = 5_000;
    let chain = |first: &str| {
        each(MANY, |i| {
            let input = if i == 0 { first.to_owned() } else { format!("i{}", i - 1) };
            format!("node {{ name: 'i{i}' op: 'Identity' input: '{input}' }}")
        })
    };
    let readers = |count: usize, weight: &str| {
        each(count, |i| {
            format!(
                "node {{ name: 'm{i}' op: 'MatMul' input: 'x' input: '{weight}' attr {{ key: 'T' value {{ type: DT_FLOAT }} }} }}"
            )
        })
    };
    let inputs = |name: &str| each(MANY, |i| format!("input: '{name}{i}'"));
    let arguments = each(MANY, |i| format!("input_arg {{ name: 'a{i}' }}"));
    let function = format!(
        "library {{ function {{ signature {{ name: 'f' {arguments} }} node_def {{ name: 'n' op: 'AddN' {} }} }} }}",
        inputs("a")
    );
    let last = format!("i{}", MANY - 1);
    for rest in [
        chain("w") + &readers(1, &last),
        readers(MANY, "w"),
        chain("w") + &readers(MANY, &last),
        chain("x") + &format!("node {{ name: 's' op: 'AddN' {} }}", inputs("i")),
        function,
    ] {
        compress_all(&conv(WEIGHT, &rest)).unwrap();
    }
}

#[test]
fn a_chain_that_doubles_with_every_node_is_not_followed() {
    // Each node reads the one before twice: following both edges would take 2^60 steps.
    let mark = "attr { key: '_quantization' value { s: 'naive' } }";
    let doubling = each(60, |i| match i {
        0 => format!("node {{ name: 'd0' op: 'Identity' input: 'w' {mark} }}"),
        _ => format!("node {{ name: 'd{i}' op: 'Mul' input: 'd{0}' input: 'd{0}' {mark} }}", i - 1),
    });
    let reader = "node { name: 'm' op: 'MatMul' input: 'x' input: 'd59' }";
    let graph = Graph::from_bytes(conv(WEIGHT, &(doubling + reader))).unwrap();
    graph.inspect().unwrap();
    let other = Graph::from_bytes(conv(WEIGHT, "node { name: 'd59' op: 'Identity' input: 'w' }")).unwrap();
    graph.diff(&other).unwrap();
    other.diff(&graph).unwrap();
}

#[test]
fn text_that_is_no_graph_says_where() {
    check(b"node {\n  name: 5\n}", "E0401", "line 2, column 9: found `5`, expected a string of UTF-8 for `name`");
    let deep =
        "node { attr { value { func { attr { value {".to_owned() + &"list { func { attr { value {".repeat(100_000);
    match Graph::from_bytes(deep.into_bytes()) {
        Err(error @ Error::Text { .. }) => assert!(error.to_string().contains("nested deeper"), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// Offsets at which a field of the message ends: there, and only there, a shorter message is whole.
fn field_ends(bytes: &[u8]) -> Vec<usize> {
    let mut fields = tf_rewriter::wire::Fields::new(bytes, 0, "GraphDef");
    std::iter::from_fn(|| fields.next().unwrap().map(|field| field.span.end)).collect()
}

#[track_caller]
fn check_truncated(bytes: &[u8], ends: &[usize], end: usize) {
    let found = Graph::from_bytes(bytes.get(..end).unwrap().to_vec()).map_err(|error| error.code());
    match found {
        Err("E0102") => assert_eq!(end, 0),
        Err("E0201") => assert!(!ends.contains(&end), "cut at {end} between two nodes"),
        // Every prefix of a graph in topological order is a graph.
        Ok(_) => assert!(ends.contains(&end), "cut at {end} within a node"),
        other => panic!("cut at {end}: {other:?}"),
    }
}

#[test]
fn truncated_at_every_percent() {
    let bytes = std::fs::read(DIGITS).unwrap();
    let ends = field_ends(&bytes);
    for percent in 0..100 {
        check_truncated(&bytes, &ends, bytes.len() * percent / 100);
    }
}

#[test]
fn truncated_at_every_byte() {
    let bytes = conv(WEIGHT, "versions { producer: 1286 }");
    let ends = field_ends(&bytes);
    for end in 0..bytes.len() {
        check_truncated(&bytes, &ends, end);
    }
}

#[test]
fn every_byte_of_a_graph_may_be_wrong() {
    let bytes = conv(
        WEIGHT,
        "library { function { signature { name: 'f' input_arg { name: 'a' type: DT_FLOAT } }
            node_def { name: 'n' op: 'MatMul' input: 'a' input: 'c:output:0' }
            node_def { name: 'c' op: 'Const' attr { key: 'value' value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 1 } } float_val: 2 } } } }
            ret { key: 'r' value: 'n:product:0' } } }",
    );
    compress_all(&bytes).unwrap();
    for at in 0..bytes.len() {
        for wrong in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            if let Some(byte) = damaged.get_mut(at) {
                *byte = wrong;
            }
            drop(compress_all(&damaged));
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        drop(compress_all(&bytes));
        drop(compress_all(&[b"\x0a", &bytes[..]].concat()));
    }
}
