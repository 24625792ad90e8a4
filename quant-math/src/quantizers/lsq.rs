//! Learned step size quantization, LSQ (Esser et al. 2020, ICLR, arXiv:1902.08153): the step is trained like a weight.
//!
//! ```text
//! v̂ = round(clip(v / s, −Q_N, Q_P)) · s                                            (eq. 1 and 2)
//! ∂v̂/∂s = round(v / s) − v / s  where −Q_N ≤ v / s ≤ Q_P,  else −Q_N or Q_P         (eq. 3)
//! ∂v̂/∂v = 1                     where −Q_N ≤ v / s ≤ Q_P,  else 0                   (eq. 5)
//! s₀ = 2·E|v| / √Q_P            of the first batch, or of the weight               (section 2.1)
//! g = 1 / √(N·Q_P)              by which the gradient of s is multiplied           (section 2.2)
//! ```
//!
//! Rounding is half to even. At −Q_N and Q_P themselves the paper takes the outer case; the gradients of the frameworks' `Minimum`, `Maximum` and
//! `clamp` take the inner one, and so does this. `N` is the number of a weight's elements (of a channel's, where each has a step), or of the
//! features of a sample.

use crate::plan::Settings;
use crate::weights::{AffineMap, CHUNK, ChannelLayout, WeightMap, observe_ranges};
use crate::{Affine, Grid, MathError, Quantizer, Rounding, WeightData};

/// The grid of a tensor: signed, with its lowest code, or unsigned; 2 to 8 bits.
///
/// # Errors
///
/// [`MathError::Bits`].
pub fn grid(bits: u32, signed: bool) -> Result<Grid, MathError> {
    super::check_bits(Quantizer::Lsq, bits)?;
    if signed { Grid::signed(bits) } else { Grid::unsigned(bits) }
}

/// `s₀ = 2·E|v| / √Q_P` (section 2.1). 0 for a tensor of zeros, which has no step.
pub fn initial_step(mean_abs: f32, grid: Grid) -> f32 {
    2.0 * mean_abs / highest(grid).sqrt()
}

/// `g = 1 / √(N·Q_P)` (section 2.2), in float32; `count` is N.
pub fn gradient_scale(count: usize, grid: Grid) -> f32 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the scale of a gradient does not depend on the last of 2^24 elements"
    )]
    let count = count as f32;
    1.0 / (count * highest(grid)).sqrt()
}

#[expect(clippy::cast_precision_loss, reason = "at most 255")]
fn highest(grid: Grid) -> f32 {
    grid.quant_max() as f32
}

/// The gradients of [`fake_quant_into`](Affine::fake_quant_into) for each element: `dx[i]` of the tensor (eq. 5), and `ds[i]`, of which the
/// step's gradient is the sum times [`gradient_scale`] (eq. 3). The zero point of `affine` is 0. As far as all reach.
pub fn gradients_into(affine: Affine, g: &[f32], x: &[f32], dx: &mut [f32], ds: &mut [f32]) {
    let steps = affine.steps();
    for (((g, x), dx), ds) in g.iter().zip(x).zip(dx).zip(ds) {
        let of_step = x / affine.scale();
        let rounded = steps.nearest(*x);
        let inside = steps.low <= of_step && of_step <= steps.high;
        *dx = if inside { *g } else { 0.0 };
        *ds = g * if inside { rounded - of_step } else { rounded };
    }
}

/// Whether a training pass has set a step: it is a positive normal number. What training drove to 0 or below is set anew by the next pass.
pub fn is_set(step: f32) -> bool {
    step.is_normal() && step > 0.0
}

/// Codes and values at a step that was learnt.
///
/// # Errors
///
/// [`MathError::Bits`], [`MathError::Parameters`] for a step that is not [set](is_set).
pub fn affine(step: f32, settings: &Settings) -> Result<Affine, MathError> {
    let grid = grid(settings.bits, settings.symmetric)?;
    let (quant_min, quant_max) = (grid.quant_min(), grid.quant_max());
    let parameters = MathError::Parameters { scale: step, zero_point: 0, quant_min, quant_max };
    Affine::from_parts(step, 0, grid).ok_or(parameters)
}

/// The map of a weight whose steps were learnt: one for each channel of `layout`. A channel whose step is 0 or below, and channels of zeros are
/// such, has the one that the next training pass would set, or 1 if it is of zeros.
///
/// # Errors
///
/// [`MathError::Bits`], [`MathError::Layout`] where `steps` are not as many as the channels or `layout` is not of `data`'s length,
/// [`MathError::Parameters`] for a step that is no number, [`MathError::NonFinite`] for such a weight.
pub fn learnt<D: WeightData + ?Sized>(
    settings: &Settings,
    layout: ChannelLayout,
    steps: &[f32],
    data: &D,
) -> Result<WeightMap, MathError> {
    // Whether all of them are finite numbers.
    observe_ranges(layout, data)?;
    let grid = grid(settings.bits, settings.symmetric)?;
    let set_anew = if steps.iter().all(|step| is_set(*step)) { Vec::new() } else { mean_abs(layout, data) };
    let channels = steps.iter().enumerate().map(|(channel, step)| match set_anew.get(channel) {
        Some(mean) if *step < f32::MIN_POSITIVE => affine(first_step(*mean, grid), settings),
        _ => affine(*step, settings),
    });
    AffineMap::new(layout, grid, Rounding::Nearest, channels.collect::<Result<_, _>>()?).map(WeightMap::Affine)
}

/// [`initial_step`], or 1 for zeros.
fn first_step(mean_abs: f32, grid: Grid) -> f32 {
    Some(initial_step(mean_abs, grid)).filter(|step| is_set(*step)).unwrap_or(1.0)
}

/// The map of a weight before it is trained, with [`initial_step`]s; channels of zeros have step 1.
pub(crate) fn untrained<D: WeightData + ?Sized>(
    settings: &Settings,
    layout: ChannelLayout,
    data: &D,
) -> Result<WeightMap, MathError> {
    learnt(settings, layout, &vec![0.0; layout.channels], data)
}

/// `E|w|` of each channel, summed in float64 one by one.
fn mean_abs<D: WeightData + ?Sized>(layout: ChannelLayout, data: &D) -> Vec<f32> {
    let mut sums = vec![0.0_f64; layout.channels];
    for start in (0..data.len()).step_by(CHUNK) {
        for (at, value) in data.chunk(start..data.len().min(start + CHUNK)).iter().enumerate() {
            if let Some(sum) = sums.get_mut(layout.channel(start + at)) {
                *sum += f64::from(value.abs());
            }
        }
    }
    let each = layout.outer * layout.inner;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a mean of float32 numbers is one"
    )]
    let mean = |sum: f64| (sum / each as f64) as f32;
    sums.into_iter().map(mean).collect()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the bits of the formulas")]
mod tests {
    use super::*;
    use crate::weights::observe;

    fn affine(step: f32, bits: u32, signed: bool) -> Affine {
        Affine::from_parts(step, 0, grid(bits, signed).unwrap()).unwrap()
    }

    #[test]
    fn grids_are_those_of_the_paper() {
        // Section 2: Q_N = 0, Q_P = 2^b − 1 unsigned; Q_N = 2^(b−1), Q_P = 2^(b−1) − 1 signed.
        for bits in 2..=8 {
            let (unsigned, signed) = (grid(bits, false).unwrap(), grid(bits, true).unwrap());
            assert_eq!((unsigned.quant_min(), unsigned.quant_max()), (0, (1 << bits) - 1));
            assert_eq!((signed.quant_min(), signed.quant_max()), (-(1 << (bits - 1)), (1 << (bits - 1)) - 1));
        }
        for bits in [1, 9, 32] {
            assert_eq!(grid(bits, true).unwrap_err().code(), "M0102");
        }
    }

    #[test]
    fn the_step_starts_at_twice_the_mean_over_the_root_of_the_highest_code() {
        assert_eq!(initial_step(0.75, grid(8, true).unwrap()), 1.5 / 127.0_f32.sqrt());
        assert_eq!(initial_step(0.5, grid(2, true).unwrap()), 1.0);
        assert_eq!(gradient_scale(25, grid(2, true).unwrap()), 0.2);
        assert_eq!(gradient_scale(3, grid(2, false).unwrap()), 1.0 / 3.0);
    }

    #[test]
    fn gradients_follow_equations_3_and_5() {
        let (x, g) = ([0.3_f32, 0.6, -0.9, -1.1, 0.5, 9.0, -9.0], [1.0, 2.0, 1.0, 1.0, 1.0, 0.5, 1.0]);
        let (mut dx, mut ds) = ([f32::NAN; 7], [f32::NAN; 7]);
        // Codes −2 to 1 at steps of 0.5: inside from −1 to 0.5.
        gradients_into(affine(0.5, 2, true), &g, &x, &mut dx, &mut ds);
        assert_eq!(dx, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        let inside = |x: f32| (x / 0.5).round_ties_even() - x / 0.5;
        assert_eq!(ds, [inside(0.3), 2.0, inside(-0.9), -2.0, 0.0, 0.5, -2.0]);
    }

    #[test]
    fn the_gradient_of_the_step_is_the_slope_where_no_code_changes() {
        // ∂v̂/∂s without the rounding's own jump is the code; the straight-through part takes v/s away from it.
        let (x, step, small) = (0.37_f32, 0.1_f32, 1e-3_f32);
        let value = |step: f32| affine(step, 4, true).fake_quant(x);
        let slope = (value(step + small) - value(step - small)) / (2.0 * small);
        let mut ds = [0.0];
        gradients_into(affine(step, 4, true), &[1.0], &[x], &mut [0.0], &mut ds);
        // The code 4 is kept by both steps; float32 differences of 2·10^−3 have 5 digits.
        assert!((slope - 4.0).abs() < 1e-3 && (ds[0] - (4.0 - x / step)).abs() < 1e-6, "{slope} {ds:?}");
    }

    #[test]
    fn untrained_weights_have_their_initial_steps() {
        let settings = Settings::new(Quantizer::Lsq, 2);
        let data = [1.0_f32, 0.0, -3.0, -1.0, 0.0, 5.0];
        let scales = |layout| match observe(&settings, layout, &data[..]).unwrap() {
            WeightMap::Affine(map) => map.scale(),
            other => panic!("{other:?}"),
        };
        assert_eq!(scales(ChannelLayout::per_tensor(6)), [2.0 * (10.0_f32 / 6.0)]);
        assert_eq!(scales(ChannelLayout { outer: 2, channels: 3, inner: 1 }), [2.0, 1.0, 8.0]);
        assert_eq!(scales(ChannelLayout { outer: 1, channels: 2, inner: 3 }), [2.0 * (4.0_f32 / 3.0), 4.0]);
    }

    #[test]
    fn steps_that_are_none_are_refused() {
        let settings = Settings::new(Quantizer::Lsq, 4);
        let layout = ChannelLayout { outer: 2, channels: 2, inner: 1 };
        let data = [-9.0_f32, -9.0, 0.6, 0.6];
        let values = |steps: &[f32]| {
            let mut values = [f32::NAN; 4];
            learnt(&settings, layout, steps, &data[..]).unwrap().values_into(0, &data, &mut values);
            values
        };
        assert_eq!(values(&[1.0, 0.5]), [-8.0, -4.0, 1.0, 0.5], "the lowest code is there");
        // Set anew: 2·4.8 / √7.
        let anew = 2.0 * 4.8_f32 / 7.0_f32.sqrt();
        for step in [0.0, -1.0, 1e-40] {
            assert_eq!(values(&[1.0, step]), [-8.0, -2.0 * anew, 1.0, 0.0], "{step}");
        }
        for step in [f32::NAN, f32::INFINITY] {
            assert_eq!(learnt(&settings, layout, &[1.0, step], &data[..]).unwrap_err().code(), "M0111", "{step}");
        }
        assert_eq!(learnt(&settings, layout, &[1.0], &data[..]).unwrap_err().code(), "M0105");
    }
}
