//! `--emit training`: live ranges, straight-through gradients, start step.
//!
//! Every site ends in an `Identity` that carries the marks and hangs on what moves the state. Everything that computes ranges stands behind
//! `StopGradient`, so that gradients see nothing but the rounding; there is no branch, since TensorFlow's C API differentiates none.

mod activation;
mod dorefa;
mod fake_quant;
mod gradient;
mod lsq;
mod ranges;
mod state;
mod weight;

use quant_math::QuantType;
use quant_math::plan::{Gradient, Settings};

use super::Editor;
use super::maker::Maker;
use crate::find::mark;
use crate::find::sites::{Axes, Weight};
use crate::graphdef::index::NodeId;
use crate::graphdef::pb::DataType;

pub(crate) use activation::activation;
pub(crate) use gradient::{GradientWork, gradient};
pub(crate) use ranges::least_width;
pub(crate) use state::State;
pub(crate) use weight::weight;

/// A weight that is to be quantized while its graph is trained.
#[derive(Debug)]
pub(crate) struct LiveWeight {
    pub(crate) op: NodeId,
    pub(crate) input: usize,
    pub(crate) weight: Weight,
    pub(crate) settings: Settings,
    /// Channel axes where it is whole last.
    pub(crate) axes: Option<Axes>,
    /// What is added to its channels, where they have a least range then: nodes of the op's frame, and which of their inputs it is.
    pub(crate) biases: Vec<(NodeId, usize)>,
}

/// What a site's nodes need besides their input.
pub(crate) struct Context<'s> {
    pub(crate) gradient: Gradient,
    /// `None` where state cannot be reached: in functions and in `while` frames.
    pub(crate) state: Option<&'s mut State>,
}

/// `quantized` from the site's start step on, `from` before.
fn from_start_step(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    context: &Context<'_>,
    settings: &Settings,
    (quantized, from): (String, &str),
) -> String {
    let (Some(state), 1..) = (&context.state, settings.quant_start_step) else { return quantized };
    let begun = begun(editor, maker, &state.step, settings.quant_start_step);
    maker.float_op(editor, "SelectV2", "selected", &[&begun, &quantized, from])
}

/// Whether the step counter has reached the start step.
fn begun(editor: &mut Editor<'_>, maker: &mut Maker<'_>, step: &str, start: u64) -> String {
    let start = i64::try_from(start).unwrap_or(i64::MAX);
    let start = maker.long(editor, "start_step", start);
    maker.op(editor, "GreaterEqual", "begun", DataType::DT_INT64, &[step, &start])
}

/// The site's last node, which hangs on `controls`.
fn last(maker: &mut Maker<'_>, kind: QuantType, settings: &Settings, result: &str, controls: Vec<String>) {
    let node = state::identity(maker.base().to_owned(), result, controls, maker.device);
    // Settings are numbers and words: they always have a JSON form.
    let site = serde_json::json!({ "kind": kind, "settings": settings }).to_string();
    let node = node.marked(mark::ATTR, &settings.in_words());
    maker.push_part(node.marked(mark::SITE, &site), "site");
}

/// What is rounded, with the gradient of what is not: `StopGradient(rounded) + (smooth − StopGradient(smooth))`. The difference is exactly
/// 0, so that the sum has the very bits of `rounded`; `smooth + StopGradient(rounded − smooth)` may be off by one.
fn straight_through(editor: &mut Editor<'_>, maker: &mut Maker<'_>, rounded: &str, smooth: &str) -> String {
    let rounded = maker.float_op(editor, "StopGradient", "rounded_stopped", &[rounded]);
    let stopped = maker.float_op(editor, "StopGradient", "smooth_stopped", &[smooth]);
    let nothing = maker.float_op(editor, "Sub", "nothing", &[smooth, &stopped]);
    maker.float_op(editor, "AddV2", "straight_through", &[&rounded, &nothing])
}
