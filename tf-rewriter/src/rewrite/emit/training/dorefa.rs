//! DoReFa (Zhou et al. 2016) with straight-through rounding; tanh, max and clip are differentiated.

use quant_math::plan::Settings;

use super::{ranges, straight_through};
use crate::rewrite::emit::Editor;
use crate::rewrite::emit::maker::Maker;

/// `2·quantize_k(tanh(w) / (2·max|tanh w|) + 1/2) − 1` (eq. 9), or `sign(w)·E|w|` (eq. 7) for one bit. All-zero weights stay as they are.
pub(super) fn weight(editor: &mut Editor<'_>, maker: &mut Maker<'_>, settings: &Settings, from: &str) -> String {
    if settings.bits == 1 {
        return sign(editor, maker, from);
    }
    let tanh = maker.float_op(editor, "Tanh", "tanh", &[from]);
    let absolute = maker.float_op(editor, "Abs", "absolute", &[&tanh]);
    let flat = ranges::flat(editor, maker, &absolute, None);
    let largest = ranges::reduce(editor, maker, "Max", "largest", &flat);
    // TensorFlow takes subnormal numbers for 0. Dividing by 1 then keeps the branch that is not chosen, and its gradient, finite.
    let least = maker.float(editor, "least", f32::MIN_POSITIVE);
    let wide = maker.float_op(editor, "GreaterEqual", "wide", &[&largest, &least]);
    let one = maker.float(editor, "one", 1.0);
    let safe = maker.float_op(editor, "SelectV2", "safe", &[&wide, &largest, &one]);
    let two = maker.float(editor, "two", 2.0);
    let span = maker.float_op(editor, "Mul", "span", &[&safe, &two]);
    let unit = maker.float_op(editor, "RealDiv", "unit", &[&tanh, &span]);
    let half = maker.float(editor, "half", 0.5);
    let shifted = maker.float_op(editor, "AddV2", "shifted", &[&unit, &half]);
    let quantized = quantize(editor, maker, settings.bits, &shifted);
    let doubled = maker.float_op(editor, "Mul", "doubled", &[&quantized, &two]);
    let centered = maker.float_op(editor, "Sub", "centered", &[&doubled, &one]);
    maker.float_op(editor, "SelectV2", "chosen", &[&wide, &centered, from])
}

/// One bit, straight-through as a whole (eq. 8).
fn sign(editor: &mut Editor<'_>, maker: &mut Maker<'_>, from: &str) -> String {
    let stopped = maker.float_op(editor, "StopGradient", "observed", &[from]);
    let absolute = maker.float_op(editor, "Abs", "absolute", &[&stopped]);
    let flat = ranges::flat(editor, maker, &absolute, None);
    let plus = ranges::reduce(editor, maker, "Mean", "plus", &flat);
    let minus = maker.float_op(editor, "Neg", "minus", &[&plus]);
    let zero = maker.float(editor, "zero", 0.0);
    let positive = maker.float_op(editor, "GreaterEqual", "positive", &[&stopped, &zero]);
    let signed = maker.float_op(editor, "SelectV2", "signed", &[&positive, &plus, &minus]);
    straight_through(editor, maker, &signed, from)
}

/// `quantize_k(clip(x, 0, 1))` (section 2.4).
pub(super) fn activation(editor: &mut Editor<'_>, maker: &mut Maker<'_>, settings: &Settings, from: &str) -> String {
    let zero = maker.float(editor, "zero", 0.0);
    let one = maker.float(editor, "one", 1.0);
    let positive = maker.float_op(editor, "Maximum", "positive", &[from, &zero]);
    // A second run finds this node behind the op.
    maker.mark(&settings.in_words());
    let clipped = maker.float_op(editor, "Minimum", "clipped", &[&positive, &one]);
    quantize(editor, maker, settings.bits, &clipped)
}

/// `rne(n·x) / n`, n = 2^k − 1 (eq. 5), straight-through; TensorFlow's Round is half to even.
fn quantize(editor: &mut Editor<'_>, maker: &mut Maker<'_>, bits: u32, x: &str) -> String {
    let (rounded, n) = crate::rewrite::emit::dorefa::round(editor, maker, bits, x);
    let quantized = maker.float_op(editor, "RealDiv", "quantized", &[&rounded, &n]);
    straight_through(editor, maker, &quantized, x)
}
