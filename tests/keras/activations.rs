//! Activations with measured ranges: TensorFlow's FakeQuant nodes make what `quant-math`'s kernel of that name makes.

use std::fs;

use quant_math::config::ConfigList;
use quant_math::kernels::tensorflow::{NudgedRange, fake_quant_with_min_max_vars};
use quant_math::ranges::Ranges;
use quant_math::{Emit, QuantType, Quantizer};
use tf_rewriter::{Graph, PlanOptions};

use crate::common::run_python;
use crate::common::tf::{Job, TensorFlow};

/// Quantize the weights and the outputs of every `activation` op with 8 bits, run the result, and compare each quantized activation.
fn check(tensorflow: &TensorFlow, name: &str, activation: &str, count: usize) {
    let (model, inputs, names) = tensorflow.keras(name);
    let logits = names["logits"].as_str().unwrap();
    let path = tensorflow.path("ranges.json");
    let [model_text, inputs_text, path_text] = [&model, &inputs, &path].map(|path| path.to_str().unwrap());
    let arguments = ["--model", model_text, "--data", inputs_text, "--out", path_text];
    run_python(tensorflow.python(), "examples/models/record_ranges.py", &arguments, &[]);
    let ranges = Ranges::parse(&fs::read_to_string(&path).unwrap()).unwrap();

    let text = format!(
        "[{{quant_types: ['weight'], quant_bits: 8, op_types: 'default'}},
          {{quant_types: ['output'], quant_bits: 8, op_types: ['Placeholder', '{activation}']}}]"
    );
    let config = ConfigList::parse(&text, Some(Quantizer::Qat)).unwrap();
    let graph = Graph::open(&model).unwrap();
    let plan =
        graph.plan(&config, PlanOptions { ranges: Some(&ranges), strict: true, ..PlanOptions::default() }).unwrap();
    assert_eq!(plan.emit, Emit::Inference, "the default when every range is there");
    let sites: Vec<(String, String)> = plan
        .quantized()
        .filter(|site| site.kind == QuantType::Output)
        .map(|site| (site.op.clone(), site.tensor.clone()))
        .collect();
    assert_eq!(sites.len(), count + 1, "the activations and the input");
    let out = tensorflow.path("activations.pb");
    graph.apply(&plan).unwrap().write_to(&out).unwrap();

    let tensors = sites.iter().flat_map(|(op, _)| [format!("{op}:0"), format!("{op}/output_quant:0")]);
    let fetch: Vec<String> = tensors.chain([logits.to_owned()]).collect();
    let job = Job { model: out, inputs: Some(inputs), fetch, digest: Vec::new(), grappler: false, noise: None };
    let answer = &tensorflow.run(&[job])[0];
    for (op, tensor) in &sites {
        let (before, after) = (answer.array(&format!("{op}:0")), answer.array(&format!("{op}/output_quant:0")));
        let range = ranges.find(op, QuantType::Output, tensor).unwrap().with_zero();
        let mut expected = vec![0.0; before.len()];
        let nudged = NudgedRange::new(range.min, range.max, 8, false).unwrap();
        fake_quant_with_min_max_vars(nudged, before.as_slice().unwrap(), &mut expected);
        let same = after.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{name}: output of {op}, range {range:?}");
    }
    let logits = answer.array(logits);
    assert!(logits.iter().all(|v| v.is_finite()), "{name}: {logits}");
}

#[test]
fn activations_of_mobilenet_v2_are_what_the_kernel_says() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    check(&tensorflow, "mobilenet_v2", "Relu6", 35);
}

#[test]
fn activations_of_resnet50_are_what_the_kernel_says() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    check(&tensorflow, "resnet50", "Relu", 49);
}
