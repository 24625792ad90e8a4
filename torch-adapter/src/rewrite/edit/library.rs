//! The classes that `training` and calibration put into an archive, as TorchScript source.
//!
//! They call nothing but `aten` ops that PyTorch 1.13 and 2.x both have, and none that raises the archive's version. Ranges
//! and scales are those of torch's observers (1.13, `MovingAverageMinMaxObserver`), their floor of 2^−23 included. Everything that the text does not
//! say stands in attributes, so that one class serves every number of bits.
//!
//! A step counter counts the training passes of its site. The site is quantized in the pass with number `n`, from 0, if
//! `n ≥ start`; in evaluation, if the next training pass would be. There is no branch on a tensor, so nothing waits for a device.
//!
//! A pass is a call of the model, however often it calls a site: the model numbers its passes in an object that it shares with all
//! quantizers. Where a part of the model is called alone, nothing is numbered, and each call of a site is a pass.

use std::collections::BTreeSet;

use crate::find::injected::{Class, Function, PASSES};
use crate::find::mark::SITE;
use crate::torchscript::code::SourceFile;

/// The record that holds them.
pub(crate) const RECORD: &str = "code/__torch__/torch_adapter.py";

impl Class {
    fn body(self) -> String {
        match self {
            Self::WeightSymmetric => format!("{COUNT}{TENSOR_MAX_ABS}{SYMMETRIC}{WEIGHT_PER_TENSOR}"),
            Self::WeightSymmetricPerChannel => {
                format!("{COUNT}{CHANNEL_MAX_ABS}{LEAST_MAX_ABS}{SYMMETRIC}{WEIGHT_PER_CHANNEL}")
            }
            Self::WeightAffine => format!("{COUNT}{TENSOR_RANGE}{AFFINE}{AFFINE_PER_TENSOR}"),
            Self::WeightAffinePerChannel => {
                format!("{COUNT}{CHANNEL_RANGE}{LEAST_RANGE}{AFFINE}{AFFINE_PER_CHANNEL}")
            }
            Self::RangeAffine => format!("{OBSERVE}{OBSERVED_RANGE}{AFFINE}{RANGE_AFFINE}"),
            Self::RangeSymmetric => format!("{OBSERVE}{OBSERVED_RANGE}{OBSERVED_MAX_ABS}{SYMMETRIC}{RANGE_SYMMETRIC}"),
            Self::DoReFaWeight | Self::DoReFaActivation | Self::DoReFaSign => {
                let name = self.calls().map_or_else(String::new, Function::qualified);
                let levels = if self == Self::DoReFaSign { "" } else { "self.levels, " };
                format!("    return {name}(x, {levels})\n")
            }
            Self::LsqWeight => lsq(TENSOR_MEAN_ABS, &format!("{TENSOR_COUNT}{STEP}{STEP_PER_TENSOR}")),
            Self::LsqWeightPerChannel => lsq(CHANNEL_MEAN_ABS, &format!("{CHANNEL_COUNT}{STEP}{STEP_PER_CHANNEL}")),
            Self::LsqActivation => lsq(TENSOR_MEAN_ABS, &format!("{SAMPLE_COUNT}{STEP}{STEP_PER_TENSOR}")),
            Self::ObserveMinMax => format!("{LOOK}{WIDEN}{LOOKED}"),
            Self::ObserveEma => format!("{LOOK}{AVERAGE}{LOOKED}"),
            Self::ObserveHistogram => format!("{LOOK}{WIDEN}{COUNT_VALUES}{LOOKED}"),
        }
    }

    /// The class's source.
    pub(crate) fn text(self) -> String {
        let list = |names: &[&str]| names.iter().flat_map(|name| ["\"", name, "\", "]).collect::<String>();
        let lists = format!("[{}]\n  __buffers__ = [{}]", list(self.parameters()), list(self.buffers()));
        let tensors = self.parameters().iter().chain(self.buffers());
        let tensors: String = tensors.flat_map(|name| ["  ", name, " : Tensor\n"]).collect();
        let settings: String = self.settings().iter().flat_map(|(name, ty)| ["  ", name, " : ", ty, "\n"]).collect();
        let passes = if self.counts() { format!("  passes : {PASSES}\n  last : int\n") } else { String::new() };
        format!(
            "class {}(Module):\n  __parameters__ = {lists}\n{tensors}  training : bool\n{settings}  {SITE} : str\n{passes}  \
             def forward(self: {},\n    x: Tensor{}) -> Tensor:\n{}",
            self.name(),
            self.qualified(),
            if self.takes_bias() { ",\n    bias: Optional[Tensor]" } else { "" },
            self.body()
        )
    }
}

const PASSES_TEXT: &str = "class Passes(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  number : int
  def forward(self: __torch__.torch_adapter.Passes) -> NoneType:
    if self.training:
      self.number = torch.add(self.number, 1)
    else:
      pass
    return None
";

/// Weights: whether the site has begun, and one step further.
const COUNT: &str = "    number = self.passes.number
    if self.training:
      if torch.__or__(torch.eq(number, 0), torch.ne(number, self.last)):
        _0 = torch.add_(self.step, 1)
        self.last = number
      else:
        pass
      begun = torch.gt(self.step, self.start)
    else:
      begun = torch.ge(self.step, self.start)
    real = torch.to(x, 6)
";

const TENSOR_MAX_ABS: &str = "    most = torch.max(torch.abs(torch.detach(real)))
";

const CHANNEL_MAX_ABS: &str = "    rows = torch.flatten(torch.transpose(torch.detach(real), 0, self.axis), 1)
    most, _1 = torch.max(torch.abs(rows), 1)
";

const LEAST_MAX_ABS: &str =
    "    most = torch.maximum(most, __torch__.torch_adapter.least_width(most, bias, self.quant_max))
";

/// Detached: the executor without profiles takes what it computes for something that wants a gradient, and there is none for a scale.
const SYMMETRIC: &str = "    _3 = torch.clamp_min(torch.true_divide(most, self.quant_max), 1.1920928955078125e-07)
    scale = torch.detach(_3)
    zero_point = torch.to(torch.zeros_like(scale), 3)
";

const TENSOR_RANGE: &str = "    low = torch.clamp_max(torch.min(torch.detach(real)), 0)
    high = torch.clamp_min(torch.max(torch.detach(real)), 0)
";

const CHANNEL_RANGE: &str = "    rows = torch.flatten(torch.transpose(torch.detach(real), 0, self.axis), 1)
    least, _1 = torch.min(rows, 1)
    most, _2 = torch.max(rows, 1)
    low = torch.clamp_max(least, 0)
    high = torch.clamp_min(most, 0)
";

const LEAST_RANGE: &str =
    "    least_width = __torch__.torch_adapter.least_width(torch.sub(high, low), bias, self.quant_max)
    high = torch.maximum(high, torch.add(low, least_width))
";

/// Detached as in [`SYMMETRIC`].
const AFFINE: &str =
    "    _3 = torch.clamp_min(torch.true_divide(torch.sub(high, low), self.quant_max), 1.1920928955078125e-07)
    scale = torch.detach(_3)
    steps = torch.neg(torch.round(torch.true_divide(low, scale)))
    zero_point = torch.to(torch.clamp(steps, 0, self.quant_max), 3)
";

const WEIGHT_PER_TENSOR: &str =
    "    quantized = torch.fake_quantize_per_tensor_affine(real, scale, zero_point, self.quant_min, self.quant_max)
    return torch.where(begun, torch.type_as(quantized, x), x)
";

const WEIGHT_PER_CHANNEL: &str =
    "    quantized = torch.fake_quantize_per_channel_affine(real, scale, zero_point, self.axis, self.quant_min, self.quant_max)
    return torch.where(begun, torch.type_as(quantized, x), x)
";

const AFFINE_PER_TENSOR: &str =
    "    quantized = torch.fake_quantize_per_tensor_affine(real, scale, zero_point, 0, self.quant_max)
    return torch.where(begun, torch.type_as(quantized, x), x)
";

const AFFINE_PER_CHANNEL: &str =
    "    quantized = torch.fake_quantize_per_channel_affine(real, scale, zero_point, self.axis, 0, self.quant_max)
    return torch.where(begun, torch.type_as(quantized, x), x)
";

/// Activations: the first call sets the range, later ones move it. A tensor without elements has no smallest one.
const OBSERVE: &str = "    number = self.passes.number
    real = torch.to(x, 6)
    seen = torch.detach(real)
    if self.training:
      if torch.gt(torch.numel(seen), 0):
        least = torch.min(seen)
        most = torch.max(seen)
        first = torch.eq(self.step, 0)
        if self.widest:
          lower = torch.minimum(self.min, least)
          upper = torch.maximum(self.max, most)
        else:
          lower = torch.add(self.min, torch.mul(torch.sub(least, self.min), self.rate))
          upper = torch.add(self.max, torch.mul(torch.sub(most, self.max), self.rate))
        _0 = torch.copy_(self.min, torch.where(first, least, lower))
        _1 = torch.copy_(self.max, torch.where(first, most, upper))
        if torch.__or__(torch.eq(number, 0), torch.ne(number, self.last)):
          _2 = torch.add_(self.step, 1)
          self.last = number
        else:
          pass
      else:
        pass
      begun = torch.gt(self.step, self.start)
    else:
      begun = torch.ge(self.step, self.start)
    on = torch.logical_and(begun, torch.gt(self.step, 0))
";

const OBSERVED_RANGE: &str = "    low = torch.clamp_max(torch.to(self.min, 6), 0)
    high = torch.clamp_min(torch.to(self.max, 6), 0)
";

const OBSERVED_MAX_ABS: &str = "    most = torch.maximum(torch.neg(low), high)
";

const RANGE_AFFINE: &str =
    "    quantized = torch.fake_quantize_per_tensor_affine(real, scale, zero_point, 0, self.quant_max)
    return torch.where(on, torch.type_as(quantized, x), x)
";

const RANGE_SYMMETRIC: &str =
    "    quantized = torch.fake_quantize_per_tensor_affine(real, scale, zero_point, self.quant_min, self.quant_max)
    return torch.where(on, torch.type_as(quantized, x), x)
";

const OBSERVED_TEXT: &str = "class Observed(Module):
  __parameters__ = []
  __buffers__ = [\"samples\", ]
  samples : Tensor
  training : bool
  source : str
  def forward(self: __torch__.torch_adapter.Observed,
    x: Tensor) -> NoneType:
    _0 = torch.add_(self.samples, torch.size(torch.atleast_1d(x), 0))
    return None
";

/// Calibration: what a call of the site shows, in any mode. A tensor without elements shows nothing.
const LOOK: &str = "    real = torch.to(torch.detach(x), 6)
    if torch.gt(torch.numel(real), 0):
      least, most = torch.aminmax(real)
";

const LOOKED: &str = "      _9 = torch.add_(self.batches, 1)
    else:
      pass
    return x
";

const WIDEN: &str = "      _0 = torch.copy_(self.min, torch.minimum(self.min, least))
      _1 = torch.copy_(self.max, torch.maximum(self.max, most))
";

const AVERAGE: &str = "      if bool(torch.eq(self.batches, 0)):
        _0 = torch.copy_(self.first_min, least)
        _1 = torch.copy_(self.first_max, most)
        _2 = torch.copy_(self.min, least)
        _3 = torch.copy_(self.max, most)
      else:
        _4 = torch.copy_(self.min, torch.add(self.min, torch.mul(torch.sub(least, self.min), self.rate)))
        _5 = torch.copy_(self.max, torch.add(self.max, torch.mul(torch.sub(most, self.max), self.rate)))
";

/// The grid of `quant_math::observers::Histogram`: bins are `2^exponent` wide, and pairs of them are added up when a larger value comes. Of a
/// tensor with at least `4 · most` values, where that is not 0, every so many are counted, `most` or more; an odd number, since sizes seldom are one.
/// Powers are taken in float64, so that those of 2 are exact once they are float32.
const COUNT_VALUES: &str =
    "      magnitude = torch.clamp(torch.maximum(torch.neg(self.min), self.max), 1.1754943508222875e-38, 3.4028234663852886e+38)
      _2, power = torch.frexp(magnitude)
      exponent = torch.clamp_min(torch.sub(power, 11), -126)
      if bool(torch.gt(exponent, self.exponent)):
        bins = torch.sub(torch.cumsum(torch.ones_like(self.counts), 0), 2048)
        narrower = torch.pow(2., torch.to(torch.sub(self.exponent, exponent), 7))
        places = torch.add(torch.to(torch.mul(torch.to(bins, 7), narrower), 4), 2047)
        _3 = torch.copy_(self.counts, torch.index_add(torch.zeros_like(self.counts), 0, places, self.counts))
        _4 = torch.copy_(self.exponent, exponent)
      else:
        pass
      every = 1
      if torch.gt(self.most, 0):
        every = torch.__or__(torch.floordiv(torch.numel(real), torch.mul(self.most, 2)), 1)
      else:
        pass
      counted = torch.slice(torch.flatten(real), 0, 0, 9223372036854775807, every)
      scale = torch.to(torch.pow(2., torch.to(torch.neg(self.exponent), 7)), 6)
      found = torch.clamp_(torch.add_(torch.to(torch.mul(counted, scale), 3), 2047), 0, 4094)
      _5 = torch.add_(self.counts, torch.bincount(found, None, 4095))
";

/// LSQ: `mean` says from which mean the first step is made, `rest` what follows when the step is known.
fn lsq(mean: &str, rest: &str) -> String {
    format!("{FIXED}{mean}{FIRST_STEP}{rest}{LEARNT}")
}

const FIXED: &str = "    real = torch.to(x, 6)
    fixed = torch.detach(real)
    stored = ops.prim.data(self.step)
    if self.training:
      if torch.gt(torch.numel(fixed), 0):
";

const TENSOR_MEAN_ABS: &str = "        mean = torch.mean(torch.abs(fixed))
";

const CHANNEL_MEAN_ABS: &str = "        rows = torch.flatten(torch.transpose(fixed, 0, self.axis), 1)
        mean = torch.mean(torch.abs(rows), [1])
";

/// The step is set before it is used, and where training drove it out of the positive normal numbers. It is written in every pass, so that
/// nothing waits for a device; autograd keeps nothing of it but copies, so that it may be written between a pass and its gradient. It is
/// written as `data`: PyTorch 1.13 ends with a segmentation fault when `torch.jit.freeze` meets a write into what `detach` gives.
const FIRST_STEP: &str = "        known = torch.to(stored, 6)
        is_set = torch.eq(torch.clamp(known, 1.1754943508222875e-38, 3.4028234663852886e+38), known)
        _0 = torch.copy_(stored, torch.where(is_set, known, torch.mul(mean, self.first)))
      else:
        pass
    else:
      pass
";

const TENSOR_COUNT: &str = "    count = torch.numel(fixed)
";

const CHANNEL_COUNT: &str = "    count = torch.numel(torch.select(fixed, self.axis, 0))
";

/// The features of a sample; samples lie along the first axis.
const SAMPLE_COUNT: &str = "    count = torch.numel(torch.slice(torch.atleast_1d(fixed), 0, 0, 1))
";

/// Where there is no step, everything is computed with 1, so that gradients that count for nothing stay finite. Detached as in [`SYMMETRIC`].
const STEP: &str = "    now = torch.detach(torch.to(torch.clone(stored), 6))
    begun = torch.eq(torch.clamp(now, 1.1754943508222875e-38, 3.4028234663852886e+38), now)
    one = torch.ones_like(now)
    step = torch.detach(torch.where(begun, now, one))
    root = torch.sqrt(torch.clamp_min(torch.mul(torch.mul(one, count), self.quant_max), 1))
    free = torch.mul(torch.sub(torch.to(self.step, 6), now), torch.detach(torch.true_divide(one, root)))
    zero_point = torch.to(torch.zeros_like(step), 3)
";

const STEP_PER_TENSOR: &str =
    "    quantized = torch.fake_quantize_per_tensor_affine(fixed, step, zero_point, self.quant_min, self.quant_max)
";

const STEP_PER_CHANNEL: &str =
    "    quantized = torch.fake_quantize_per_channel_affine(fixed, step, zero_point, self.axis, self.quant_min, self.quant_max)
    sizes = torch.mul([1], torch.dim(fixed))
    _1 = torch._set_item(sizes, self.axis, -1)
    step = torch.reshape(step, sizes)
    free = torch.reshape(free, sizes)
    begun = torch.reshape(begun, sizes)
";

/// Equations 3 and 5, each as the gradient of something that is 0: `through` hands on what lies on the grid, its ends included, and the
/// product of `free` and `slope` pulls at the step. No gradient goes through a division, for which TorchScript has formulas of its own.
const LEARNT: &str = "    values = torch.detach(quantized)
    ratio = torch.true_divide(fixed, step)
    inside = torch.eq(torch.clamp(ratio, self.quant_min, self.quant_max), ratio)
    code = torch.round(torch.true_divide(values, step))
    slope = torch.detach(torch.where(inside, torch.sub(code, ratio), code))
    through = torch.where(inside, torch.sub(real, fixed), torch.zeros_like(fixed))
    learnt = torch.add(values, torch.add(through, torch.mul(free, slope)))
    return torch.where(begun, torch.type_as(learnt, x), x)
";

/// What a model's code uses of the library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Classes.
    pub(crate) classes: BTreeSet<Class>,
    /// Functions.
    pub(crate) functions: BTreeSet<Function>,
    /// Whether passes are numbered.
    passes: bool,
    /// Whether samples are counted.
    samples: bool,
}

impl Used {
    /// Use a class, and what it calls.
    pub(crate) fn class(&mut self, class: Class) {
        self.classes.insert(class);
        self.functions.extend(class.calls());
        self.passes |= class.counts();
        self.samples |= class.observes();
    }

    /// Whether passes are numbered.
    pub(crate) fn counts(&self) -> bool {
        self.passes
    }

    /// Whether nothing is used.
    pub(crate) fn is_empty(&self) -> bool {
        self.classes.is_empty() && self.functions.is_empty() && !self.passes && !self.samples
    }

    /// Take out what a file holds already.
    pub(crate) fn without(&mut self, file: &SourceFile) {
        self.classes.retain(|class| file.classes.iter().all(|known| known.name != class.name()));
        self.functions.retain(|function| file.functions.iter().all(|known| known.name != function.name()));
        self.passes &= file.classes.iter().all(|known| PASSES.rsplit('.').next() != Some(known.name.as_str()));
    }

    /// The source of a file with everything that is used.
    pub(crate) fn source(&self) -> String {
        let functions = self.functions.iter().map(|function| function.text().to_owned());
        let passes = self.passes.then(|| PASSES_TEXT.to_owned());
        let samples = self.samples.then(|| OBSERVED_TEXT.to_owned());
        passes
            .into_iter()
            .chain(samples)
            .chain(self.classes.iter().map(|class| class.text()))
            .chain(functions)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find::injected::MODULE;
    use crate::torchscript::code::parse;

    #[test]
    fn every_class_is_source_that_this_crate_reads() {
        let mut used = Used::default();
        for class in Class::ALL {
            used.class(class);
        }
        used.functions.extend(Function::ALL);
        let text = used.source();
        let file = parse(&text).unwrap();
        assert_eq!((file.classes.len(), file.functions.len()), (Class::ALL.len() + 2, Function::ALL.len()));
        for function in Function::ALL {
            assert_eq!(function.qualified(), format!("{MODULE}.{}", function.name()));
        }
        for class in file.classes.iter().filter(|class| !matches!(class.name.as_str(), "Passes" | "Observed")) {
            let declared: Vec<_> = class.attributes.iter().map(|a| a.name.as_str()).collect();
            for listed in [&class.parameters, &class.buffers].into_iter().flat_map(|list| &list.as_ref().unwrap().names)
            {
                assert!(declared.contains(&listed.as_str()), "{listed} of {}", class.name);
            }
            assert_eq!(Class::of(&format!("{MODULE}.{}", class.name)).unwrap().name(), class.name);
        }
        // What raises the archive's version, and what reaches outside.
        let text = text.replace("ops.prim.data(", "");
        for forbidden in
            ["torch.div(", "torch.full(", "linspace", "logspace", "gelu", "torch.save", "from_file", "ops."]
        {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }
}
