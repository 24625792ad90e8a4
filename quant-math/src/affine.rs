//! Scale, zero point and grid: the reference codes and values.

use crate::columns::Parameters;
use crate::{Grid, MathError, Range, Rounding, simd};

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
    ///
    /// # Errors
    /// [`MathError::RangeOverflow`] where the scale or an end of the grid is infinite in float32.
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
    ///
    /// # Errors
    /// [`MathError::RangeOverflow`] where the scale or an end of the grid is infinite in float32.
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

    /// `q = clamp(rne(x / scale) + zero_point, quant_min, quant_max)`; NaN gives `quant_min`.
    pub fn quantize(self, x: f32) -> i32 {
        self.quantize_with(Rounding::Nearest, x)
    }

    /// [`quantize`](Self::quantize) with a rounding of your choice.
    pub fn quantize_with(self, rounding: Rounding, x: f32) -> i32 {
        let steps = self.steps();
        steps.code(match rounding {
            Rounding::Nearest | Rounding::Reconstruct => steps.nearest(x),
            Rounding::Truncate => steps.truncate(x),
        })
    }

    /// `(q − zero_point) · scale`.
    pub fn dequantize(self, q: i32) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "codes are at most 65,535 apart")]
        let steps = q.saturating_sub(self.zero_point) as f32;
        steps * self.scale
    }

    /// Quantize, then dequantize.
    pub fn fake_quant(self, x: f32) -> f32 {
        let steps = self.steps();
        steps.value(steps.nearest(x))
    }

    /// [`fake_quant`](Self::fake_quant) of every element; parallel for long slices. As far as both slices reach.
    pub fn fake_quant_into(self, src: &[f32], dst: &mut [f32]) {
        let steps = self.steps();
        simd::map(
            src,
            dst,
            #[inline(always)]
            |x| steps.value(steps.nearest(x)),
        );
    }

    /// The real numbers between the lowest and the highest code, ends included.
    pub fn nudged_range(self) -> Range {
        let steps = self.steps();
        Range { min: steps.value(steps.low), max: steps.value(steps.high) }
    }

    /// The clipped straight-through gradient of [`fake_quant_into`](Self::fake_quant_into): `dx[i] = g[i]` where
    /// [`nudged_range`](Self::nudged_range) holds `x[i]`, else 0. As far as all reach.
    pub fn gradient_into(self, g: &[f32], x: &[f32], dx: &mut [f32]) {
        let Range { min, max } = self.nudged_range();
        simd::zip(g, dx, |at, g, dx| {
            let x = x.get(at..).unwrap_or_default();
            simd::run(
                #[inline(always)]
                || {
                    for ((g, x), dx) in g.iter().zip(x).zip(dx) {
                        *dx = if min <= *x && *x <= max { *g } else { 0.0 };
                    }
                },
            );
        });
    }

    pub(crate) fn steps(self) -> Steps {
        #[expect(clippy::cast_precision_loss, reason = "grid ends are at most 65,535, differences at most twice that")]
        let [low, high, zero_point] = [
            (self.grid.quant_min() - self.zero_point) as f32,
            (self.grid.quant_max() - self.zero_point) as f32,
            self.zero_point as f32,
        ];
        Steps { scale: self.scale, low, high, zero_point }
    }
}

/// The formulas of [`Affine`] for loops: everything float, counted in steps from the zero point.
///
/// `clamp(r + z, quant_min, quant_max) − z = clamp(r, quant_min − z, quant_max − z)`: all of these are integers that float32
/// holds exactly, or lie so far outside that both sides clamp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Steps {
    pub(crate) scale: f32,
    /// `quant_min − zero_point`.
    pub(crate) low: f32,
    /// `quant_max − zero_point`.
    pub(crate) high: f32,
    pub(crate) zero_point: f32,
}

impl From<Steps> for Parameters {
    fn from(steps: Steps) -> Self {
        [steps.scale, steps.low, steps.high, steps.zero_point, 0.0]
    }
}

impl From<Parameters> for Steps {
    #[inline(always)]
    fn from([scale, low, high, zero_point, _]: Parameters) -> Self {
        Self { scale, low, high, zero_point }
    }
}

impl Steps {
    /// `clamp(rne(x / scale))`.
    #[inline(always)]
    pub(crate) fn nearest(self, x: f32) -> f32 {
        self.saturate((x / self.scale).round_ties_even())
    }

    /// `clamp(trunc(x / scale))`.
    #[inline(always)]
    pub(crate) fn truncate(self, x: f32) -> f32 {
        self.saturate((x / self.scale).trunc())
    }

    // Comparisons instead of `f32::clamp`: one instruction each, and NaN becomes `low`.
    #[inline(always)]
    fn saturate(self, steps: f32) -> f32 {
        let steps = if steps > self.low { steps } else { self.low };
        if steps < self.high { steps } else { self.high }
    }

    /// The code that lies `steps` from the zero point.
    #[inline(always)]
    pub(crate) fn code(self, steps: f32) -> i32 {
        simd::small_int(steps + self.zero_point)
    }

    /// The real number that lies `steps` from 0; `+ 0.0` turns −0 into +0.
    #[inline(always)]
    pub(crate) fn value(self, steps: f32) -> f32 {
        (steps + 0.0) * self.scale
    }
}

/// `scale` is never below the smallest normal number, so that its inverse is finite.
fn floor_scale(scale: f32) -> f32 {
    scale.max(f32::MIN_POSITIVE)
}

fn zero_point_of_zeros(grid: Grid) -> i32 {
    0.clamp(grid.quant_min(), grid.quant_max())
}
