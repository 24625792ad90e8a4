//! QAT after Jacob et al. 2018: fake-quant ops on weights and activations.

use quant_math::MathError;

use super::{ActivationWork, Editor, Pieces, WeightWork, fake_quant};

/// The ops between a weight and its op.
pub(super) fn weight<'w>(
    editor: &mut Editor<'_>,
    work: &'w WeightWork,
    pieces: &mut Pieces<'w>,
) -> Result<u64, MathError> {
    fake_quant::weight(editor, work, pieces)
}

/// The ops on an activation; its scale.
pub(super) fn activation(editor: &mut Editor<'_>, work: &ActivationWork) -> Result<Option<f32>, MathError> {
    match work.range {
        Some(range) => fake_quant::activation(editor, work, range).map(Some),
        // The plan refuses activations without a range.
        None => Ok(None),
    }
}
