//! Calls of torch's fake-quantization ops with constants.

use quant_math::{Affine, DType, Grid, WeightMap};

use crate::find::injected::Function;
use crate::rewrite::edit::editor::Wrap;
use crate::rewrite::edit::value::NewTensor;

/// A weight with the scales that the reference codes have, where it has any: that of Naive, QAT and LSQ.
pub(crate) fn mapped(map: &WeightMap, dtype: DType, axis: Option<usize>) -> Option<(Wrap, Option<Function>)> {
    match map {
        WeightMap::Affine(map) => Some(weight(map.channels(), dtype, axis)),
        WeightMap::DoReFa { .. } | WeightMap::Sign { .. } | WeightMap::Unchanged => None,
    }
}

/// A weight, per tensor or per channel, and the function of the library that it takes.
pub(crate) fn weight(channels: &[Affine], dtype: DType, axis: Option<usize>) -> (Wrap, Option<Function>) {
    match (channels, axis) {
        ([affine], None) => per_tensor(*affine, weight_ends(affine.grid()), Some(dtype)),
        (channels, axis) => per_channel(channels, axis.unwrap_or(0), dtype),
    }
}

/// An activation: one scale. `dtype` is the element type where it is known; the op computes in float32.
pub(crate) fn activation(affine: Affine, dtype: Option<DType>) -> (Wrap, Option<Function>) {
    let grid = affine.grid();
    per_tensor(affine, (grid.quant_min(), grid.quant_max()), dtype)
}

fn per_tensor(affine: Affine, (low, high): (i32, i32), dtype: Option<DType>) -> (Wrap, Option<Function>) {
    let (callee, function) = callee("torch.fake_quantize_per_tensor_affine", Function::PerTensor, dtype);
    let wrap = Wrap::Call {
        before: format!("{callee}("),
        after: format!(", {}, {}, {low}, {high})", number(affine.scale()), affine.zero_point()),
        tensors: Vec::new(),
    };
    (wrap, function)
}

/// One scale per index of `axis`.
fn per_channel(channels: &[Affine], axis: usize, dtype: DType) -> (Wrap, Option<Function>) {
    let (callee, function) = callee("torch.fake_quantize_per_channel_affine", Function::PerChannel, Some(dtype));
    // The scales change their type with the model, and the op wants float32.
    let scale = if function.is_some() { "{scale}" } else { "torch.to({scale}, 6)" };
    let (low, high) = channels.first().map_or((0, 0), |affine| weight_ends(affine.grid()));
    let scales: Vec<f32> = channels.iter().map(|affine| affine.scale()).collect();
    let zero_points: Vec<i32> = channels.iter().map(|affine| affine.zero_point()).collect();
    let shape = vec![channels.len() as u64];
    let wrap = Wrap::Call {
        before: format!("{callee}("),
        after: format!(", {scale}, {{zero_point}}, {axis}, {low}, {high})"),
        tensors: vec![
            ("scale", NewTensor::f32s(shape.clone(), &scales)),
            ("zero_point", NewTensor::i32s(shape, &zero_points)),
        ],
    };
    (wrap, function)
}

/// The ends of a weight's grid as the op is told. The narrow grid of 8 bits becomes the whole one, which ONNX knows; its lowest code is never
/// reached, because the scale maps the largest absolute value to the highest code. An activation can lie beyond its range and would reach it.
pub(crate) fn weight_ends(grid: Grid) -> (i32, i32) {
    match (grid.quant_min(), grid.quant_max()) {
        (-127, 127) => (-128, 127),
        ends => ends,
    }
}

/// torch's op, or a function around it that computes in float32 and gives what it got the type of.
fn callee(op: &str, function: Function, dtype: Option<DType>) -> (String, Option<Function>) {
    match dtype {
        None | Some(DType::F32) => (op.to_owned(), None),
        Some(_) => (function.qualified(), Some(function)),
    }
}

/// A float32 as a number that reads back as the same one.
pub(crate) fn number(value: f32) -> String {
    format!("{:?}", f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_point_or_an_exponent() {
        assert_eq!(number(0.5), "0.5");
        assert_eq!(number(1.0), "1.0");
        assert_eq!(number(f32::MIN_POSITIVE), "1.1754943508222875e-38");
        assert_eq!(number(0.1), "0.10000000149011612");
    }

    #[test]
    fn half_weights_are_computed_in_float32() {
        let affine = Affine::from_parts(0.5, 0, Grid::signed_narrow(8).unwrap()).unwrap();
        let (Wrap::Call { before, after, .. }, function) = weight(&[affine], DType::F16, None) else { unreachable!() };
        assert_eq!(before, "__torch__.torch_adapter.per_tensor(");
        assert_eq!(after, ", 0.5, 0, -128, 127)");
        assert_eq!(function, Some(Function::PerTensor));
    }
}
