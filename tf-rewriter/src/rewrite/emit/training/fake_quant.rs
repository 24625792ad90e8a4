//! TensorFlow's fake-quant ops with live ranges, in both gradient styles.

use quant_math::plan::{Gradient, Settings};

use super::ranges::Ends;
use super::straight_through;
use crate::rewrite::emit::Editor;
use crate::rewrite::emit::maker::Maker;
use crate::rewrite::emit::node::NewNode;

/// `x` quantized between the ends, per channel along the last axis if there are `channels`.
pub(super) fn fake_quant(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    gradient: Gradient,
    settings: &Settings,
    (x, ends, channels): (&str, &Ends, Option<i32>),
) -> String {
    let op = Op { settings, ends, per_channel: channels.is_some() };
    let quantized = op.of(editor, maker, "fake_quant", x);
    if gradient == Gradient::Op {
        return quantized;
    }
    // What the kernel makes of the largest numbers are the ends that it uses: the nudged range, in the kernel's own bits. The C API would
    // look for the kernel's gradient behind them.
    let shape: Vec<u64> = channels.into_iter().map(|n| u64::try_from(n).unwrap_or(0)).collect();
    let count = usize::try_from(channels.unwrap_or(1)).unwrap_or(0);
    let mut end = |part: &str, value: f32| {
        let beyond = maker.floats(editor, &format!("beyond_{part}"), &shape, &vec![value; count]);
        let nudged = op.of(editor, maker, &format!("nudged_{part}"), &beyond);
        maker.float_op(editor, "StopGradient", &format!("{part}_stopped"), &[&nudged])
    };
    let (min, max) = (end("min", f32::MIN), end("max", f32::MAX));
    let raised = maker.float_op(editor, "Maximum", "raised", &[x, &min]);
    let clipped = maker.float_op(editor, "Minimum", "clipped", &[&raised, &max]);
    straight_through(editor, maker, &quantized, &clipped)
}

struct Op<'a> {
    settings: &'a Settings,
    ends: &'a Ends,
    per_channel: bool,
}

impl Op<'_> {
    fn of(&self, editor: &mut Editor<'_>, maker: &mut Maker<'_>, part: &str, x: &str) -> String {
        let op = if self.per_channel { "FakeQuantWithMinMaxVarsPerChannel" } else { "FakeQuantWithMinMaxVars" };
        let inputs = vec![x.to_owned(), self.ends.min.clone(), self.ends.max.clone()];
        let node = NewNode::new(op, maker.part(editor, part), inputs, maker.device)
            .int("num_bits", i64::from(self.settings.bits))
            .bool("narrow_range", self.settings.narrow_range());
        maker.push(node)
    }
}
