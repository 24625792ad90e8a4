//! What can be wrong with numbers.

use std::borrow::Cow;

/// An error of the arithmetic: the data or a parameter has no quantized form.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MathError {
    /// A NaN or an infinity where finite numbers are needed.
    #[error("element {index} is {value}, expected a finite number")]
    NonFinite {
        /// Position of the first such element, in the order in which the tensor is stored.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A bit width without a meaning for this quantizer.
    #[error("{bits} bits is out of range for {what}, expected {expected}")]
    Bits {
        /// The width that was asked for.
        bits: u32,
        /// The quantizer or grid.
        what: &'static str,
        /// The widths that exist.
        expected: &'static str,
    },
    /// The grid's step or one of its ends does not fit into float32.
    #[error("range [{min:e}, {max:e}] is too wide: a grid value would overflow float32")]
    RangeOverflow {
        /// Lower end, 0 included.
        min: f32,
        /// Upper end, 0 included.
        max: f32,
    },
    /// The grid's step does not fit into float32.
    #[error("range [{min:e}, {max:e}] is too narrow: its step would be below the smallest normal float32")]
    RangeUnderflow {
        /// Lower end.
        min: f32,
        /// Upper end.
        max: f32,
    },
    /// `min > max`, or `min = max ≠ 0` where that has no step.
    #[error("range [{min:e}, {max:e}] is empty, expected min to be less than max")]
    EmptyRange {
        /// Lower end.
        min: f32,
        /// Upper end.
        max: f32,
    },
    /// A channel layout that does not fit the tensor.
    #[error("a layout of {expected} elements does not fit a tensor of {found}")]
    Layout {
        /// Product of the layout's sizes.
        expected: usize,
        /// Elements in the tensor.
        found: usize,
    },
    /// A channel axis that the tensor does not have.
    #[error("channel axis {axis} does not exist in a tensor of rank {rank}")]
    Axis {
        /// The axis.
        axis: usize,
        /// The tensor's number of dimensions.
        rank: usize,
    },
    /// Nothing to observe.
    #[error("the tensor has no elements")]
    Empty,
    /// A scale per channel where the quantizer has one for the tensor.
    #[error("{what} has one map for the tensor, found a layout of {channels} channels")]
    Granularity {
        /// The quantizer.
        what: &'static str,
        /// Channels of the layout.
        channels: usize,
    },
    /// Scale, zero point and codes that do not belong together.
    #[error("scale {scale:e} with zero point {zero_point} does not fit the codes {quant_min} to {quant_max}")]
    Parameters {
        /// Positive, finite, with a finite inverse.
        scale: f32,
        /// One of the codes.
        zero_point: i32,
        /// The lowest code.
        quant_min: i32,
        /// The highest code.
        quant_max: i32,
    },
    /// Weights with scales where DoReFa's are meant.
    #[error("the weights have a scale and a zero point, expected a map of the DoReFa quantizer")]
    NotDoReFa,
    /// A quantizer whose codes lie on no grid, where a grid is needed.
    #[error("{quantizer} has no grid of one scale, expected a quantizer that has")]
    NotAffine {
        /// The quantizer.
        quantizer: &'static str,
    },
    /// Scales that run across the inputs of an output.
    #[error("the elements of one output have several scales, expected one")]
    Channels,
    /// A decay without a moving average.
    #[error("a decay of {decay} is out of range, expected more than 0 and less than 1")]
    Decay {
        /// The decay.
        decay: f64,
    },
    /// Calibration statistics of another kind than what is to be done with them.
    #[error("the statistics are of kind {found}, expected {expected}")]
    Statistics {
        /// The kind that is there.
        found: &'static str,
        /// The kind that is needed.
        expected: &'static str,
    },
    /// Moving averages that forget at different rates.
    #[error("a moving average with decay {found} cannot join one with decay {expected}")]
    OtherDecay {
        /// Of the one that is to join.
        found: f64,
        /// Of the one that is there.
        expected: f64,
    },
    /// Counts of a histogram that contradict each other.
    #[error("a histogram contradicts itself: {message}")]
    Counts {
        /// What does not fit.
        message: &'static str,
    },
    /// A label without a class.
    #[error("label {label} of row {index} is out of range, expected 0 to less than {classes}")]
    Label {
        /// The row, from 0.
        index: usize,
        /// The label.
        label: i64,
        /// How many classes there are.
        classes: usize,
    },
    /// Counts among the first k for two k.
    #[error("counts among the first {found} cannot join counts among the first {expected}")]
    OtherK {
        /// Of the ones that are to join.
        found: usize,
        /// Of the ones that are there.
        expected: usize,
    },
    /// More elements than 64 bits count.
    #[error("more than 2^64 elements or batches")]
    CountOverflow,
    /// No integer codes of the asked size exist.
    #[error("values of {bits} bits have no integer codes of at most {expected} bits")]
    NoCodes {
        /// Bits of the values; 32 where they stay in float.
        bits: u32,
        /// The largest size that was asked for.
        expected: u32,
    },
}

impl MathError {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NonFinite { .. } => "M0101",
            Self::Bits { .. } => "M0102",
            Self::RangeOverflow { .. } => "M0103",
            Self::EmptyRange { .. } => "M0104",
            Self::RangeUnderflow { .. } => "M0110",
            Self::Layout { .. } => "M0105",
            Self::Axis { .. } => "M0106",
            Self::Empty => "M0107",
            Self::Granularity { .. } => "M0108",
            Self::NoCodes { .. } => "M0109",
            Self::Parameters { .. } => "M0111",
            Self::Decay { .. } => "M0112",
            Self::NotDoReFa => "M0113",
            Self::Statistics { .. } => "M0114",
            Self::OtherDecay { .. } => "M0115",
            Self::Counts { .. } => "M0116",
            Self::CountOverflow => "M0117",
            Self::Label { .. } => "M0118",
            Self::OtherK { .. } => "M0119",
            Self::NotAffine { .. } => "M0120",
            Self::Channels => "M0121",
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NonFinite { .. } => Some(
                "the tensor is damaged or was never trained; exclude its op with `exclude: true`, or repair the model"
                    .into(),
            ),
            Self::RangeOverflow { .. } => {
                Some("exclude the op with `exclude: true`; values near the end of float32 are rarely meant".into())
            }
            Self::Granularity { .. } => Some("leave `per_channel` out for this quantizer".into()),
            Self::NoCodes { .. } => Some("use `--emit baked`, or a width of at most 8 bits".into()),
            _ => None,
        }
    }
}
