//! The range that a `FakeQuant…` op really uses.

use crate::columns::Parameters;
use crate::{MathError, Range};

/// A range moved so that 0 is on the grid, and the steps in it (TensorFlow 2.21, `Nudge`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NudgedRange {
    /// `nmin`.
    min: f32,
    /// `nmax`.
    max: f32,
    /// `s`.
    scale: f32,
    /// `inv`, which is not always `1 / s`.
    inv_scale: f32,
    /// `qz`: the steps from `nmin` to 0.
    steps_to_zero: f32,
    /// `min = max = 0`.
    zero: bool,
}

impl NudgedRange {
    /// The op's inputs or attributes: `min`, `max`, `num_bits` (2 to 16), `narrow_range`.
    ///
    /// # Errors
    ///
    /// [`MathError::Bits`]; [`MathError::NonFinite`] (element 0 is `min`, 1 is `max`); [`MathError::EmptyRange`] where
    /// `min > max` or `min = max ≠ 0`; [`MathError::RangeOverflow`] and [`MathError::RangeUnderflow`] where the step is
    /// infinite or, after flushing, 0.
    pub fn new(min: f32, max: f32, num_bits: u32, narrow_range: bool) -> Result<Self, MathError> {
        if !(2..=16).contains(&num_bits) {
            return Err(MathError::Bits { bits: num_bits, what: "FakeQuant of TensorFlow", expected: "2 to 16" });
        }
        let Range { min, max } = Range::new(min, max)?;
        let (low, high) = (flush(min), flush(max));
        if low >= 0.0 && high <= 0.0 {
            let zero = Self { min: 0.0, max: 0.0, scale: 1.0, inv_scale: 1.0, steps_to_zero: 0.0, zero: true };
            return Ok(zero);
        }
        let quant_min = if narrow_range { 1.0 } else { 0.0 };
        #[expect(clippy::cast_precision_loss, reason = "at most 65,535")]
        let quant_max = ((1_u32 << num_bits) - 1) as f32;
        let width = flush(high - low);
        if width <= 0.0 {
            return Err(MathError::EmptyRange { min, max });
        }
        let scale = flush(width / (quant_max - quant_min));
        if !width.is_finite() {
            return Err(MathError::RangeOverflow { min, max });
        }
        if scale <= 0.0 {
            return Err(MathError::RangeUnderflow { min, max });
        }
        // Widths beyond steps · 8.5e37 have an inverse of 0 in TensorFlow, and values that mean nothing.
        let inv_scale = flush((quant_max - quant_min) / width);
        let zero_point = quant_min - low / scale;
        let zero_point = if zero_point < quant_min {
            quant_min
        } else if zero_point > quant_max {
            quant_max
        } else {
            half_away_from_zero(zero_point)
        };
        let nudged_min = (quant_min - zero_point) * scale;
        let nudged_max = (quant_max - zero_point) * scale;
        let steps_to_zero = (-nudged_min * inv_scale + 0.5).floor();
        Ok(Self { min: nudged_min, max: nudged_max, scale, inv_scale, steps_to_zero, zero: false })
    }

    /// The smallest real number on the grid.
    pub fn min(self) -> f32 {
        self.min
    }

    /// The largest real number on the grid.
    pub fn max(self) -> f32 {
        self.max
    }

    /// The real step between two codes; 1 where everything is 0.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// Whether `min = max = 0`, so that every output is 0.
    pub fn is_zero(self) -> bool {
        self.zero
    }

    /// Steps from `nmin` to `x`, as a fraction; NaN stays NaN.
    #[inline(always)]
    fn distance(self, x: f32) -> f32 {
        let x = flush(x);
        let x = if x > self.max { self.max } else { x };
        let x = if x < self.min { self.min } else { x };
        flush(x - self.min)
    }

    /// `FakeQuantWithMinMaxVars` of one element.
    #[inline(always)]
    pub(crate) fn vars(self, x: f32) -> f32 {
        (self.distance(x) / self.scale - self.steps_to_zero + 0.5).floor() * self.scale
    }

    /// `FakeQuantWithMinMaxArgs` and `…VarsPerChannel` of one element.
    #[inline(always)]
    pub(crate) fn args(self, x: f32) -> f32 {
        (self.distance(x) * self.inv_scale - self.steps_to_zero + 0.5).floor() * self.scale
    }

    /// 1 where the gradient passes, else 0; NaN does not pass.
    #[inline(always)]
    pub(crate) fn mask(self, x: f32) -> f32 {
        let x = flush(x);
        if self.min <= x && x <= self.max { 1.0 } else { 0.0 }
    }
}

impl From<NudgedRange> for Parameters {
    fn from(nudged: NudgedRange) -> Self {
        [nudged.min, nudged.max, nudged.scale, nudged.inv_scale, nudged.steps_to_zero]
    }
}

impl From<Parameters> for NudgedRange {
    #[inline(always)]
    fn from([min, max, scale, inv_scale, steps_to_zero]: Parameters) -> Self {
        Self { min, max, scale, inv_scale, steps_to_zero, zero: false }
    }
}

/// What TensorFlow's threads make of a subnormal number: a zero of its sign.
#[inline(always)]
pub(super) fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(x) } else { x }
}

/// C++ `std::round`, for `0 ≤ x ≤ 65,535`.
fn half_away_from_zero(x: f32) -> f32 {
    let below = x.floor();
    // Exact: both lie within a factor of two, or `below` is 0.
    if x - below >= 0.5 { below + 1.0 } else { below }
}
