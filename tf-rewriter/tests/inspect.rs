//! What `inspect` says of graphs that are quantized already, and what `--only-outputs` leaves out.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use quant_math::config::ConfigList;
use quant_math::plan::{Decision, Emit, Quantizer};
use tf_rewriter::{Graph, PlanOptions, text};

/// A graph of the rule tests, in binary form.
fn rule(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules").join(name).with_extension("pbtxt");
    text::parse(&std::fs::read(path).unwrap()).unwrap()
}

fn quantized(graph: Graph, quantizer: Quantizer, emit: Emit) -> (Vec<u8>, quant_math::report::Report) {
    let config = match quantizer {
        Quantizer::Qat => {
            let text = "[{op_types: ['default'], quant_types: ['weight'], quant_bits: 8, per_channel: false}]";
            ConfigList::parse(text, Some(quantizer)).unwrap()
        }
        _ => ConfigList::default_for(quantizer),
    };
    let plan = graph.plan(&config, PlanOptions { emit: Some(emit), ..PlanOptions::default() }).unwrap();
    let mut out = Vec::new();
    let report = graph.apply(&plan).unwrap().write(&mut out).unwrap();
    (out, report)
}

/// The weights that functions get from their callers, behind whatever quantizes them: with their values' range, and how they are quantized.
#[test]
fn the_weights_of_quantized_graphs_are_listed() {
    let float = Graph::from_bytes(rule("weight_through_functions")).unwrap().inspect().unwrap();
    let names = |found: &quant_math::inspection::Inspection| {
        found.weights.iter().map(|weight| (weight.op.clone(), weight.shape.clone())).collect::<Vec<_>>()
    };
    assert_eq!(float.weights.len(), 5);
    assert!(float.weights.iter().all(|weight| weight.quantized.is_none()) && float.ranges.is_empty());
    for quantizer in [Quantizer::Qat, Quantizer::DoReFa] {
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training] {
            let story = format!("{quantizer}, {emit}");
            let graph = Graph::from_bytes(rule("weight_through_functions")).unwrap();
            let (bytes, report) = quantized(graph, quantizer, emit);
            let done = report.sites.iter().filter(|site| site.site.settings().is_some()).count();
            let graph = Graph::from_bytes(bytes).unwrap();
            let found = graph.inspect().unwrap();
            assert_eq!(names(&found), names(&float), "{story}");
            let how = format!("{quantizer} 8 bits per tensor");
            let told = found.weights.iter().filter(|weight| weight.quantized.as_ref() == Some(&how)).count();
            assert_eq!(told, done, "{story}: {:?}", found.weights);
            assert!(found.weights.iter().all(|weight| weight.range.is_some()), "{story}: {:?}", found.weights);
            assert!(!found.ranges.is_empty() && found.ranges.iter().all(|op| op.how.as_ref() == Some(&how)), "{story}");
            // A second run says of each of them that it is done.
            let config = ConfigList::default_for(Quantizer::Naive);
            let again = graph.plan(&config, PlanOptions { emit: Some(Emit::Baked), ..PlanOptions::default() }).unwrap();
            let already =
                |decision: &Decision| matches!(decision, Decision::Skip(reason) if reason.code == "already-quantized");
            assert_eq!(again.sites.iter().filter(|site| already(&site.decision)).count(), done, "{story}");
        }
    }
}

/// A weight behind another tool's `Dequantize` is one, with the bits of its codes.
#[test]
fn a_dequantized_constant_is_a_quantized_weight() {
    let text = r#"
        node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
        node { name: "w/codes" op: "Const" attr { key: "dtype" value { type: DT_QUINT8 } }
          attr { key: "value" value { tensor { dtype: DT_QUINT8 tensor_shape { dim { size: 2 } dim { size: 2 } } tensor_content: "\000\001\177\377" } } } }
        node { name: "w/min" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
          attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { } float_val: -1 } } } }
        node { name: "w/max" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
          attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { } float_val: 1 } } } }
        node { name: "w" op: "Dequantize" input: "w/codes" input: "w/min" input: "w/max"
          attr { key: "T" value { type: DT_QUINT8 } } attr { key: "mode" value { s: "MIN_FIRST" } } }
        node { name: "y" op: "MatMul" input: "x" input: "w" attr { key: "T" value { type: DT_FLOAT } } }
    "#;
    let found = Graph::from_bytes(text::parse(text.as_bytes()).unwrap()).unwrap().inspect().unwrap();
    let [weight] = found.weights.as_slice() else { unreachable!("{:?}", found.weights) };
    assert_eq!((weight.tensor.as_str(), weight.shape.as_slice(), weight.bytes), ("w/codes:0", &[2, 2][..], 4));
    assert_eq!(weight.quantized.as_deref(), Some("Dequantize 8 bits"));
    assert_eq!(found.ranges[0].bits, Some(8));
}

/// Penalty terms keep float weights alive, unless they are left out.
#[test]
fn only_outputs_leaves_out_what_they_do_not_need() {
    let whole = rule("weight_through_functions");
    let open = || Graph::from_bytes(whole.clone()).unwrap().with_outputs(&["y", "z"]).unwrap();
    let (kept, report) = quantized(open(), Quantizer::Naive, Emit::Packed);
    assert_eq!(report.nodes_left_out, 0);
    let cut = open().only_outputs().unwrap();
    assert_eq!(
        (cut.file_len(), cut.fingerprint()),
        (open().file_len(), open().fingerprint()),
        "ranges of the whole file serve it"
    );
    let (pruned, report) = quantized(cut, Quantizer::Naive, Emit::Packed);
    assert_eq!(report.nodes_left_out, 2, "two penalty terms");
    assert_eq!(report.bytes_before, whole.len() as u64);
    assert!(report.sites.iter().all(|site| site.site.settings().is_some()), "nothing else reads a weight now");
    assert!(pruned.len() < kept.len());
    let graph = Graph::from_bytes(pruned).unwrap();
    let outputs: Vec<_> = graph.inspect().unwrap().outputs.into_iter().map(|port| port.name).collect();
    assert_eq!(outputs, ["y", "z"]);
    assert_eq!(
        graph.node_count(),
        open().only_outputs().unwrap().node_count() + 4 * 5 - 4,
        "four nodes for each constant"
    );
}
