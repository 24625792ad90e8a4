//! DoReFa's gradients (Zhou et al. 2016, equation 12), on the edges by which backward ops read them.

use quant_math::QuantType;
use quant_math::plan::Settings;

use super::{Context, from_start_step, last};
use crate::graphdef::index::NodeId;
use crate::graphdef::pb::DataType;
use crate::rewrite::emit::Editor;
use crate::rewrite::emit::maker::Maker;
use crate::rewrite::emit::node::NewNode;

/// The gradient of an op's output, which is to be quantized.
#[derive(Debug)]
pub(crate) struct GradientWork {
    pub(crate) op: NodeId,
    /// The backward ops' inputs that read it; all read the same tensor.
    pub(crate) edges: Vec<(NodeId, usize)>,
    pub(crate) settings: Settings,
}

/// Put the ops on the edges.
pub(crate) fn gradient(editor: &mut Editor<'_>, context: &mut Context<'_>, work: &GradientWork) {
    let Some((near, input)) = work.edges.first().copied() else { return };
    let own = editor.graph.name(work.op).to_owned();
    let from = editor.reads(near, input);
    let base = editor.unique(near.scope, &format!("{own}/gradient_quant"));
    let mut maker = Maker::new(editor, near, &base, &from);
    maker.trains();
    let quantized = quantized(editor, &mut maker, work, (&own, &from));
    let result = from_start_step(editor, &mut maker, context, &work.settings, (quantized, &from));
    let controls = context.state.as_ref().map(|state| state.count.clone()).into_iter().collect();
    last(&mut maker, QuantType::Gradient, &work.settings, &result, controls);
    let (nodes, result, _) = maker.done();
    editor.insert(near, nodes);
    for (reader, input) in &work.edges {
        editor.reroute(*reader, *input, result.clone());
    }
}

/// `2·m·(quantize_k(clip(dr / (2m) + 1/2 + N, 0, 1)) − 1/2)`: m is the largest |dr| of each sample of the batch (axis 0), N uniform in
/// ±0.5/n, n = 2^k − 1. Samples of zeros stay zeros.
fn quantized(editor: &mut Editor<'_>, maker: &mut Maker<'_>, work: &GradientWork, (own, from): (&str, &str)) -> String {
    let (float, int) = (DataType::DT_FLOAT, DataType::DT_INT32);
    let inner: &[i32] = if editor.graph.op(work.op) == b"MatMul" { &[1] } else { &[1, 2, 3] };
    let zero = maker.float(editor, "zero", 0.0);
    let half = maker.float(editor, "half", 0.5);
    let one = maker.float(editor, "one", 1.0);
    let two = maker.float(editor, "two", 2.0);

    let absolute = maker.float_op(editor, "Abs", "absolute", &[from]);
    let axes = maker.dims(editor, "inner_axes", inner);
    let largest = NewNode::new("Max", maker.part(editor, "largest"), vec![absolute, axes], maker.device);
    let largest = maker.push(largest.typed("T", float).typed("Tidx", int).bool("keep_dims", true));
    // TensorFlow takes subnormal numbers for 0. NaN is not less, and stays to be seen.
    let least = maker.float(editor, "least", f32::MIN_POSITIVE);
    let is_zero = maker.float_op(editor, "Less", "is_zero", &[&largest, &least]);
    let safe = maker.float_op(editor, "SelectV2", "safe", &[&is_zero, &one, &largest]);
    let span = maker.float_op(editor, "Mul", "span", &[&safe, &two]);
    let unit = maker.float_op(editor, "RealDiv", "unit", &[from, &span]);
    let shifted = maker.float_op(editor, "AddV2", "shifted", &[&unit, &half]);

    let shape = NewNode::new("Shape", maker.part(editor, "shape"), vec![from.to_owned()], maker.device);
    let shape = maker.push(shape.typed("T", float).typed("out_type", int));
    // Two seeds of 0 would make TensorFlow choose others: the second one never is.
    let uniform = NewNode::new("RandomUniform", maker.part(editor, "uniform"), vec![shape], maker.device)
        .typed("dtype", float)
        .typed("T", int)
        .int("seed", work.settings.seed.cast_signed())
        .int("seed2", seed_of_site(own));
    let uniform = maker.push(uniform);
    let centered = maker.float_op(editor, "Sub", "centered_uniform", &[&uniform, &half]);
    let levels = maker.float(editor, "levels", levels(work.settings.bits));
    let noise = maker.float_op(editor, "RealDiv", "noise", &[&centered, &levels]);

    let dithered = maker.float_op(editor, "AddV2", "noisy", &[&shifted, &noise]);
    let positive = maker.float_op(editor, "Maximum", "positive", &[&dithered, &zero]);
    let clipped = maker.float_op(editor, "Minimum", "clipped", &[&positive, &one]);
    let (rounded, n) = crate::rewrite::emit::dorefa::round(editor, maker, work.settings.bits, &clipped);
    let unit = maker.float_op(editor, "RealDiv", "quantized", &[&rounded, &n]);
    let centered = maker.float_op(editor, "Sub", "centered", &[&unit, &half]);
    let scaled = maker.float_op(editor, "Mul", "rescaled", &[&span, &centered]);
    maker.float_op(editor, "SelectV2", "chosen", &[&is_zero, &zero, &scaled])
}

#[expect(clippy::cast_precision_loss, reason = "at most 255")]
fn levels(bits: u32) -> f32 {
    ((1u32 << bits.min(8)) - 1) as f32
}

/// A number of the site alone, the same in every run: the 64-bit FNV-1a hash of the op's name, as a positive number.
fn seed_of_site(name: &str) -> i64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    ((hash >> 1) | 1).cast_signed()
}
