//! DoReFa after Zhou et al. 2016, in stock ops. The constants that depend on the weight alone (`max|tanh w|`, `E|w|`) are the
//! reference's; TensorFlow's own `Tanh` may differ from the reference by a level on few values.

use quant_math::MathError;
use quant_math::weights::WeightMap;

use super::edge::{on_activation, on_weight};
use super::maker::Maker;
use super::{ActivationWork, Editor, Pieces, WeightWork};

/// `2·quantize_k(tanh(w) / (2·max|tanh w|) + 1/2) − 1` (eq. 9), or `sign(w)·E|w|` (eq. 7) for one bit; returns the constants' bytes.
///
/// # Errors
/// Weights that TensorFlow takes for 0.
pub(super) fn weight<'w>(
    editor: &mut Editor<'_>,
    work: &'w WeightWork,
    pieces: &mut Pieces<'w>,
) -> Result<u64, MathError> {
    let mark = work.settings.in_words();
    on_weight(editor, (work.edge(), pieces), &format!("dorefa {}", work.slot), |editor, maker, from| {
        match *work.map {
            WeightMap::DoReFa { bits, max_abs_tanh } => {
                if max_abs_tanh < f32::MIN_POSITIVE {
                    // TensorFlow flushes such numbers to 0 and would divide 0 by 0.
                    return Err(MathError::RangeUnderflow { min: -max_abs_tanh, max: max_abs_tanh });
                }
                let tanh = maker.float_op(editor, "Tanh", "tanh", &[from]);
                let span = maker.float(editor, "span", 2.0 * max_abs_tanh);
                let unit = maker.float_op(editor, "RealDiv", "unit", &[&tanh, &span]);
                let half = maker.float(editor, "half", 0.5);
                let shifted = maker.float_op(editor, "AddV2", "shifted", &[&unit, &half]);
                let (rounded, n) = round(editor, maker, bits, &shifted);
                let quantized = maker.float_op(editor, "RealDiv", "quantized", &[&rounded, &n]);
                let two = maker.float(editor, "two", 2.0);
                let doubled = maker.float_op(editor, "Mul", "doubled", &[&quantized, &two]);
                let one = maker.float(editor, "one", 1.0);
                maker.last("Sub", &[&doubled, &one], &mark);
            }
            WeightMap::Sign { mean_abs } => {
                let zero = maker.float(editor, "zero", 0.0);
                let positive = maker.float_op(editor, "GreaterEqual", "positive", &[from, &zero]);
                let plus = maker.float(editor, "plus", mean_abs);
                let minus = maker.float(editor, "minus", -mean_abs);
                maker.last("SelectV2", &[&positive, &plus, &minus], &mark);
            }
            // Other quantizers' maps, and weights that stay as they are, do not come here.
            WeightMap::Affine(_) | WeightMap::Unchanged => {}
        }
        Ok(())
    })
}

/// `quantize_k(clip(x, 0, 1))` (section 2.4).
///
/// # Errors
/// None; the signature is that of the other quantizers.
pub(super) fn activation(editor: &mut Editor<'_>, work: &ActivationWork) -> Result<Option<f32>, MathError> {
    let bits = work.settings.bits;
    let mark = work.settings.in_words();
    on_activation(editor, work, &format!("dorefa activation {bits}"), |editor, maker, from| {
        let zero = maker.float(editor, "zero", 0.0);
        let one = maker.float(editor, "one", 1.0);
        let positive = maker.float_op(editor, "Maximum", "positive", &[from, &zero]);
        // The first node is marked too: it is the one that a second run finds behind the op.
        maker.mark(&mark);
        let clipped = maker.float_op(editor, "Minimum", "clipped", &[&positive, &one]);
        let (rounded, n) = round(editor, maker, bits, &clipped);
        maker.last("RealDiv", &[&rounded, &n], &mark);
        Ok(())
    })?;
    Ok(None)
}

/// `rne(n·x)` and `n = 2^k − 1`, of which `quantize_k` is the quotient; TensorFlow's Round is half to even.
pub(super) fn round(editor: &mut Editor<'_>, maker: &mut Maker<'_>, bits: u32, x: &str) -> (String, String) {
    #[expect(clippy::cast_precision_loss, reason = "at most 255")]
    let levels = ((1u32 << bits.min(8)) - 1) as f32;
    let n = maker.float(editor, "n", levels);
    let scaled = maker.float_op(editor, "Mul", "scaled", &[x, &n]);
    (maker.float_op(editor, "Round", "rounded", &[&scaled]), n)
}
