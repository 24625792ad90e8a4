//! An activation, quantized in a range that follows the batches.

use quant_math::plan::Observer;
use quant_math::quantizers::qat::DEFAULT_EMA_DECAY;
use quant_math::{MathError, Quantizer};

use super::fake_quant::fake_quant;
use super::lsq::{self, Shares};
use super::ranges::{self, Ends};
use super::{Context, State, begun, dorefa, last};
use crate::graphdef::pb::DataType;
use crate::rewrite::emit::edge::on_activation;
use crate::rewrite::emit::maker::Maker;
use crate::rewrite::emit::node::NewNode;
use crate::rewrite::emit::{ActivationWork, Editor};

/// Put the ops on an activation's edges.
///
/// # Errors
/// Bits that the quantizer does not have.
pub(crate) fn activation(
    editor: &mut Editor<'_>,
    context: &mut Context<'_>,
    work: &ActivationWork,
) -> Result<(), MathError> {
    let settings = &work.settings;
    let how = format!("live activation {settings:?} {:?}", work.range);
    on_activation(editor, work, &how, |editor, maker, from| {
        maker.trains();
        let gradient = context.gradient;
        // The plan refuses activations where there is no state to reach.
        let Some(state) = context.state.as_deref_mut() else { return Ok(()) };
        let mut controls = vec![state.count.clone()];
        let result = match settings.quantizer {
            Quantizer::DoReFa => dorefa::activation(editor, maker, settings, from),
            Quantizer::Lsq => {
                let live = lsq::quantize(editor, maker, state, settings, (from, None, Shares::Sample))?;
                controls.push(live.keeps);
                live.result
            }
            // The config refuses activations for Naive.
            Quantizer::Qat | Quantizer::Naive => {
                let live = observe(editor, maker, state, work, from);
                controls.extend(live.assigns);
                let quantized = fake_quant(editor, maker, gradient, settings, (from, &live.ends, None));
                maker.float_op(editor, "SelectV2", "selected", &[&live.quantizes, &quantized, from])
            }
        };
        last(maker, work.kind, settings, &result, controls);
        Ok(())
    })
}

/// What this pass quantizes with.
struct Live {
    ends: Ends,
    /// Whether it quantizes at all: the start step has come, and there is a range.
    quantizes: String,
    /// Control edges to what keeps the new range.
    assigns: Vec<String>,
}

/// Jacob et al. 2018, section 3.1.1: the first batch sets each end of the range, then `r += (1 − decay)·(batch − r)`, in float32 as written;
/// with the observer `minmax`, an end moves to the batch's where that lies outside.
///
/// No range yet is lower = ∞, upper = −∞, which no batch can leave behind.
fn observe(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    state: &mut State,
    work: &ActivationWork,
    from: &str,
) -> Live {
    let settings = &work.settings;
    let stopped = maker.float_op(editor, "StopGradient", "observed", &[from]);
    let flat = ranges::flat(editor, maker, &stopped, None);
    let batch = ranges::extremes(editor, maker, &flat);
    let initial = work.range.map(quant_math::Range::with_zero);
    let first = initial.map_or((f32::INFINITY, f32::NEG_INFINITY), |range| (range.min, range.max));
    let lower = state.variable(editor, maker, "lower", (&[], &[first.0]));
    let upper = state.variable(editor, maker, "upper", (&[], &[first.1]));
    let seen = maker.float_op(editor, "LessEqual", "seen", &[&lower.1, &upper.1]);
    #[expect(clippy::cast_possible_truncation, reason = "the average moves in float32")]
    let rate = (1.0 - settings.ema_decay.unwrap_or(DEFAULT_EMA_DECAY)) as f32;
    let rate = (settings.observer != Observer::MinMax).then(|| maker.float(editor, "rate", rate));
    let mut assigns = Vec::new();
    let mut follow = |part: &str, outer: &str, (handle, stored): &(String, String), batch: &str| {
        let mut named = |editor: &mut Editor<'_>, op: &str, what: &str, inputs: &[&str]| {
            maker.float_op(editor, op, &format!("{part}_{what}"), inputs)
        };
        // Before the first batch the difference below is 0, and never that of two infinities.
        let known = named(editor, "SelectV2", "known", &[&seen, stored, batch]);
        let moved = if let Some(rate) = &rate {
            let way = named(editor, "Sub", "way", &[batch, &known]);
            let part_of_way = named(editor, "Mul", "moves", &[&way, rate]);
            named(editor, "AddV2", "moved", &[&known, &part_of_way])
        } else {
            named(editor, outer, "widened", &[&known, batch])
        };
        let now = named(editor, "SelectV2", "now", &[&state.is_training, &moved, stored]);
        let assign = NewNode::assign(
            "AssignVariableOp",
            maker.part(editor, &format!("{part}_keep")),
            maker.device,
            DataType::DT_FLOAT,
            [handle, &now],
        );
        assigns.push(format!("^{}", maker.push(assign)));
        now
    };
    let now = Ends {
        min: follow("lower", "Minimum", &lower, &batch.min),
        max: follow("upper", "Maximum", &upper, &batch.max),
    };
    let mut quantizes = maker.float_op(editor, "LessEqual", "has_range", &[&now.min, &now.max]);
    if settings.quant_start_step > 0 {
        let begun = begun(editor, maker, &state.step, settings.quant_start_step);
        let node = super::state::logical_and(maker.part(editor, "quantizes"), [&begun, &quantizes], maker.device);
        quantizes = maker.push(node);
    }
    // Where there is no range, the ends become 0 rather than infinite.
    let zero = maker.float(editor, "origin", 0.0);
    let ends = Ends {
        min: maker.float_op(editor, "Minimum", "lower_end", &[&now.min, &zero]),
        max: maker.float_op(editor, "Maximum", "upper_end", &[&now.max, &zero]),
    };
    let ends = if settings.symmetric {
        let below = maker.float_op(editor, "Neg", "below", &[&ends.min]);
        let m = maker.float_op(editor, "Maximum", "largest", &[&below, &ends.max]);
        ranges::symmetric(editor, maker, settings, &m, &[])
    } else {
        ranges::affine(editor, maker, settings, ends, &[])
    };
    Live { ends, quantizes, assigns }
}
