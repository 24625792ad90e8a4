//! The Naive quantizer: weights only, from their range, per tensor or per channel.

use crate::{Grid, MathError, Quantizer};

/// The grid of a Naive weight: signed narrow if symmetric, else unsigned; 2 to 16 bits.
///
/// # Errors
/// [`MathError::Bits`].
pub fn weight_grid(bits: u32, symmetric: bool) -> Result<Grid, MathError> {
    super::weight_grid(Quantizer::Naive, bits, symmetric)
}
