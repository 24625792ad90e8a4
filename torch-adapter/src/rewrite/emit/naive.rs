//! The Naive quantizer in TorchScript: weights through the fake-quantization op with constants.

use quant_math::weights::WeightMap;

use super::fake_quant;
use crate::find::injected::Function;
use crate::rewrite::edit::editor::Wrap;
use quant_math::DType;

/// `inference`: the op of the framework with the scales that the reference codes have.
pub(crate) fn inference_weight(map: &WeightMap, dtype: DType, axis: Option<usize>) -> Option<(Wrap, Option<Function>)> {
    match map {
        WeightMap::Affine(map) => Some(fake_quant::weight(map.channels(), dtype, axis)),
        WeightMap::DoReFa { .. } | WeightMap::Sign { .. } | WeightMap::Unchanged => None,
    }
}
