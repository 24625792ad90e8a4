//! Integer grids.

use crate::MathError;

/// The integers that codes may take: `quant_min..=quant_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    quant_min: i32,
    quant_max: i32,
}

impl Grid {
    /// `0 ..= 2^bits − 1`, for 1 to 16 bits.
    ///
    /// # Errors
    /// [`MathError::Bits`].
    pub fn unsigned(bits: u32) -> Result<Self, MathError> {
        check(bits, 1, "an unsigned grid", "1 to 16")?;
        Ok(Self { quant_min: 0, quant_max: (1 << bits) - 1 })
    }

    /// `−2^(bits−1) ..= 2^(bits−1) − 1`, for 2 to 16 bits.
    ///
    /// # Errors
    /// [`MathError::Bits`].
    pub fn signed(bits: u32) -> Result<Self, MathError> {
        check(bits, 2, "a signed grid", "2 to 16")?;
        Ok(Self { quant_min: -(1 << (bits - 1)), quant_max: (1 << (bits - 1)) - 1 })
    }

    /// `−2^(bits−1) + 1 ..= 2^(bits−1) − 1`, for 2 to 16 bits: symmetric about 0.
    ///
    /// # Errors
    /// [`MathError::Bits`].
    pub fn signed_narrow(bits: u32) -> Result<Self, MathError> {
        check(bits, 2, "a signed narrow grid", "2 to 16")?;
        Ok(Self { quant_min: -(1 << (bits - 1)) + 1, quant_max: (1 << (bits - 1)) - 1 })
    }

    /// The lowest code.
    pub fn quant_min(self) -> i32 {
        self.quant_min
    }

    /// The highest code.
    pub fn quant_max(self) -> i32 {
        self.quant_max
    }

    /// Bits that the codes need.
    pub fn bits(self) -> u32 {
        i32::BITS - self.steps().leading_zeros()
    }

    /// `quant_max − quant_min`: the number of steps, at most 65,535.
    pub fn steps(self) -> i32 {
        self.quant_max - self.quant_min
    }
}

fn check(bits: u32, lowest: u32, what: &'static str, expected: &'static str) -> Result<(), MathError> {
    if (lowest..=16).contains(&bits) { Ok(()) } else { Err(MathError::Bits { bits, what, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_follow_the_table() {
        let ends = |g: Grid| (g.quant_min(), g.quant_max());
        assert_eq!(ends(Grid::unsigned(8).unwrap()), (0, 255));
        assert_eq!(ends(Grid::unsigned(1).unwrap()), (0, 1));
        assert_eq!(ends(Grid::signed(8).unwrap()), (-128, 127));
        assert_eq!(ends(Grid::signed_narrow(8).unwrap()), (-127, 127));
        assert_eq!(ends(Grid::signed_narrow(2).unwrap()), (-1, 1));
        assert_eq!(ends(Grid::signed_narrow(16).unwrap()), (-32767, 32767));
        for bits in 2..=16 {
            let grids = [Grid::unsigned(bits), Grid::signed(bits), Grid::signed_narrow(bits)];
            assert_eq!(grids.map(|grid| grid.unwrap().bits()), [bits; 3]);
        }
        assert_eq!(Grid::unsigned(1).unwrap().bits(), 1);
    }

    #[test]
    fn bits_without_a_grid_are_refused() {
        for bits in [0, 17, u32::MAX] {
            assert_eq!(Grid::unsigned(bits).unwrap_err().code(), "M0102");
        }
        for bits in [0, 1, 17] {
            assert_eq!(Grid::signed(bits).unwrap_err().code(), "M0102");
            assert_eq!(Grid::signed_narrow(bits).unwrap_err().code(), "M0102");
        }
    }
}
