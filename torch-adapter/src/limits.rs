//! How much a file may make this crate do, beside what it may take of memory ([`quant_math::budget`]).

use quant_math::{Budget, budget};

/// Bounds on what is read. The defaults fit every archive that torch writes for real models, and the option that lifts the memory budget
/// lifts them as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The highest ratio of inflated to deflated length, for records that inflate to more than 1 MiB.
    pub inflate_ratio: u64,
    /// The most instructions in one pickle.
    pub pickle_ops: usize,
    /// The deepest nesting of values in a pickle.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // The budget of the smallest file, whatever it was lifted to.
        let lifted = Budget::for_file(0).check(u64::MAX, "limits").map_or_else(|over| over.limit, |()| u64::MAX);
        Self::lifted(lifted / budget::FLOOR)
    }
}

impl Limits {
    /// The limits where `times` as much memory is allowed as for small files.
    fn lifted(times: u64) -> Self {
        let number = usize::try_from(times.max(1)).unwrap_or(usize::MAX);
        Self {
            inflate_ratio: times.max(1).saturating_mul(1000),
            pickle_ops: number.saturating_mul(16 << 20),
            depth: number.saturating_mul(512),
        }
    }

    /// The option that lifts them, with a value that allows four times as much.
    pub(crate) fn option() -> String {
        format!("{} {}", budget::OPTION, 4 * budget::FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_with_the_memory_that_is_allowed() {
        assert_eq!(Limits::lifted(0), Limits::lifted(1));
        assert_eq!(Limits::lifted(4), Limits { inflate_ratio: 4000, pickle_ops: 64 << 20, depth: 2048 });
        assert_eq!(Limits::lifted(u64::MAX).depth, usize::MAX);
    }
}
