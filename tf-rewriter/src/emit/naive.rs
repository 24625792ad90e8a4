//! Naive: weights only, by a fake-quant op on the symmetric narrow grid.

use super::{Editor, WeightWork, fake_quant};

/// The ops between a weight and its op.
pub(super) fn weight(editor: &mut Editor<'_>, work: &WeightWork) -> u64 {
    fake_quant::weight(editor, work)
}
