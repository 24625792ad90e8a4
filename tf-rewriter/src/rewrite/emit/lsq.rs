//! LSQ after its training: fake-quant ops whose ends are the lowest and the highest code times the learnt step.

use quant_math::quantizers::lsq;
use quant_math::weights::WeightMap;
use quant_math::{Affine, MathError};

use super::{ActivationWork, Editor, Pieces, WeightWork, fake_quant};

/// The ops between a weight and its op.
pub(super) fn weight<'w>(
    editor: &mut Editor<'_>,
    work: &'w WeightWork,
    pieces: &mut Pieces<'w>,
) -> Result<u64, MathError> {
    let WeightMap::Affine(map) = &*work.map else { return Ok(0) };
    let ends: Vec<_> = map.channels().iter().map(|affine| ends(*affine)).collect();
    fake_quant::weight_between(editor, work, pieces, &ends)
}

/// The ops on an activation; its scale.
pub(super) fn activation(editor: &mut Editor<'_>, work: &ActivationWork) -> Result<Option<f32>, MathError> {
    // The plan of what was trained skips activations without a step.
    let Some(step) = work.step else { return Ok(None) };
    let affine = lsq::affine(step, &work.settings)?;
    fake_quant::activation_between(editor, work, ends(affine))?;
    Ok(Some(step))
}

/// As the training graph multiplies them.
fn ends(affine: Affine) -> (f32, f32) {
    let grid = affine.grid();
    (affine.dequantize(grid.quant_min()), affine.dequantize(grid.quant_max()))
}
