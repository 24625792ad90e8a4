//! Smallest and largest float by their bits: exact, independent of order and grouping, and quick.

/// The bits of the floats that were seen, as integers of both kinds.
///
/// Positive floats are ordered as their bits are, negative ones the other way round, and as unsigned integers all negative ones
/// come after all positive ones. So three integer operations per float, without a branch, tell everything:
///
/// * the largest float is the largest signed integer if that is positive, else (all are negative) the smallest unsigned one;
/// * the smallest float is the largest unsigned integer if that is negative, else (none is) the smallest unsigned one;
/// * infinities and NaN, of either sign, are beyond the finite numbers and win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extremes {
    pub(crate) signed_max: i32,
    pub(crate) max: u32,
    pub(crate) min: u32,
}

impl Extremes {
    /// Nothing was seen.
    pub(crate) const NONE: Self = Self { signed_max: i32::MIN, max: 0, min: u32::MAX };

    /// Of all of `data`.
    #[inline(always)]
    pub(crate) fn of(data: &[f32]) -> Self {
        data.iter().fold(Self::NONE, |seen, x| seen.with(*x))
    }

    #[inline(always)]
    pub(crate) fn with(self, x: f32) -> Self {
        let bits = x.to_bits();
        self.merge(Self { signed_max: bits.cast_signed(), max: bits, min: bits })
    }

    #[inline(always)]
    pub(crate) fn merge(self, other: Self) -> Self {
        Self {
            signed_max: self.signed_max.max(other.signed_max),
            max: self.max.max(other.max),
            min: self.min.min(other.min),
        }
    }

    /// Smallest and largest, or `None` where nothing, or a NaN or an infinity was seen.
    pub(crate) fn finite(self) -> Option<(f32, f32)> {
        let any_negative = f32::from_bits(self.max).is_sign_negative();
        let min = f32::from_bits(if any_negative { self.max } else { self.min });
        let max = f32::from_bits(if self.signed_max >= 0 { self.signed_max.cast_unsigned() } else { self.min });
        (self != Self::NONE && min.is_finite() && max.is_finite()).then_some((min, max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCENDING: [f32; 12] = [
        f32::MIN,
        -2.0,
        -1.0,
        -f32::MIN_POSITIVE,
        -f32::from_bits(1),
        -0.0,
        0.0,
        f32::from_bits(1),
        f32::MIN_POSITIVE,
        1.0,
        3.0,
        f32::MAX,
    ];

    #[test]
    fn every_stretch_has_its_ends() {
        for start in 0..ASCENDING.len() {
            for end in start..ASCENDING.len() {
                let mut stretch = ASCENDING[start..=end].to_vec();
                for _ in 0..stretch.len() {
                    stretch.rotate_left(1);
                    let (min, max) = Extremes::of(&stretch).finite().unwrap();
                    assert_eq!(min.to_bits(), ASCENDING[start].to_bits(), "{stretch:?}");
                    assert_eq!(max.to_bits(), ASCENDING[end].to_bits(), "{stretch:?}");
                }
            }
        }
    }

    #[test]
    fn only_finite_floats_have_extremes() {
        assert_eq!(Extremes::of(&[]).finite(), None);
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for others in [&[][..], &[1.0, 2.0], &[-1.0, -2.0], &[-1.0, 1.0], &[0.0], &[-0.0]] {
                assert_eq!(Extremes::of(&[others, &[bad]].concat()).finite(), None, "{others:?} and {bad}");
                assert_eq!(Extremes::of(&[&[bad], others].concat()).finite(), None, "{bad} and {others:?}");
            }
        }
    }
}
