//! Rounding one input after another, what it did to those before made up for.

use super::factor::Factor;
use crate::{Affine, Range, simd};

/// Outputs that are rounded side by side.
pub(super) const LANES: usize = 16;

/// How the elements of an output are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// To 0: the error is the power of the output.
    Nothing,
    /// To nearest.
    Nearest,
    /// To nearest, after what was done to those before.
    Feedback,
}

/// An output that is to be rounded.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) round: Round,
    pub(super) grid: Affine,
    /// What its values do not exceed.
    pub(super) range: Range,
    /// As they stand in the weight, each with the value that it keeps, where it keeps one.
    pub(super) elements: Vec<(f32, Option<f32>)>,
}

impl Output {
    /// What becomes of an element that is `x`, and would be `wanted` after what was done to those before: as a float weight, and when that is
    /// quantized. The ends of an affine range lie between two values of its grid.
    fn value(&self, x: f64, wanted: f64, kept: Option<f32>) -> (f32, f32) {
        #[expect(clippy::cast_possible_truncation, reason = "grids are those of float32 numbers")]
        let [x, wanted] = [x as f32, wanted as f32];
        let on_grid = |x: f32| self.grid.fake_quant(x).clamp(self.range.min, self.range.max);
        let value = match self.round {
            Round::Nothing => return (0.0, 0.0),
            Round::Nearest => x,
            Round::Feedback => kept.unwrap_or_else(|| on_grid(wanted)),
        };
        (value, self.grid.fake_quant(value))
    }
}

/// Outputs that were rounded.
#[derive(Debug)]
pub(super) struct Run {
    /// By input, as they stand in the weight: the value of each output.
    pub(super) values: Vec<[f32; LANES]>,
    /// `E‖(w − q)·x‖²` of each output.
    pub(super) errors: [f64; LANES],
}

/// Round outputs, at most [`LANES`].
pub(super) fn run(factor: &Factor, outputs: &[Output]) -> Run {
    let inputs = factor.order().len();
    let mut run = Run { values: vec![[0.0; LANES]; inputs], errors: [0.0; LANES] };
    let mut done: Vec<[f64; LANES]> = Vec::with_capacity(inputs);
    for (input, (before, diagonal)) in factor.order().iter().zip(factor.steps()) {
        let made_up = made_up_for(before, &done);
        let mut errors = [0.0; LANES];
        let values = run.values.get_mut(*input).into_iter().flatten();
        let lanes = outputs.iter().zip(made_up).zip(values).zip(errors.iter_mut().zip(&mut run.errors));
        for (((output, made_up), value), (error, sum)) in lanes {
            let (x, kept) = output.elements.get(*input).copied().unwrap_or_default();
            let x = f64::from(x);
            let quantized;
            (*value, quantized) = output.value(x, x + made_up, kept);
            *error = x - f64::from(quantized);
            let left = *error + made_up;
            *sum += diagonal * left * left;
        }
        done.push(errors);
    }
    run
}

/// `Σ (w_i − q_i)·M_ik`, in the order of `i`.
fn made_up_for(before: &[f64], done: &[[f64; LANES]]) -> [f64; LANES] {
    simd::run(
        #[inline(always)]
        || {
            let mut sums = [0.0; LANES];
            for (m, errors) in before.iter().zip(done) {
                for (sum, error) in sums.iter_mut().zip(errors) {
                    *sum += m * error;
                }
            }
            sums
        },
    )
}
