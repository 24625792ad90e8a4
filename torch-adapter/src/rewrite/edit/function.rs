//! The functions of the library, as TorchScript source: what needs no state.

use crate::find::injected::Function;

impl Function {
    /// The function's source.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::PerTensor => PER_TENSOR,
            Self::PerChannel => PER_CHANNEL,
            Self::Copy => COPY_TEXT,
            Self::Halves => HALVES_TEXT,
            Self::Quarters => QUARTERS_TEXT,
            Self::LeastWidth => LEAST_WIDTH,
            Self::Weight => DOREFA_WEIGHT,
            Self::Sign => DOREFA_SIGN,
            Self::Activation => DOREFA_ACTIVATION,
        }
    }
}

/// Computed in float32, whatever the type of the weight is by now.
const PER_TENSOR: &str = "def per_tensor(x: Tensor,
    scale: float,
    zero_point: int,
    quant_min: int,
    quant_max: int) -> Tensor:
  quantized = torch.fake_quantize_per_tensor_affine(torch.to(x, 6), scale, zero_point, quant_min, quant_max)
  return torch.type_as(quantized, x)
";

/// As [`PER_TENSOR`]; scales change their type with the model, and the op wants float32.
const PER_CHANNEL: &str = "def per_channel(x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int) -> Tensor:
  _0 = torch.to(scale, 6)
  quantized = torch.fake_quantize_per_channel_affine(torch.to(x, 6), _0, zero_point, axis, quant_min, quant_max)
  return torch.type_as(quantized, x)
";

/// The name of [`crate::find::injected::COPY`]: other readers of `x` have it as it is.
const COPY_TEXT: &str = "def quantized(x: Tensor,
    values: Tensor) -> Tensor:
  return torch.type_as(values, x)
";

/// `quant_math::weights::Storage::HALVES`, in the memory order of the weight; what the last byte has too many is in no place of it.
const HALVES_TEXT: &str = "def halves(codes: Tensor,
    sizes: List[int],
    strides: List[int]) -> Tensor:
  each = torch.stack([torch.bitwise_and(codes, 15), torch.__rshift__(codes, 4)], 1)
  return torch.as_strided(each, sizes, strides, 0)
";

/// The same for `quant_math::weights::Storage::QUARTERS`.
const QUARTERS_TEXT: &str = "def quarters(codes: Tensor,
    sizes: List[int],
    strides: List[int]) -> Tensor:
  _0 = torch.bitwise_and(codes, 3)
  _1 = torch.bitwise_and(torch.__rshift__(codes, 2), 3)
  _2 = torch.bitwise_and(torch.__rshift__(codes, 4), 3)
  each = torch.stack([_0, _1, _2, torch.__rshift__(codes, 6)], 1)
  return torch.as_strided(each, sizes, strides, 0)
";

/// `quant_math::weights::Biases`, for ranges of so many steps. Groups share the channels of a transposed convolution's weight.
const LEAST_WIDTH: &str = "def least_width(width: Tensor,
    bias: Optional[Tensor],
    steps: int) -> Tensor:
  if torch.__isnot__(bias, None):
    added = torch.abs(torch.to(torch.detach(unchecked_cast(Tensor, bias)), 6))
    size, _0 = torch.max(torch.reshape(added, [-1, torch.size(width, 0)]), 0)
    widest = torch.max(width)
    share = torch.mul(widest, 0.00390625)
    limit = torch.where(torch.gt(widest, 0), share, torch.mul(torch.ones_like(share), 3.4028234663852886e+38))
    least = torch.minimum(torch.mul(size, torch.mul(1.52587890625e-05, steps)), limit)
  else:
    least = torch.zeros_like(width)
  return least
";

/// Equation 9 of DoReFa-Net; rounding is straight-through, everything else is differentiated. All-zero weights stay.
///
/// TorchScript has gradient formulas of its own for tanh and for the division by a tensor, ulps away from those of eager PyTorch (seen in 1.13). It has none for
/// the forms that write in place, so these have eager's gradients, bit for bit.
const DOREFA_WEIGHT: &str = "def dorefa_weight(x: Tensor,
    levels: int) -> Tensor:
  real = torch.to(x, 6)
  squashed = torch.tanh_(torch.clone(real))
  most = torch.max(torch.abs(squashed))
  some = torch.gt(most, 0)
  divisor = torch.mul(torch.where(some, most, torch.ones_like(most)), 2)
  level = torch.mul(torch.add(torch.true_divide_(torch.clone(squashed), divisor), 0.5), levels)
  code = torch.add(level, torch.detach(torch.sub(torch.round(level), level)))
  quantized = torch.sub(torch.mul(torch.true_divide(code, levels), 2), 1)
  return torch.where(some, torch.type_as(quantized, x), x)
";

/// Section 2.3 of DoReFa-Net, one bit: `sign(w)·E|w|` with sign(0) = 1; the gradient passes unchanged.
const DOREFA_SIGN: &str = "def dorefa_sign(x: Tensor) -> Tensor:
  real = torch.to(x, 6)
  fixed = torch.detach(real)
  size = torch.mean(torch.abs(fixed))
  signed = torch.where(torch.lt(fixed, 0), torch.neg(size), size)
  quantized = torch.add(signed, torch.sub(real, fixed))
  return torch.type_as(quantized, x)
";

/// `quantize_k(clip(x, 0, 1))` (equation 11 and section 2.4 of DoReFa-Net).
const DOREFA_ACTIVATION: &str = "def dorefa_activation(x: Tensor,
    levels: int) -> Tensor:
  level = torch.mul(torch.clamp(torch.to(x, 6), 0, 1), levels)
  code = torch.add(level, torch.detach(torch.sub(torch.round(level), level)))
  return torch.type_as(torch.true_divide(code, levels), x)
";

#[cfg(test)]
mod tests {
    use quant_math::weights::{LEAST_OF_BIAS, LEAST_OF_LARGEST};

    use super::*;

    #[test]
    fn the_least_width_has_the_parts_of_the_reference() {
        for (number, expected) in [("0.00390625", LEAST_OF_LARGEST), ("1.52587890625e-05", LEAST_OF_BIAS)] {
            assert!(LEAST_WIDTH.contains(number));
            assert_eq!(number.parse(), Ok(f64::from(expected)));
        }
    }
}
