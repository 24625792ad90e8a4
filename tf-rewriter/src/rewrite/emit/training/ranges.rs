//! Ranges from live tensors, as ends for TensorFlow's fake-quant ops.

use quant_math::plan::Settings;
use quant_math::weights::{LEAST_OF_LARGEST, least_width_of_bias};

use crate::find::mark::BIAS;
use crate::graphdef::pb::DataType;
use crate::rewrite::emit::Editor;
use crate::rewrite::emit::fake_quant::shaped;
use crate::rewrite::emit::maker::{Maker, plain};
use crate::rewrite::emit::node::NewNode;

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
    shaped(editor, maker, "Reshape", "flat_values", x, &shape)
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
    f32::MIN_POSITIVE * settings.highest_code()
}

/// The least of each of `widths` beside what is added to its channel ([`Biases`](quant_math::weights::Biases)): vectors with an element for
/// each channel, or with one for all. Nodes of the part [`BIAS`] read what is no part of the site.
fn floor(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    settings: &Settings,
    widths: &str,
    biases: &[String],
) -> String {
    let mut most: Option<String> = None;
    for bias in biases {
        let node = plain("StopGradient", maker.part(editor, "bias"), DataType::DT_FLOAT, &[bias], maker.device);
        let stopped = maker.push_part(node, BIAS);
        let size = maker.float_op(editor, "Abs", "bias_size", &[&stopped]);
        let vector = maker.dims(editor, "bias_elements", &[-1]);
        let size = shaped(editor, maker, "Reshape", "bias_vector", &size, &vector);
        most = Some(match most {
            Some(most) => maker.float_op(editor, "Maximum", "largest_bias", &[&most, &size]),
            None => size,
        });
    }
    let of_bias = maker.float(editor, "least_of_bias", least_width_of_bias(settings));
    let wanted = maker.float_op(editor, "Mul", "bias_width", &[&most.unwrap_or_default(), &of_bias]);
    let widest = reduce(editor, maker, "Max", "widest", widths);
    let none = maker.float(editor, "no_width", 0.0);
    let some = maker.float_op(editor, "Greater", "has_width", &[&widest, &none]);
    let of_largest = maker.float(editor, "least_of_largest", LEAST_OF_LARGEST);
    let share = maker.float_op(editor, "Mul", "share", &[&widest, &of_largest]);
    let no_limit = maker.float(editor, "no_limit", f32::MAX);
    let limit = maker.float_op(editor, "SelectV2", "limit", &[&some, &share, &no_limit]);
    maker.float_op(editor, "Minimum", "floor", &[&wanted, &limit])
}

/// −m to m, where `m` is the largest absolute value. A tiny m is raised to where the step is the smallest normal number, or to its floor;
/// else 0 stays 0, and the op makes zeros of it.
pub(super) fn symmetric(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    settings: &Settings,
    m: &str,
    biases: &[String],
) -> Ends {
    let least = least(editor, maker, settings, m, biases);
    let max = maker.float_op(editor, "Maximum", "max", &[m, &least]);
    Ends { min: maker.float_op(editor, "Neg", "min", &[&max]), max }
}

/// The ends as they are; a tiny range is widened upwards to where the step is the smallest normal number, or to its floor.
pub(super) fn affine(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    settings: &Settings,
    ends: Ends,
    biases: &[String],
) -> Ends {
    let width = maker.float_op(editor, "Sub", "width", &[&ends.max, &ends.min]);
    let least = least(editor, maker, settings, &width, biases);
    let least = maker.float_op(editor, "AddV2", "least_max", &[&ends.min, &least]);
    Ends { min: ends.min, max: maker.float_op(editor, "Maximum", "max", &[&ends.max, &least]) }
}

/// The least width, or 0 where `x` is 0; not below the floor.
fn least(editor: &mut Editor<'_>, maker: &mut Maker<'_>, settings: &Settings, x: &str, biases: &[String]) -> String {
    let width = maker.float(editor, "least_width", least_width(settings));
    let sign = maker.float_op(editor, "Sign", "is_wide", &[x]);
    let least = maker.float_op(editor, "Mul", "least", &[&sign, &width]);
    if biases.is_empty() {
        return least;
    }
    let floor = floor(editor, maker, settings, x, biases);
    maker.float_op(editor, "Maximum", "least_or_floor", &[&least, &floor])
}
