//! What holds for any bytes. The fuzz targets feed it what they invent, the crate's own tests feed it the seeds.

use std::sync::LazyLock;

use quant_math::config::ConfigList;
use quant_math::{Emit, Plan, Quantizer, WeightData};
use tf_rewriter::tensor::TensorView;
use tf_rewriter::wire::Fields;
use tf_rewriter::{Error, Graph, PlanOptions, text};

/// The fields of a message cover its bytes without gap or overlap, up to the first damage.
pub(crate) fn wire_spans_tile(bytes: &[u8]) {
    let base = 1 << 20;
    let mut fields = Fields::new(bytes, base, "message");
    let mut end = base;
    while let Ok(Some(field)) = fields.next() {
        assert_eq!(field.span.start, end);
        assert!(field.span.end > end);
        end = field.span.end;
    }
    assert!(end <= base + bytes.len());
}

/// Any bytes are a tensor that can be read or an error, and what is read has the length that the shape says.
pub(crate) fn tensor_never_panics(bytes: &[u8]) {
    let Ok(view) = TensorView::parse(bytes, 0, "node") else { return };
    if let Ok(data) = view.float_data() {
        assert_eq!(data.len(), view.elements());
        assert!(data.stored().len() <= data.len());
        let end = data.len();
        for span in [0..end.min(100), end.saturating_sub(100)..end] {
            assert_eq!(data.chunk(span.clone()).len(), span.len());
        }
    }
    if let Ok(values) = view.int_values() {
        assert_eq!(values.len(), view.elements());
    }
}

/// What can be written as text reads back, and from then on nothing changes any more.
pub(crate) fn text_roundtrip(bytes: &[u8]) {
    let mut written = Vec::new();
    // Strings that are not UTF-8 can be written but are refused when they are read.
    if text::write(bytes, &mut written).is_ok()
        && let Ok(read) = text::parse(&written)
    {
        comes_back(&read);
    }
    if let Ok(binary) = text::parse(bytes) {
        comes_back(&binary);
    }
}

fn comes_back(binary: &[u8]) {
    let mut written = Vec::new();
    text::write(binary, &mut written).expect("what was read can be written");
    assert_eq!(text::parse(&written).expect("what was written can be read"), binary);
}

static CONFIGS: LazyLock<[ConfigList; 5]> = LazyLock::new(|| {
    let parse = |text, quantizer| ConfigList::parse(text, Some(quantizer)).expect("a sound config");
    let channels = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 4, per_channel: true}]";
    let all = "[{op_types: 'default', quant_types: ['weight', 'input', 'output'], quant_bits: 8}]";
    [
        ConfigList::default_for(Quantizer::Naive),
        parse(channels, Quantizer::Qat),
        parse("[{op_types: 'default', q_bits: 2}]", Quantizer::DoReFa),
        parse(all, Quantizer::DoReFa),
        parse(all, Quantizer::Lsq),
    ]
});

static NOTHING: LazyLock<ConfigList> = LazyLock::new(|| {
    ConfigList::parse("[{op_types: 'default', exclude: true}]", Some(Quantizer::Naive)).expect("a sound config")
});

/// Any bytes are a graph that can be quantized or an error. The result is a graph again, in which nothing is left to do, and a plan
/// that changes nothing gives the input.
pub(crate) fn plan_apply(bytes: &[u8]) {
    let Ok(graph) = Graph::from_bytes(bytes.to_vec()) else { return };
    drop(graph.inspect());
    drop(graph.diff(&graph));
    let binary = graph.bytes().to_vec();
    if let Ok((same, plan)) = quantize(&binary, &NOTHING, Emit::Baked) {
        assert!(plan.is_empty());
        assert_eq!(same, binary);
    }
    for config in CONFIGS.iter() {
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training] {
            let Ok((result, plan)) = quantize(&binary, config, emit) else { continue };
            if emit == Emit::Packed {
                has_the_values_of_baked(&binary, config, &result, &plan);
            }
            // A plan does not read values, so it may name weights that are all zero; applying it leaves them as they are.
            let (again, plan) = quantize(&result, config, emit).unwrap_or_else(|error| {
                panic!("{} {emit}: what was written cannot be quantized: {error}", config.quantizer)
            });
            let found: Vec<_> = plan.quantized().collect();
            assert!(again == result, "{} {emit}: a second run changed something: {found:#?}", config.quantizer);
        }
    }
}

/// To `diff`, codes have the values that `baked` has; where that quantizes the same weights.
fn has_the_values_of_baked(binary: &[u8], config: &ConfigList, packed: &[u8], plan: &Plan) {
    let Ok((baked, other)) = quantize(binary, config, Emit::Baked) else { return };
    if !plan.quantized().map(|site| &site.op).eq(other.quantized().map(|site| &site.op)) {
        return;
    }
    let [baked, packed] =
        [baked, packed.to_vec()].map(|bytes| Graph::from_bytes(bytes).expect("what was written can be opened"));
    drop(packed.inspect().expect("what was written can be inspected"));
    let difference = baked.diff(&packed).expect("what was written can be compared");
    assert!(difference.tensors.is_empty(), "{}: {:?}", config.quantizer, difference.tensors);
}

/// The result and its plan.
fn quantize(bytes: &[u8], config: &ConfigList, emit: Emit) -> Result<(Vec<u8>, Plan), Error> {
    let graph = Graph::from_bytes(bytes.to_vec())?;
    let plan = graph.plan(config, PlanOptions { emit: Some(emit), ..PlanOptions::default() })?;
    let mut out = Vec::new();
    graph.apply(&plan)?.write(&mut out)?;
    Ok((out, plan))
}
