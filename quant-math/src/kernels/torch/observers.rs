//! `torch.ao.quantization.observer`: `MinMaxObserver`, `MovingAverageMinMaxObserver` and their per-channel forms.

use super::FakeQuantize;
use crate::weights::observe_ranges;
use crate::{ChannelLayout, MathError, Range, WeightData};

/// `quint8` and `qint8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeType {
    /// 0 to 255 unless limited further.
    QUInt8,
    /// −128 to 127 unless limited further.
    QInt8,
}

/// `torch.per_tensor_affine`, `torch.per_tensor_symmetric` and their per-channel forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `s = max((p − n) / (quant_max − quant_min), eps)`, `z = clamp(quant_min − rne(n / s), quant_min, quant_max)`.
    Affine,
    /// `s = max(max(−n, p) / ((quant_max − quant_min) / 2), eps)`; z = 0 for `qint8`, for `quint8` 128, or the middle of a
    /// limited range, rounded down.
    Symmetric,
}

/// How an observer's range becomes scale and zero point (`calculate_qparams`), with eps = 2^−23.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QParams {
    scheme: Scheme,
    code_type: CodeType,
    quant_min: i32,
    quant_max: i32,
    limited: bool,
}

impl QParams {
    /// The whole range of the type, or `quant_range`: `quant_min < quant_max`, both inside −2^24..2^24.
    ///
    /// # Errors
    ///
    /// [`MathError::Parameters`] for a range that is not one.
    pub fn new(scheme: Scheme, code_type: CodeType, quant_range: Option<(i32, i32)>) -> Result<Self, MathError> {
        let whole = match code_type {
            CodeType::QUInt8 => (0, 255),
            CodeType::QInt8 => (-128, 127),
        };
        let (quant_min, quant_max) = quant_range.unwrap_or(whole);
        // A scale of 1 with the lowest code as zero point leaves the ends as the only thing that can be wrong.
        FakeQuantize::new(1.0, quant_min, quant_min, quant_max)?;
        if quant_min == quant_max {
            return Err(MathError::Parameters { scale: 1.0, zero_point: quant_min, quant_min, quant_max });
        }
        Ok(Self { scheme, code_type, quant_min, quant_max, limited: quant_range.is_some() })
    }

    /// Scale and zero point of `range`; 1 and 0 where nothing was observed.
    ///
    /// # Errors
    ///
    /// [`MathError::RangeOverflow`] where the scale is infinite.
    pub fn calculate(self, range: Option<Range>) -> Result<(f32, i32), MathError> {
        let Some(range) = range else { return Ok((1.0, 0)) };
        let Range { min, max } = range.with_zero();
        let Self { quant_min, quant_max, .. } = self;
        #[expect(clippy::cast_precision_loss, reason = "rounds as PyTorch's float does, beyond 2^24")]
        let steps = (quant_max - quant_min) as f32;
        let (scale, zero_point) = match self.scheme {
            Scheme::Symmetric => {
                let middle = match self.code_type {
                    CodeType::QInt8 => 0,
                    CodeType::QUInt8 if self.limited => (quant_min + quant_max).div_euclid(2),
                    CodeType::QUInt8 => 128,
                };
                ((-min).max(max) / (steps / 2.0), middle)
            }
            Scheme::Affine => {
                let scale = ((max - min) / steps).max(f32::EPSILON);
                #[expect(clippy::cast_possible_truncation, reason = "n / scale lies in −steps..=0, and `as` saturates")]
                let shift = (min / scale).round_ties_even() as i32;
                (scale, quant_min.saturating_sub(shift).clamp(quant_min, quant_max))
            }
        };
        if !scale.is_finite() {
            return Err(MathError::RangeOverflow { min, max });
        }
        Ok((scale.max(f32::EPSILON), zero_point))
    }
}

/// `MinMaxObserver`: the smallest and the largest number so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MinMaxObserver {
    range: Option<Range>,
}

impl MinMaxObserver {
    /// See a tensor; an empty one changes nothing.
    ///
    /// # Errors
    ///
    /// [`MathError::NonFinite`]; PyTorch's range becomes NaN or infinite there.
    pub fn observe<D: WeightData + ?Sized>(&mut self, data: &D) -> Result<(), MathError> {
        if !data.is_empty() {
            let seen = Range::observe(data)?;
            self.range = Some(self.range.map_or(seen, |range| range.merge(seen)));
        }
        Ok(())
    }

    /// The range so far.
    pub fn range(&self) -> Option<Range> {
        self.range
    }
}

/// `MovingAverageMinMaxObserver`: the first tensor sets the range, each later one moves both ends by `c·(new − old)`.
#[derive(Debug, Clone, PartialEq)]
pub struct MovingAverageMinMaxObserver {
    averaging_constant: f32,
    range: Option<Range>,
}

impl MovingAverageMinMaxObserver {
    /// `averaging_constant` is 0.01 in PyTorch unless given.
    pub fn new(averaging_constant: f32) -> Self {
        Self { averaging_constant, range: None }
    }

    /// See a tensor; an empty one changes nothing. Errors of [`MinMaxObserver::observe`], and [`MathError::RangeOverflow`]
    /// where `new − old` is infinite.
    ///
    /// # Errors
    /// [`MathError::Empty`], [`MathError::NonFinite`] with the first NaN or infinity.
    pub fn observe<D: WeightData + ?Sized>(&mut self, data: &D) -> Result<(), MathError> {
        if !data.is_empty() {
            let seen = Range::observe(data)?;
            self.range = Some(match self.range {
                Some(range) => range.towards(seen, self.averaging_constant)?,
                None => seen,
            });
        }
        Ok(())
    }

    /// The range so far.
    pub fn range(&self) -> Option<Range> {
        self.range
    }
}

/// `PerChannelMinMaxObserver`: [`MinMaxObserver`] for each channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PerChannelMinMaxObserver {
    ranges: Vec<Range>,
}

impl PerChannelMinMaxObserver {
    /// See a tensor; an empty one changes nothing. Errors of [`MinMaxObserver::observe`], and [`MathError::Layout`] where
    /// `layout` does not fit `data` or has another number of channels than before.
    ///
    /// # Errors
    /// [`MathError::Layout`], [`MathError::Empty`], [`MathError::NonFinite`] with the first NaN or infinity.
    pub fn observe<D: WeightData + ?Sized>(&mut self, layout: ChannelLayout, data: &D) -> Result<(), MathError> {
        each_channel(&mut self.ranges, layout, data, |range, seen| Ok(range.merge(seen)))
    }

    /// The range of each channel so far; empty before the first tensor.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}

/// `MovingAveragePerChannelMinMaxObserver`: [`MovingAverageMinMaxObserver`] for each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct MovingAveragePerChannelMinMaxObserver {
    averaging_constant: f32,
    ranges: Vec<Range>,
}

impl MovingAveragePerChannelMinMaxObserver {
    /// `averaging_constant` is 0.01 in PyTorch unless given.
    pub fn new(averaging_constant: f32) -> Self {
        Self { averaging_constant, ranges: Vec::new() }
    }

    /// See a tensor; an empty one changes nothing. Errors of [`PerChannelMinMaxObserver::observe`], and
    /// [`MathError::RangeOverflow`] where `new − old` is infinite.
    ///
    /// # Errors
    /// [`MathError::Layout`], [`MathError::Empty`], [`MathError::NonFinite`] with the first NaN or infinity.
    pub fn observe<D: WeightData + ?Sized>(&mut self, layout: ChannelLayout, data: &D) -> Result<(), MathError> {
        let constant = self.averaging_constant;
        each_channel(&mut self.ranges, layout, data, |range, seen| range.towards(seen, constant))
    }

    /// The range of each channel so far; empty before the first tensor.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}

fn each_channel<D: WeightData + ?Sized>(
    ranges: &mut Vec<Range>,
    layout: ChannelLayout,
    data: &D,
    step: impl Fn(Range, Range) -> Result<Range, MathError>,
) -> Result<(), MathError> {
    if data.is_empty() {
        return Ok(());
    }
    let seen = observe_ranges(layout, data)?;
    *ranges = if ranges.is_empty() {
        seen
    } else if ranges.len() == seen.len() {
        ranges.iter().zip(seen).map(|(range, seen)| step(*range, seen)).collect::<Result<_, _>>()?
    } else {
        return Err(MathError::Layout { expected: ranges.len(), found: seen.len() });
    };
    Ok(())
}
