//! Naive: weights only, by a fake-quant op on the symmetric narrow grid.

use quant_math::MathError;

use super::{Editor, Pieces, WeightWork, fake_quant};

/// The ops between a weight and its op.
pub(super) fn weight<'w>(
    editor: &mut Editor<'_>,
    work: &'w WeightWork,
    pieces: &mut Pieces<'w>,
) -> Result<u64, MathError> {
    fake_quant::weight(editor, work, pieces)
}
