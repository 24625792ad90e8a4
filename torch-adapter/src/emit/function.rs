//! The functions of the library, as TorchScript source: what needs no state.

use super::library::MODULE;
use crate::sites::COPY;

/// A function, which has no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Function {
    /// Constants of one scale, for weights that are not float32.
    PerTensor,
    /// Constants of one scale per channel, for weights that are not float32.
    PerChannel,
    /// Values from elsewhere in the place of a weight.
    Copy,
    /// DoReFa, weights, 2 to 8 bits.
    Weight,
    /// DoReFa, weights, 1 bit.
    Sign,
    /// DoReFa, activations.
    Activation,
}

impl Function {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::PerTensor, Self::PerChannel, Self::Copy, Self::Weight, Self::Sign, Self::Activation];

    /// The last part of the name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PerTensor => "per_tensor",
            Self::PerChannel => "per_channel",
            Self::Copy => "quantized",
            Self::Weight => "dorefa_weight",
            Self::Sign => "dorefa_sign",
            Self::Activation => "dorefa_activation",
        }
    }

    /// The qualified name.
    pub(crate) fn qualified(self) -> String {
        if self == Self::Copy { COPY.to_owned() } else { format!("{MODULE}.{}", self.name()) }
    }

    /// The function's source.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::PerTensor => PER_TENSOR,
            Self::PerChannel => PER_CHANNEL,
            Self::Copy => COPY_TEXT,
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

/// The name of [`crate::sites::COPY`]: other readers of `x` have it as it is.
const COPY_TEXT: &str = "def quantized(x: Tensor,
    values: Tensor) -> Tensor:
  return torch.type_as(values, x)
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
