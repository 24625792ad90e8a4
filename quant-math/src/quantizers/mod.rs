//! The quantizers: one file each, formula only.

pub mod dorefa;
pub mod lsq;
pub mod naive;
pub mod qat;
pub mod table;

use crate::{Grid, MathError, Quantizer};

/// An error where a quantizer has no codes of so many bits.
fn check_bits(quantizer: Quantizer, bits: u32) -> Result<(), MathError> {
    let row = quantizer.row();
    if row.bits.contains(bits) {
        return Ok(());
    }
    Err(MathError::Bits { bits, what: row.title, expected: row.bits.words })
}

fn weight_grid(quantizer: Quantizer, bits: u32, symmetric: bool) -> Result<Grid, MathError> {
    check_bits(quantizer, bits)?;
    if symmetric { Grid::signed_narrow(bits) } else { Grid::unsigned(bits) }
}
