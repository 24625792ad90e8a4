//! The words of a plan: what is quantized by whom, in which form, and everything that decides how.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::quantizers::table::StepSource;

/// A quantizer by its NNI name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Quantizer {
    /// Weights, symmetric, from their largest absolute value.
    Naive,
    /// Quantization-aware training after Jacob et al. 2018.
    Qat,
    /// DoReFa-Net after Zhou et al. 2016.
    #[serde(rename = "dorefa")]
    DoReFa,
    /// Learned step size quantization after Esser et al. 2020.
    Lsq,
}

impl fmt::Display for Quantizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Emit {
    /// Live ranges, straight-through gradients, start step.
    Training,
    /// Fake-quant ops with constant ranges.
    Inference,
    /// Weights replaced by their quantized values, no new ops.
    Baked,
    /// Weights stored as integer codes, dequantized by stock ops.
    Packed,
}

impl fmt::Display for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Inference => "inference",
            Self::Baked => "baked",
            Self::Packed => "packed",
        })
    }
}

/// Which tensor of an op: NNI's `quant_types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum QuantType {
    /// The op's trained parameter.
    Weight,
    /// A tensor that the op reads.
    Input,
    /// The tensor that the op makes.
    Output,
    /// The gradient that arrives at the op's output.
    Gradient,
}

impl fmt::Display for QuantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight => "weight",
            Self::Input => "input",
            Self::Output => "output",
            Self::Gradient => "gradient",
        })
    }
}

/// How a real number becomes an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// To the nearest integer, ties to even.
    #[default]
    Nearest,
    /// Toward zero, as NNI's Naive quantizer casts.
    Truncate,
    /// So that what the layer makes is kept, on the data of its [`moments`](crate::moments): [`reconstruct`](crate::reconstruct). The weight
    /// that comes of it is rounded to nearest.
    Reconstruct,
}

/// How calibration turns data into a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Observer {
    /// Smallest and largest value.
    #[default]
    MinMax,
    /// Exponential moving average of each batch's smallest and largest value.
    Ema,
    /// Ends that leave out the outermost values.
    Percentile,
    /// The clip with the least Kullback-Leibler divergence.
    Entropy,
    /// The clip with the least squared error.
    Mse,
}

impl fmt::Display for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MinMax => "minmax",
            Self::Ema => "ema",
            Self::Percentile => "percentile",
            Self::Entropy => "entropy",
            Self::Mse => "mse",
        })
    }
}

/// How a training graph lets gradients pass its rounding. The gradients are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Gradient {
    /// By the gradient that Python's TensorFlow has for its fake-quant ops.
    #[default]
    Op,
    /// By ops that TensorFlow's C API can differentiate too, around a fake-quant op that no gradient enters.
    Composed,
}

impl Gradient {
    /// Whether it is the default.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything that decides how one site is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The quantizer.
    pub quantizer: Quantizer,
    /// Bits of a code.
    pub bits: u32,
    /// Zero point fixed to 0 on the signed narrow grid; else affine on the unsigned grid. LSQ: the signed grid, else the unsigned one; 0 is 0.
    pub symmetric: bool,
    /// One scale per channel along this axis of the op's weight; `None`: one for the tensor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub channel_axis: Option<usize>,
    /// Rounding of a weight.
    #[serde(default)]
    pub rounding: Rounding,
    /// QAT: the training step from which on this site is quantized.
    #[serde(default)]
    pub quant_start_step: u64,
    /// QAT: the decay of a range's moving average.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ema_decay: Option<f64>,
    /// Calibration's observer.
    #[serde(default)]
    pub observer: Observer,
    /// DoReFa: the seed of the gradient noise.
    #[serde(default)]
    pub seed: u64,
    /// The entry of the `config_list` that decided.
    #[serde(default)]
    pub entry: usize,
}

impl Settings {
    /// `quantizer` with `bits`, symmetric and per tensor, and the defaults of every other key.
    pub fn new(quantizer: Quantizer, bits: u32) -> Self {
        Self {
            quantizer,
            bits,
            symmetric: true,
            channel_axis: None,
            rounding: Rounding::Nearest,
            quant_start_step: 0,
            ema_decay: None,
            observer: Observer::MinMax,
            seed: 0,
            entry: 0,
        }
    }

    /// What is done, in the words of the `config_list`: the text of a mark.
    pub fn in_words(&self) -> String {
        let granularity = if self.channel_axis.is_some() { "per channel" } else { "per tensor" };
        format!("{} {} bits {granularity}", self.quantizer, self.bits)
    }

    /// Whether the tensor stays as it is: DoReFa's 32 bits.
    pub fn changes_nothing(&self) -> bool {
        self.quantizer.row().bits.beside == Some(self.bits)
    }

    /// Whether its grid leaves out the lowest code, to be symmetric about 0. LSQ's does not.
    pub fn narrow_range(&self) -> bool {
        self.symmetric && self.quantizer.row().steps == StepSource::Range
    }

    /// The highest code of its grid, at most 65,535: `2^(bits−1) − 1` on a signed grid, `2^bits − 1` on the unsigned one. More than 16 bits
    /// count as 16.
    pub fn highest_code(&self) -> f32 {
        let codes = 1u32 << self.bits.min(16);
        #[expect(clippy::cast_precision_loss, reason = "at most 65,535")]
        let highest = if self.symmetric { codes / 2 - 1 } else { codes - 1 } as f32;
        highest
    }
}
