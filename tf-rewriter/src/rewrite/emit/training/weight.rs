//! A weight, quantized from its current values in every pass.

use quant_math::plan::Settings;
use quant_math::{MathError, QuantType, Quantizer};

use super::fake_quant::fake_quant;
use super::ranges::{self, Ends};
use super::{Context, LiveWeight, dorefa, from_start_step, last};
use crate::rewrite::emit::edge::on_weight;
use crate::rewrite::emit::fake_quant::{Turn, shaped, turn};
use crate::rewrite::emit::maker::Maker;
use crate::rewrite::emit::{Edge, Editor, Pieces};

/// Put the ops between a weight and its op; returns the bytes of the numbers that were added. The float weight stays the master copy.
///
/// # Errors
/// None; the signature is that of the other forms.
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
        let quantized = match settings.quantizer {
            Quantizer::DoReFa => dorefa::weight(editor, maker, settings, from),
            Quantizer::Qat | Quantizer::Naive => qat(editor, maker, context, (work, &biases), from),
        };
        let result = from_start_step(editor, maker, context, settings, (quantized, from));
        let controls = context.state.as_ref().map(|state| state.count.clone()).into_iter().collect();
        last(maker, QuantType::Weight, settings, &result, controls);
        Ok(())
    })
}

/// Jacob et al. 2018, section 3.1: symmetric on the narrow grid from the largest absolute value, or affine from both ends.
fn qat(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    context: &Context<'_>,
    (work, biases): (&LiveWeight, &[String]),
    from: &str,
) -> String {
    let shape = work.weight.whole_shape();
    let turn = work.axes.zip(shape).map_or(Turn::None, |(axes, shape)| turn(axes, shape));
    let channels = work.axes.zip(shape).map(|(axes, shape)| {
        let sizes = shape.iter().skip(axes.first).take(axes.count);
        sizes.fold(1i32, |n, size| n.saturating_mul(i32::try_from(*size).unwrap_or(i32::MAX)))
    });
    let turned = match &turn {
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
    let ends = ends(editor, maker, (&work.settings, biases), &turned, channels);
    let quantized = fake_quant(editor, maker, context.gradient, &work.settings, (&turned, &ends, channels));
    match &turn {
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
