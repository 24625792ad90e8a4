//! LSQ (Esser et al. 2020): the step between two values is a variable that is trained.

use quant_math::plan::{Gradient, Settings};
use quant_math::quantizers::lsq;
use quant_math::{Grid, MathError};

use super::fake_quant::fake_quant;
use super::ranges::{self, Ends};
use super::{State, straight_through};
use crate::find::mark::STEP_SIZE;
use crate::graphdef::pb::DataType;
use crate::rewrite::emit::Editor;
use crate::rewrite::emit::maker::{Maker, plain};
use crate::rewrite::emit::node::NewNode;

/// Whose gradient it is: how many elements share a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shares {
    /// All of a weight, or of its channel.
    Weight,
    /// The features of a sample, which are along the first axis.
    Sample,
}

/// What a pass makes of a tensor.
pub(super) struct Learning {
    pub(super) result: String,
    /// Control edge to what keeps the step.
    pub(super) keeps: String,
}

/// `x` (with channels along the last axis, if there are `channels`) on the grid of its step.
///
/// The step is 0 before the first training pass, which sets it to `2·E|x| / √Q_P` (section 2.1) before it is used; until then values pass as they
/// are. A step that training drove to 0 or below is set anew by the next training pass.
///
/// Values are those of the fake-quant op, so that a frozen graph has the same. Gradients are those of
/// `straight_through(round)(clip(x / s, −Q_N, Q_P)) · s` by the rules of each op, which are equations 3 and 5; the step takes part in it as
/// `StopGradient(s) + g·(s − StopGradient(s))`, which has the value of s and g times its gradient (section 2.2).
pub(super) fn quantize(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    state: &mut State,
    settings: &Settings,
    (x, channels, shares): (&str, Option<i32>, Shares),
) -> Result<Learning, MathError> {
    let grid = lsq::grid(settings.bits, settings.symmetric)?;
    let (now, keeps) = step(editor, maker, state, grid, (x, channels));
    let least = maker.float(editor, "least_step", f32::MIN_POSITIVE);
    let has_step = maker.op(editor, "GreaterEqual", "has_step", DataType::DT_FLOAT, &[&now, &least]);
    // Where there is none, the branch that is not chosen, and its gradient, stay finite.
    let one = maker.float(editor, "one", 1.0);
    let safe = maker.float_op(editor, "SelectV2", "safe_step", &[&has_step, &now, &one]);

    let stopped = maker.float_op(editor, "StopGradient", "step_stopped", &[&safe]);
    let rest = maker.float_op(editor, "Sub", "step_rest", &[&safe, &stopped]);
    let scale = gradient_scale(editor, maker, grid, (x, channels, shares));
    let scaled = maker.float_op(editor, "Mul", "step_scaled", &[&rest, &scale]);
    let used = maker.float_op(editor, "AddV2", "step", &[&stopped, &scaled]);

    let ratio = maker.float_op(editor, "RealDiv", "ratio", &[x, &used]);
    let [low, high] = ends(grid);
    let [low, high] = [maker.float(editor, "lowest_code", low), maker.float(editor, "highest_code", high)];
    let raised = maker.float_op(editor, "Maximum", "raised", &[&ratio, &low]);
    let clipped = maker.float_op(editor, "Minimum", "clipped", &[&raised, &high]);
    let rounded = maker.float_op(editor, "Round", "code", &[&clipped]);
    let code = straight_through(editor, maker, &rounded, &clipped);
    let smooth = maker.float_op(editor, "Mul", "smooth", &[&code, &used]);

    let ends = Ends {
        min: maker.float_op(editor, "Mul", "min", &[&stopped, &low]),
        max: maker.float_op(editor, "Mul", "max", &[&stopped, &high]),
    };
    let quantized = fake_quant(editor, maker, Gradient::Op, settings, (x, &ends, channels));
    let quantized = straight_through(editor, maker, &quantized, &smooth);
    let result = maker.float_op(editor, "SelectV2", "selected", &[&has_step, &quantized, x]);
    Ok(Learning { result, keeps })
}

/// The step of this pass, and what keeps it.
fn step(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    state: &mut State,
    grid: Grid,
    (x, channels): (&str, Option<i32>),
) -> (String, String) {
    let shape: Vec<u64> = channels.into_iter().map(|n| u64::try_from(n).unwrap_or(0)).collect();
    let count = usize::try_from(channels.unwrap_or(1)).unwrap_or(0);
    let (handle, stored) = state.variable(editor, maker, STEP_SIZE, (&shape, &vec![0.0; count]));
    let seen = maker.float_op(editor, "StopGradient", "observed", &[x]);
    let absolute = maker.float_op(editor, "Abs", "absolute", &[&seen]);
    let flat = ranges::flat(editor, maker, &absolute, channels);
    let mean = ranges::reduce(editor, maker, "Mean", "mean", &flat);
    let factor = maker.float(editor, "initial_factor", lsq::initial_step(1.0, grid));
    let initial = maker.float_op(editor, "Mul", "initial", &[&mean, &factor]);
    let initial = maker.float_op(editor, "StopGradient", "initial_stopped", &[&initial]);
    let none = maker.float(editor, "no_step", 0.0);
    let initial = maker.float_op(editor, "SelectV2", "initial_in_training", &[&state.is_training, &initial, &none]);
    let known = maker.op(editor, "Greater", "is_known", DataType::DT_FLOAT, &[&stored, &none]);
    let now = maker.float_op(editor, "SelectV2", "now", &[&known, &stored, &initial]);
    let name = maker.part(editor, &format!("{STEP_SIZE}_keep"));
    let keep = NewNode::assign("AssignVariableOp", name, maker.device, DataType::DT_FLOAT, [&handle, &now]);
    (now, format!("^{}", maker.push(keep)))
}

/// `g = 1 / √(N·Q_P)` (section 2.2).
fn gradient_scale(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    grid: Grid,
    (x, channels, shares): (&str, Option<i32>, Shares),
) -> String {
    let int = DataType::DT_INT32;
    let (count, more) = match shares {
        Shares::Weight => {
            let size = plain("Size", maker.part(editor, "size"), DataType::DT_FLOAT, &[x], maker.device);
            (maker.push(size.typed("out_type", int)), channels.unwrap_or(1))
        }
        Shares::Sample => {
            let shape = plain("Shape", maker.part(editor, "sizes"), DataType::DT_FLOAT, &[x], maker.device);
            let shape = maker.push(shape.typed("out_type", int));
            let [from, to, by] =
                [("first", 1), ("end", 0), ("stride", 1)].map(|(part, at)| maker.dims(editor, part, &[at]));
            let rest = NewNode::new(
                "StridedSlice",
                maker.part(editor, "sample_sizes"),
                vec![shape, from, to, by],
                maker.device,
            );
            // From the second on; of a scalar, nothing, whose product is 1.
            let rest = ["begin_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"]
                .into_iter()
                .fold(rest.typed("T", int).typed("Index", int).int("end_mask", 1), |node, mask| node.int(mask, 0));
            let rest = maker.push(rest);
            let axis = maker.dims(editor, "sample_axis", &[0]);
            let product = NewNode::new("Prod", maker.part(editor, "features"), vec![rest, axis], maker.device);
            (maker.push(product.typed("T", int).typed("Tidx", int).bool("keep_dims", false)), 1)
        }
    };
    let count = maker.cast(editor, "count", &count, int, DataType::DT_FLOAT);
    #[expect(
        clippy::cast_precision_loss,
        reason = "the scale of a gradient does not depend on the last of 2^24 channels"
    )]
    let each = maker.float(editor, "highest_code_per_channel", ends(grid)[1] / more.max(1) as f32);
    let product = maker.float_op(editor, "Mul", "count_times_highest", &[&count, &each]);
    let root = maker.float_op(editor, "Rsqrt", "gradient_scale", &[&product]);
    maker.float_op(editor, "StopGradient", "gradient_scale_stopped", &[&root])
}

/// The lowest and the highest code.
#[expect(clippy::cast_precision_loss, reason = "at most 255")]
fn ends(grid: Grid) -> [f32; 2] {
    [grid.quant_min() as f32, grid.quant_max() as f32]
}
