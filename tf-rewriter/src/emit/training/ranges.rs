//! Ranges from live tensors, as ends for TensorFlow's fake-quant ops.

use quant_math::plan::Settings;

use crate::emit::Editor;
use crate::emit::maker::Maker;
use crate::emit::node::NewNode;
use crate::pb::DataType;

/// `min` and `max` of a fake-quant op.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) min: String,
    pub(super) max: String,
}

/// `x` as [elements] or, per channel, as [the rest, channels]; what is reduced over is axis 0 either way.
pub(super) fn flat(editor: &mut Editor<'_>, maker: &mut Maker<'_>, x: &str, channels: Option<i32>) -> String {
    let shape: Vec<i32> = std::iter::once(-1).chain(channels).collect();
    let shape = maker.dims(editor, "elements", &shape);
    crate::emit::fake_quant::shaped(editor, maker, "Reshape", "flat_values", x, &shape)
}

/// `op` (Max, Min, Mean) over axis 0.
pub(super) fn reduce(editor: &mut Editor<'_>, maker: &mut Maker<'_>, op: &str, part: &str, x: &str) -> String {
    let axis = maker.dims(editor, &format!("{part}_axis"), &[0]);
    let node = NewNode::new(op, maker.part(editor, part), vec![x.to_owned(), axis], maker.device);
    maker.push(node.typed("T", DataType::DT_FLOAT).typed("Tidx", DataType::DT_INT32).bool("keep_dims", false))
}

/// The smallest and largest value, widened to hold 0.
pub(super) fn extremes(editor: &mut Editor<'_>, maker: &mut Maker<'_>, flat: &str) -> Ends {
    let zero = maker.float(editor, "zero", 0.0);
    let low = reduce(editor, maker, "Min", "lowest", flat);
    let high = reduce(editor, maker, "Max", "highest", flat);
    Ends {
        min: maker.float_op(editor, "Minimum", "low", &[&low, &zero]),
        max: maker.float_op(editor, "Maximum", "high", &[&high, &zero]),
    }
}

/// The least width of a range that is not 0, so that its step is a normal number.
pub(crate) fn least_width(settings: &Settings) -> f32 {
    let codes = 1u32 << settings.bits.min(16);
    #[expect(clippy::cast_precision_loss, reason = "at most 65,535")]
    let steps = if settings.symmetric { codes / 2 - 1 } else { codes - 1 } as f32;
    f32::MIN_POSITIVE * steps
}

/// −m to m, where `m` is the largest absolute value. A tiny m is raised to where the step is the smallest normal number; 0 stays 0, and the op
/// makes zeros of it.
pub(super) fn symmetric(editor: &mut Editor<'_>, maker: &mut Maker<'_>, settings: &Settings, m: &str) -> Ends {
    let least = least(editor, maker, settings, m);
    let max = maker.float_op(editor, "Maximum", "max", &[m, &least]);
    Ends { min: maker.float_op(editor, "Neg", "min", &[&max]), max }
}

/// The ends as they are; a tiny range is widened upwards to where the step is the smallest normal number.
pub(super) fn affine(editor: &mut Editor<'_>, maker: &mut Maker<'_>, settings: &Settings, ends: Ends) -> Ends {
    let width = maker.float_op(editor, "Sub", "width", &[&ends.max, &ends.min]);
    let least = least(editor, maker, settings, &width);
    let least = maker.float_op(editor, "AddV2", "least_max", &[&ends.min, &least]);
    Ends { min: ends.min, max: maker.float_op(editor, "Maximum", "max", &[&ends.max, &least]) }
}

/// The least width, or 0 where `x` is 0.
fn least(editor: &mut Editor<'_>, maker: &mut Maker<'_>, settings: &Settings, x: &str) -> String {
    let width = maker.float(editor, "least_width", least_width(settings));
    let sign = maker.float_op(editor, "Sign", "is_wide", &[x]);
    maker.float_op(editor, "Mul", "least", &[&sign, &width])
}
