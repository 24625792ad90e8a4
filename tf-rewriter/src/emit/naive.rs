//! Naive: weights only, by a fake-quant op on the symmetric narrow grid.

use quant_math::MathError;

use super::{Editor, WeightWork, fake_quant};

/// The ops between a weight and its op.
pub(super) fn weight(editor: &mut Editor<'_>, work: &WeightWork) -> Result<u64, MathError> {
    fake_quant::weight(editor, work)
}
