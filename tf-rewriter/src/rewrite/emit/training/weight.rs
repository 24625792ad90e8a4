//! A weight, quantized from its current values in every pass.

use quant_math::plan::Settings;
use quant_math::{MathError, QuantType, Quantizer};

use super::fake_quant::fake_quant;
use super::lsq::{self, Shares};
use super::ranges::{self, Ends};
use super::{Context, LiveWeight, dorefa, from_start_step, last};
use crate::rewrite::emit::edge::on_weight;
use crate::rewrite::emit::fake_quant::{Turn, shaped, turn};
use crate::rewrite::emit::maker::Maker;
use crate::rewrite::emit::{Edge, Editor, Pieces};

/// Put the ops between a weight and its op; returns the bytes of the numbers that were added. The float weight stays the master copy.
///
/// # Errors
/// Bits that the quantizer does not have.
pub(crate) fn weight<'w>(
    editor: &mut Editor<'_>,
    context: &mut Context<'_>,
    work: &'w LiveWeight,
    pieces: &mut Pieces<'w>,
) -> Result<u64, MathError> {
    let settings = &work.settings;
    let biases: Vec<String> = work.biases.iter().map(|(by, input)| editor.reads(*by, *input)).collect();
    let how = format!("live weight {settings:?} {:?} {biases:?}", work.axes);
    let edge = Edge { op: work.op, input: work.input, weight: &work.weight };
    on_weight(editor, (edge, pieces), &how, |editor, maker, from| {
        maker.trains();
        let mut controls: Vec<String> = context.state.as_ref().map(|state| state.count.clone()).into_iter().collect();
        let Turned { x, turn, channels } = turned(editor, maker, work, from);
        let quantized = match settings.quantizer {
            Quantizer::DoReFa => dorefa::weight(editor, maker, settings, &x),
            Quantizer::Lsq => match context.state.as_deref_mut() {
                Some(state) => {
                    let live = lsq::quantize(editor, maker, state, settings, (&x, channels, Shares::Weight))?;
                    controls.push(live.keeps);
                    live.result
                }
                // The plan refuses it where there is no state to reach.
                None => x,
            },
            Quantizer::Qat | Quantizer::Naive => {
                let ends = ends(editor, maker, (settings, &biases), &x, channels);
                fake_quant(editor, maker, context.gradient, settings, (&x, &ends, channels))
            }
        };
        let quantized = turned_back(editor, maker, &turn, quantized);
        let result = from_start_step(editor, maker, context, settings, (quantized, from));
        last(maker, QuantType::Weight, settings, &result, controls);
        Ok(())
    })
}

/// A weight with its channels along the last axis, where it has some.
struct Turned {
    x: String,
    turn: Turn,
    channels: Option<i32>,
}

fn turned(editor: &mut Editor<'_>, maker: &mut Maker<'_>, work: &LiveWeight, from: &str) -> Turned {
    let shape = work.weight.whole_shape();
    let turn = work.axes.zip(shape).map_or(Turn::None, |(axes, shape)| turn(axes, shape));
    let channels = work.axes.zip(shape).map(|(axes, shape)| {
        let sizes = shape.iter().skip(axes.first).take(axes.count);
        sizes.fold(1i32, |n, size| n.saturating_mul(i32::try_from(*size).unwrap_or(i32::MAX)))
    });
    let x = match &turn {
        Turn::None => from.to_owned(),
        Turn::Reshape { flat, .. } => {
            let shape = maker.dims(editor, "flat_shape", flat);
            shaped(editor, maker, "Reshape", "flat", from, &shape)
        }
        Turn::Transpose { perm, .. } => {
            let last = maker.dims(editor, "channels_last", perm);
            shaped(editor, maker, "Transpose", "turned", from, &last)
        }
    };
    Turned { x, turn, channels }
}

fn turned_back(editor: &mut Editor<'_>, maker: &mut Maker<'_>, turn: &Turn, quantized: String) -> String {
    match turn {
        Turn::None => quantized,
        Turn::Reshape { back, .. } => {
            let shape = maker.dims(editor, "shape", back);
            shaped(editor, maker, "Reshape", "restored", &quantized, &shape)
        }
        Turn::Transpose { back, .. } => {
            let first = maker.dims(editor, "channels_back", back);
            shaped(editor, maker, "Transpose", "turned_back", &quantized, &first)
        }
    }
}

/// Jacob et al. 2018, section 3.1: symmetric on the narrow grid from the largest absolute value, or affine from both ends.
fn ends(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    (settings, biases): (&Settings, &[String]),
    x: &str,
    channels: Option<i32>,
) -> Ends {
    let stopped = maker.float_op(editor, "StopGradient", "observed", &[x]);
    if settings.symmetric {
        let absolute = maker.float_op(editor, "Abs", "absolute", &[&stopped]);
        let flat = ranges::flat(editor, maker, &absolute, channels);
        let m = ranges::reduce(editor, maker, "Max", "largest", &flat);
        ranges::symmetric(editor, maker, settings, &m, biases)
    } else {
        let flat = ranges::flat(editor, maker, &stopped, channels);
        let ends = ranges::extremes(editor, maker, &flat);
        ranges::affine(editor, maker, settings, ends, biases)
    }
}
