//! How much a file may make this crate do, beside what it may take of memory ([`quant_math::budget`]); each limit is an option that lifts it.

/// Bounds on what is read. The defaults fit every archive that torch writes for real models.
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
        Self { inflate_ratio: 1000, pickle_ops: 16 << 20, depth: 512 }
    }
}
