//! Calls of torch's fake-quantization ops with constants.

use quant_math::{Affine, DType, Grid};

use super::editor::Wrap;
use super::value::{NewTensor, scalar_code};

/// A weight, per tensor or per channel.
pub(super) fn weight(channels: &[Affine], dtype: DType, axis: Option<usize>) -> Wrap {
    match (channels, axis) {
        ([affine], None) => per_tensor(*affine, weight_ends(affine.grid()), Some(dtype)),
        (channels, axis) => per_channel(channels, axis.unwrap_or(0), dtype),
    }
}

/// An activation: one scale. `dtype` is the element type where it is known; the op computes in float32.
pub(super) fn activation(affine: Affine, dtype: Option<DType>) -> Wrap {
    let grid = affine.grid();
    per_tensor(affine, (grid.quant_min(), grid.quant_max()), dtype)
}

fn per_tensor(affine: Affine, (low, high): (i32, i32), dtype: Option<DType>) -> Wrap {
    let (before, after) = conversions(dtype);
    Wrap::Call {
        before: format!("{}torch.fake_quantize_per_tensor_affine({}", before.0, before.1),
        after: format!("{}, {}, {}, {low}, {high}){}", after.0, number(affine.scale()), affine.zero_point(), after.1),
        tensors: Vec::new(),
    }
}

/// One scale per index of `axis`.
fn per_channel(channels: &[Affine], axis: usize, dtype: DType) -> Wrap {
    let (before, after) = conversions(Some(dtype));
    let (low, high) = channels.first().map_or((0, 0), |affine| weight_ends(affine.grid()));
    let scales: Vec<f32> = channels.iter().map(|affine| affine.scale()).collect();
    let zero_points: Vec<i32> = channels.iter().map(|affine| affine.zero_point()).collect();
    let shape = vec![channels.len() as u64];
    Wrap::Call {
        before: format!("{}torch.fake_quantize_per_channel_affine({}", before.0, before.1),
        after: format!("{}, {{scale}}, {{zero_point}}, {axis}, {low}, {high}){}", after.0, after.1),
        tensors: vec![
            ("scale", NewTensor::f32s(shape.clone(), &scales)),
            ("zero_point", NewTensor::i32s(shape, &zero_points)),
        ],
    }
}

/// The ends of a weight's grid as the op is told. The narrow grid of 8 bits becomes the whole one, which ONNX knows; its lowest code is never
/// reached, because the scale maps the largest absolute value to the highest code. An activation can lie beyond its range and would reach it.
pub(super) fn weight_ends(grid: Grid) -> (i32, i32) {
    match (grid.quant_min(), grid.quant_max()) {
        (-127, 127) => (-128, 127),
        ends => ends,
    }
}

/// Conversions to float32 and back around the call and its argument.
fn conversions(dtype: Option<DType>) -> ((&'static str, &'static str), (&'static str, String)) {
    match dtype {
        None | Some(DType::F32) => (("", ""), ("", String::new())),
        Some(other) => (("torch.to(", "torch.to("), (", 6)", format!(", {})", scalar_code(other)))),
    }
}

/// A float32 as a number that reads back as the same one.
pub(super) fn number(value: f32) -> String {
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
        let Wrap::Call { before, after, .. } = weight(&[affine], DType::F16, None) else { unreachable!() };
        assert_eq!(before, "torch.to(torch.fake_quantize_per_tensor_affine(torch.to(");
        assert_eq!(after, ", 6), 0.5, 0, -128, 127), 5)");
    }
}
