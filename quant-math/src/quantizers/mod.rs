//! The quantizers: one file each, formula only.

pub mod dorefa;
pub mod naive;
pub mod qat;

use crate::{Grid, MathError};

fn weight_grid(bits: u32, symmetric: bool, what: &'static str) -> Result<Grid, MathError> {
    if !(2..=16).contains(&bits) {
        return Err(MathError::Bits { bits, what, expected: "2 to 16" });
    }
    if symmetric { Grid::signed_narrow(bits) } else { Grid::unsigned(bits) }
}
