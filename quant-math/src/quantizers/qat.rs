//! Quantization-aware training (Jacob et al. 2018): weights from their current values, activations from a moving average.

use crate::{Affine, Grid, MathError, Quantizer, Range};

/// The grid of a QAT weight: signed narrow if symmetric, else unsigned; 2 to 16 bits.
///
/// # Errors
/// [`MathError::Bits`].
pub fn weight_grid(bits: u32, symmetric: bool) -> Result<Grid, MathError> {
    super::weight_grid(Quantizer::Qat, bits, symmetric)
}

/// The decay of an activation's range where the settings name none.
pub const DEFAULT_EMA_DECAY: f64 = 0.99;

/// The range of one activation during training, and when it is quantized.
///
/// Each end moves by itself: the first batch sets it, then `r += (1 − decay)·(batch − r)` in float32. Every batch's range is
/// widened to hold 0 before it counts, so the average always holds it too.
///
/// ```
/// use quant_math::quantizers::qat::ActivationRange;
/// use quant_math::{Grid, Range};
///
/// let mut site = ActivationRange::new(8, false, 0.5, 1)?;
/// assert_eq!(site.train(Range::new(1.0, 4.0)?)?, None);
/// let affine = site.train(Range::new(-1.0, 2.0)?)?.expect("step 1 has come");
/// assert_eq!(site.range(), Some(Range::new(-0.5, 3.0)?));
/// assert_eq!(affine.grid(), Grid::unsigned(8)?);
/// # Ok::<(), quant_math::MathError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationRange {
    grid: Grid,
    symmetric: bool,
    rate: f32,
    start_step: u64,
    step: u64,
    range: Option<Range>,
}

impl ActivationRange {
    /// `bits` 2 to 16, on the signed narrow grid if `symmetric`, else on the unsigned one; `0 < ema_decay < 1`.
    ///
    /// # Errors
    ///
    /// [`MathError::Bits`], [`MathError::Decay`].
    pub fn new(bits: u32, symmetric: bool, ema_decay: f64, quant_start_step: u64) -> Result<Self, MathError> {
        let grid = weight_grid(bits, symmetric)?;
        if !(ema_decay > 0.0 && ema_decay < 1.0) {
            return Err(MathError::Decay { decay: ema_decay });
        }
        #[expect(clippy::cast_possible_truncation, reason = "the average moves in float32")]
        let rate = (1.0 - ema_decay) as f32;
        Ok(Self { grid, symmetric, rate, start_step: quant_start_step, step: 0, range: None })
    }

    /// A training forward pass that sees `batch`: the range moves, the step counter counts. What to quantize this very pass
    /// with; `None` while the passes before it number fewer than the start step.
    ///
    /// # Errors
    ///
    /// [`MathError::RangeOverflow`] where the range has no scale; the range has moved all the same.
    pub fn train(&mut self, batch: Range) -> Result<Option<Affine>, MathError> {
        let batch = batch.with_zero();
        self.range = Some(match self.range {
            Some(range) => range.towards(batch, self.rate)?,
            None => batch,
        });
        let affine = self.affine();
        self.step = self.step.saturating_add(1);
        affine
    }

    /// What an inference pass quantizes with; it moves neither range nor counter. `None` before the start step is reached and
    /// before anything was observed.
    ///
    /// # Errors
    /// Those of [`train`](Self::train).
    pub fn affine(&self) -> Result<Option<Affine>, MathError> {
        match self.range {
            Some(range) if self.step >= self.start_step => {
                let affine = if self.symmetric { Affine::symmetric } else { Affine::asymmetric };
                affine(range, self.grid).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The range so far.
    pub fn range(&self) -> Option<Range> {
        self.range
    }

    /// Training forward passes so far.
    pub fn step(&self) -> u64 {
        self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: f32, max: f32) -> Range {
        Range::new(min, max).unwrap()
    }

    #[test]
    fn first_batch_sets_then_the_average_moves() {
        let mut site = ActivationRange::new(8, false, DEFAULT_EMA_DECAY, 0).unwrap();
        assert_eq!(site.affine().unwrap(), None);
        site.train(range(-2.0, 6.0)).unwrap();
        assert_eq!(site.range(), Some(range(-2.0, 6.0)));
        site.train(range(-4.0, 10.0)).unwrap();
        let rate = 0.01_f32;
        assert_eq!(site.range(), Some(range(-2.0 + rate * -2.0, 6.0 + rate * 4.0)));
        assert_eq!(site.step(), 2);
    }

    #[test]
    fn zero_is_always_inside() {
        let mut site = ActivationRange::new(4, false, 0.9, 0).unwrap();
        for batch in [range(3.0, 4.0), range(-9.0, -8.0), range(5.0, 5.0)] {
            let affine = site.train(batch).unwrap().unwrap();
            let seen = site.range().unwrap();
            assert!(seen.min <= 0.0 && seen.max >= 0.0);
            assert_eq!(affine.fake_quant(0.0).to_bits(), 0);
        }
    }

    #[test]
    fn quantization_begins_at_the_start_step() {
        let mut site = ActivationRange::new(8, false, 0.99, 2).unwrap();
        let steps: Vec<bool> = (0..4).map(|_| site.train(range(-1.0, 1.0)).unwrap().is_some()).collect();
        assert_eq!(steps, [false, false, true, true]);
    }

    #[test]
    fn inference_moves_nothing() {
        let mut site = ActivationRange::new(8, true, 0.99, 0).unwrap();
        site.train(range(-1.0, 1.0)).unwrap();
        let before = site.clone();
        assert!(site.affine().unwrap().is_some());
        assert_eq!(site, before);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for bits in [1, 17] {
            assert_eq!(ActivationRange::new(bits, false, 0.99, 0).unwrap_err().code(), "M0102");
        }
        for decay in [0.0, 1.0, -0.5, f64::NAN] {
            assert_eq!(ActivationRange::new(8, false, decay, 0).unwrap_err().code(), "M0112");
        }
    }
}
