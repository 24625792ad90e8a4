//! Smallest and largest float as integers: exact, independent of order and grouping, and quick.

/// An integer that is ordered as the float is: −NaN < −∞ < … < −0 < +0 < … < +∞ < NaN.
#[inline(always)]
fn key(x: f32) -> i32 {
    let bits = x.to_bits().cast_signed();
    bits ^ ((bits >> 31) & i32::MAX)
}

/// The float of a key; `key` is its own inverse on the bits.
fn float(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) & i32::MAX)).cast_unsigned())
}

/// The smallest and the largest float that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extremes {
    pub(crate) min: i32,
    pub(crate) max: i32,
}

impl Extremes {
    /// Nothing was seen.
    pub(crate) const NONE: Self = Self { min: i32::MAX, max: i32::MIN };

    /// Of all of `data`.
    #[inline(always)]
    pub(crate) fn of(data: &[f32]) -> Self {
        data.iter().fold(Self::NONE, |seen, x| seen.with(*x))
    }

    #[inline(always)]
    pub(crate) fn with(self, x: f32) -> Self {
        let key = key(x);
        Self { min: self.min.min(key), max: self.max.max(key) }
    }

    #[inline(always)]
    pub(crate) fn merge(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Smallest and largest, or `None` where nothing, or a NaN or an infinity was seen.
    pub(crate) fn finite(self) -> Option<(f32, f32)> {
        let (min, max) = (float(self.min), float(self.max));
        (self.min <= self.max && min.is_finite() && max.is_finite()).then_some((min, max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_the_floats() {
        let ascending = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -f32::MIN_POSITIVE,
            -f32::from_bits(1),
            -0.0,
            0.0,
            f32::from_bits(1),
            f32::MIN_POSITIVE,
            1.0,
            f32::MAX,
            f32::INFINITY,
        ];
        assert!(ascending.is_sorted_by(|a, b| key(*a) < key(*b)));
        for x in ascending {
            assert_eq!(float(key(x)).to_bits(), x.to_bits());
        }
        assert!(key(f32::NAN) > key(f32::INFINITY));
        assert!(key(-f32::NAN) < key(f32::NEG_INFINITY));
    }

    #[test]
    fn only_finite_floats_have_extremes() {
        assert_eq!(Extremes::of(&[]).finite(), None);
        assert_eq!(Extremes::of(&[1.0, f32::NAN]).finite(), None);
        assert_eq!(Extremes::of(&[1.0, -f32::NAN]).finite(), None);
        assert_eq!(Extremes::of(&[1.0, f32::NEG_INFINITY]).finite(), None);
        assert_eq!(Extremes::of(&[1.0, -2.0, 0.5]).finite(), Some((-2.0, 1.0)));
    }
}
