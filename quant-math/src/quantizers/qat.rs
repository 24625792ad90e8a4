//! Quantization-aware training (Jacob et al. 2018).

use crate::{Grid, MathError};

/// The grid of a QAT weight: signed narrow if symmetric, else unsigned; 2 to 16 bits.
pub fn weight_grid(bits: u32, symmetric: bool) -> Result<Grid, MathError> {
    super::weight_grid(bits, symmetric, "the QAT quantizer")
}
