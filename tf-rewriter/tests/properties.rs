//! The fuzz targets' properties on their seeds and on damaged seeds.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../fuzz/properties.rs"]
mod properties;

use proptest::prelude::*;

fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn check(bytes: &[u8]) {
    properties::wire_spans_tile(bytes);
    properties::tensor_never_panics(bytes);
    properties::text_roundtrip(bytes);
    properties::plan_apply(bytes);
}

#[test]
fn the_seeds_are_sound() {
    for seed in seeds("graphs") {
        tf_rewriter::Graph::from_bytes(seed.clone()).unwrap();
        check(&seed);
    }
    for seed in seeds("tensors") {
        tf_rewriter::tensor::TensorView::parse(&seed, 0, "seed").unwrap();
        check(&seed);
    }
}

/// A graph in which a second run has nothing to do, in every form of every quantizer.
fn check_graph(nodes: &str) {
    let float = "attr { key: 'T' value { type: DT_FLOAT } }";
    let weight = "attr { key: 'value' value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 2 } dim { size: 2 } } float_val: [1, -2, 3, 4] } } }";
    let call = "attr { key: 'f' value { func { name: 'f' } } }";
    let nodes = nodes.replace("OF_FLOATS", float).replace("WEIGHT", weight).replace("CALL", call);
    tf_rewriter::Graph::from_bytes(nodes.clone().into_bytes()).unwrap_or_else(|error| panic!("{error}\n{nodes}"));
    properties::plan_apply(nodes.as_bytes());
}

#[test]
fn a_product_of_quantized_weights_stays_a_parameter() {
    let product = |(last, number): (usize, usize)| {
        format!(
            "node {{ name: 'w{number}' op: 'Const' WEIGHT }}
            node {{ name: 'm{number}' op: 'MatMul' input: 'm{last}' input: 'w{number}' OF_FLOATS }}"
        )
    };
    let products: String = (1..9).enumerate().map(product).collect();
    check_graph(&format!("node {{ name: 'm0' op: 'Const' WEIGHT }} {products}"));
}

/// `f` gets an activation from one caller, and from another what nobody knows, or a constant.
#[test]
fn an_activation_that_stands_for_a_weight_is_none_when_it_is_quantized() {
    let f = "function { signature { name: 'f' input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'b' type: DT_FLOAT } }
            node_def { name: 'y' op: 'MatMul' input: 'b' input: 'a' OF_FLOATS } ret { key: 'r' value: 'y:product:0' } }";
    let g = |body: &str| {
        format!(
            "function {{ signature {{ name: 'g' input_arg {{ name: 'a' type: DT_FLOAT }} input_arg {{ name: 'b' type: DT_FLOAT }} }} {body} }}"
        )
    };
    let unknown = g("node_def { name: 'c' op: 'PartitionedCall' input: 'a' input: 'b' CALL }");
    let main = "node { name: 'x' op: 'Placeholder' } node { name: 'w' op: 'Const' WEIGHT }";
    check_graph(&format!(
        "{main} node {{ name: 'm' op: 'MatMul' input: 'x' input: 'w' OF_FLOATS }}
        node {{ name: 'c' op: 'PartitionedCall' input: 'm' input: 'x' CALL }} library {{ {f} {unknown} }}"
    ));
    let made = g("node_def { name: 'm' op: 'MatMul' input: 'a' input: 'b' OF_FLOATS }
        node_def { name: 'c' op: 'PartitionedCall' input: 'm:product:0' input: 'b' CALL }");
    check_graph(&format!(
        "{main} node {{ name: 'c' op: 'PartitionedCall' input: 'w' input: 'x' CALL }} library {{ {f} {made} }}"
    ));
}

/// Both ops read one argument that is computed from constants by the only caller, one of them on the side of a weight.
#[test]
fn a_product_of_constants_stays_a_parameter_in_a_function() {
    check_graph(
        "node { name: 'x' op: 'Placeholder' } node { name: 'w' op: 'Const' WEIGHT }
        node { name: 'm' op: 'MatMul' input: 'w' input: 'w' OF_FLOATS }
        node { name: 'c' op: 'PartitionedCall' input: 'm' input: 'x' CALL }
        library { function { signature { name: 'f' input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'b' type: DT_FLOAT } }
            node_def { name: 'y' op: 'MatMul' input: 'a' input: 'b' OF_FLOATS }
            node_def { name: 'z' op: 'MatMul' input: 'b' input: 'a' OF_FLOATS }
            ret { key: 'r' value: 'z:product:0' } } }",
    );
}

/// In a training graph the weight's scale reads the bias, which must not wait for the op, be it by control or by data.
#[test]
fn a_bias_that_waits_for_the_op_whose_weight_it_stands_behind() {
    let vector =
        "attr { key: 'value' value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 2 } } float_val: [1, 2] } } }";
    let number = "attr { key: 'dtype' value { type: DT_INT32 } } attr { key: 'value' value { tensor { dtype: DT_INT32 tensor_shape { } int_val: 0 } } }";
    for bias in [
        format!("node {{ name: 'b' op: 'Const' input: '^m' {vector} }}"),
        format!(
            "node {{ name: 'c' op: 'Const' {vector} }} node {{ name: 'b' op: 'Identity' input: 'c' input: '^m' OF_FLOATS }}"
        ),
        format!(
            "node {{ name: 'c' op: 'Const' {vector} }} node {{ name: 'axis' op: 'Const' {number} }}
            node {{ name: 's' op: 'Max' input: 'm' input: 'axis' OF_FLOATS }}
            node {{ name: 'g' op: 'Greater' input: 's' input: 'c' OF_FLOATS }}
            node {{ name: 'b' op: 'SelectV2' input: 'g' input: 'c' input: 'c' OF_FLOATS }}"
        ),
    ] {
        check_graph(&format!(
            "node {{ name: 'x' op: 'Placeholder' }} node {{ name: 'w' op: 'Const' WEIGHT }}
            node {{ name: 'm' op: 'MatMul' input: 'x' input: 'w' OF_FLOATS }} {bias}
            node {{ name: 'y' op: 'BiasAdd' input: 'm' input: 'b' OF_FLOATS }}"
        ));
    }
}

/// The range's constants of an op that runs in a loop of a function wait for something there, not for the weight outside.
#[test]
fn a_weight_outside_of_the_function_whose_loop_reads_it() {
    check_graph(
        "node { name: 'x' op: 'Placeholder' } node { name: 'w' op: 'Const' WEIGHT }
        node { name: 'c' op: 'PartitionedCall' input: 'x' input: 'w' CALL }
        library { function { signature { name: 'f' input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'b' type: DT_FLOAT } }
            node_def { name: 'e' op: 'Enter' input: 'a' OF_FLOATS attr { key: 'frame_name' value { s: 'frame' } } }
            node_def { name: 'y' op: 'MatMul' input: 'e:output:0' input: 'b' OF_FLOATS }
            ret { key: 'r' value: 'y:product:0' } } }",
    );
}

/// In a function that calls itself, a constant may wait for the op whose weight it is on the next round: its copy must not.
#[test]
fn a_weight_that_a_function_hands_to_itself() {
    check_graph(
        "node { name: 'x' op: 'Placeholder' }
        library { function { signature { name: 'f' input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'b' type: DT_FLOAT } }
            node_def { name: 'y' op: 'MatMul' input: 'a' input: 'b' OF_FLOATS }
            node_def { name: 'other' op: 'Relu' input: 'b' OF_FLOATS }
            node_def { name: 'w' op: 'Const' input: '^y' WEIGHT }
            node_def { name: 'c' op: 'PartitionedCall' input: 'y:product:0' input: 'w:output:0' CALL }
            ret { key: 'r' value: 'y:product:0' } } }",
    );
}

proptest! {
    #[test]
    fn damaged_seeds(which: prop::sample::Index, binary: bool, damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let seeds = [seeds("graphs"), seeds("tensors")].concat();
        let mut bytes = which.get(&seeds).clone();
        if let (true, Ok(graph)) = (binary, tf_rewriter::text::parse(&bytes)) {
            bytes = graph;
        }
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            if let Some(found) = bytes.get_mut(at) {
                *found = byte;
            }
        }
        check(&bytes);
    }
}
