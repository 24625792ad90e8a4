//! Scale, zero point and grid: the reference codes and values.

use crate::{Grid, MathError, Range, Rounding};

/// An affine map between real numbers and codes: `real = (q − zero_point) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    scale: f32,
    zero_point: i32,
    grid: Grid,
}

impl Affine {
    /// Symmetric parameters: `scale = max(−n, p) / quant_max`, `zero_point = 0` (`n`, `p`: the range with 0 included).
    ///
    /// An all-zero range has scale 1.
    pub fn symmetric(range: Range, grid: Grid) -> Result<Self, MathError> {
        let Range { min, max } = range.with_zero();
        #[expect(clippy::cast_precision_loss, reason = "grid ends are at most 65,535")]
        let scale = (-min).max(max) / grid.quant_max() as f32;
        Self::checked(range, scale, 0, grid)
    }

    /// Affine (asymmetric) parameters (Jacob et al. 2018, §3): `scale = (p − n) / (quant_max − quant_min)`,
    /// `zero_point = clamp(quant_min − rne(n / scale), quant_min, quant_max)`.
    ///
    /// An all-zero range has scale 1.
    pub fn asymmetric(range: Range, grid: Grid) -> Result<Self, MathError> {
        let Range { min, max } = range.with_zero();
        #[expect(clippy::cast_precision_loss, reason = "at most 65,535 steps")]
        let scale = (max - min) / grid.steps() as f32;
        if !scale.is_finite() {
            return Err(MathError::RangeOverflow { min, max });
        }
        let scale = floor_scale(scale);
        #[expect(clippy::cast_possible_truncation, reason = "n / scale lies in −steps..=0, and `as` saturates")]
        let shift = (min / scale).round_ties_even() as i32;
        let zero_point = (grid.quant_min() - shift).clamp(grid.quant_min(), grid.quant_max());
        Self::checked(range, scale, zero_point, grid)
    }

    /// Parameters from outside, for example from a file: `scale` must be a positive normal number, `zero_point` on the grid.
    pub fn from_parts(scale: f32, zero_point: i32, grid: Grid) -> Option<Self> {
        let ok = scale.is_normal() && scale > 0.0 && (grid.quant_min()..=grid.quant_max()).contains(&zero_point);
        ok.then_some(Self { scale, zero_point, grid })
    }

    fn checked(range: Range, scale: f32, zero_point: i32, grid: Grid) -> Result<Self, MathError> {
        let Range { min, max } = range.with_zero();
        let all_zero = min >= 0.0 && max <= 0.0;
        let scale = if all_zero { 1.0 } else { floor_scale(scale) };
        let zero_point = if all_zero { zero_point_of_zeros(grid) } else { zero_point };
        let affine = Self { scale, zero_point, grid };
        let ends = [grid.quant_min(), grid.quant_max()].map(|q| affine.dequantize(q));
        if scale.is_finite() && ends.iter().all(|v| v.is_finite()) {
            Ok(affine)
        } else {
            Err(MathError::RangeOverflow { min, max })
        }
    }

    /// The real step between two codes.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// The code that means real 0 exactly.
    pub fn zero_point(self) -> i32 {
        self.zero_point
    }

    /// The codes there are.
    pub fn grid(self) -> Grid {
        self.grid
    }

    /// `q = clamp(rne(x / scale) + zero_point, quant_min, quant_max)`.
    pub fn quantize(self, x: f32) -> i32 {
        self.quantize_with(Rounding::Nearest, x)
    }

    /// [`quantize`](Self::quantize) with another rounding.
    pub fn quantize_with(self, rounding: Rounding, x: f32) -> i32 {
        // The sum is exact where it is inside the grid; outside, the clamp decides.
        #[expect(clippy::cast_precision_loss, reason = "grid ends are at most 65,535")]
        let (z, lo, hi) = (self.zero_point as f32, self.grid.quant_min() as f32, self.grid.quant_max() as f32);
        let steps = match rounding {
            Rounding::Nearest => (x / self.scale).round_ties_even(),
            Rounding::Truncate => (x / self.scale).trunc(),
        };
        let q = (steps + z).max(lo).min(hi);
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the grid")]
        let q = q as i32;
        q
    }

    /// `(q − zero_point) · scale`.
    pub fn dequantize(self, q: i32) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "codes are at most 65,535 apart")]
        let steps = (q - self.zero_point) as f32;
        steps * self.scale
    }

    /// Quantize, then dequantize.
    pub fn fake_quant(self, x: f32) -> f32 {
        self.dequantize(self.quantize(x))
    }
}

/// `scale` is never below the smallest normal number, so that its inverse is finite.
fn floor_scale(scale: f32) -> f32 {
    scale.max(f32::MIN_POSITIVE)
}

fn zero_point_of_zeros(grid: Grid) -> i32 {
    0.clamp(grid.quant_min(), grid.quant_max())
}
