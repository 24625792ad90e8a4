//! How much a file may make this crate do; each limit is an option that lifts it.

/// Bounds on what is read. The defaults fit every archive that torch writes for real models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes that one deflated record may inflate to; sixteen times the file's length is always allowed.
    pub inflated_bytes: u64,
    /// The highest ratio of inflated to deflated length, for records that inflate to more than 1 MiB.
    pub inflate_ratio: u64,
    /// The most bytes that all deflated records together may inflate to, those that are never read (`.debug_pkl`) left out; sixteen times the file's length is always allowed.
    pub inflated_total_bytes: u64,
    /// The most instructions in one pickle.
    pub pickle_ops: usize,
    /// The most bytes that all objects, their names and their paths take; sixteen times the pickle's length is always allowed.
    pub object_bytes: u64,
    /// The deepest nesting of values in a pickle.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inflated_bytes: 16 << 20,
            inflate_ratio: 1000,
            inflated_total_bytes: 64 << 20,
            pickle_ops: 16 << 20,
            object_bytes: 64 << 20,
            depth: 512,
        }
    }
}

/// `limit`, or sixteen times the file's length where that is more.
pub(crate) fn for_file(limit: u64, file_bytes: usize) -> u64 {
    limit.max((file_bytes as u64).saturating_mul(16))
}
