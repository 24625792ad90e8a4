//! How much memory a file may ask for: what its readers make is counted against its length.
//!
//! A byte of a file can stand for many bytes in memory: a node of two bytes has an entry in every table, a deflated byte is a thousand
//! bytes of text. So every reader counts what it makes, before it makes it, against one budget: [`MULTIPLE`] times the file's length,
//! and no less than [`FLOOR`]. One option, [`OPTION`], lifts it for a file that is trusted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in memory for each byte of a file that are always allowed. Models that people have stay below a third of it.
pub const MULTIPLE: u64 = 16;
/// What a file may ask for however small it is.
pub const FLOOR: u64 = 256 << 20;
/// The option of both binaries that lifts the budget, for messages.
pub const OPTION: &str = "--memory-limit";

static LIFTED: OnceLock<u64> = OnceLock::new();

/// Let every budget of this process that is made from now on be at least `bytes`, as [`OPTION`] does. The first call counts; whether
/// this was it.
pub fn lift(bytes: u64) -> bool {
    LIFTED.set(bytes).is_ok()
}

/// Counts bytes that are made from one file. What is given back ([`Budget::release`]) may be used again.
#[derive(Debug)]
pub struct Budget {
    file: AtomicU64,
    limit: AtomicU64,
    used: AtomicU64,
}

/// A file asks for more than its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} of a file of {file} bytes take more than {limit} bytes of memory")]
pub struct OverBudget {
    /// What was made when the budget was used up, in the plural.
    pub what: &'static str,
    /// The file's length.
    pub file: u64,
    /// The budget.
    pub limit: u64,
}

impl OverBudget {
    /// The way out.
    pub fn help(&self) -> String {
        format!(
            "no model that a framework writes asks for so much; if the file is trusted, allow more with `{OPTION} {}`",
            self.limit.saturating_mul(4)
        )
    }
}

impl Budget {
    /// The budget of a file of `file` bytes.
    pub fn for_file(file: u64) -> Self {
        let limit = file.saturating_mul(MULTIPLE).max(FLOOR).max(LIFTED.get().copied().unwrap_or(0));
        Self::of(file, limit)
    }

    /// A budget of `limit` bytes for a file of `file` bytes.
    pub fn of(file: u64, limit: u64) -> Self {
        Self { file: file.into(), limit: limit.into(), used: AtomicU64::new(0) }
    }

    /// So many bytes of another file were read, and count like the file's own: what is made of both may be larger by their multiple.
    pub fn read_too(&self, bytes: u64) {
        for (counter, more) in [(&self.file, bytes), (&self.limit, bytes.saturating_mul(MULTIPLE))] {
            let _always_some =
                counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |own| Some(own.saturating_add(more)));
        }
    }

    fn within(&self, bytes: u64, what: &'static str) -> Result<(), OverBudget> {
        let limit = self.limit.load(Ordering::Relaxed);
        let over = OverBudget { what, file: self.file.load(Ordering::Relaxed), limit };
        if bytes > limit { Err(over) } else { Ok(()) }
    }

    /// Bytes that were counted.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Count `bytes` more, for `what` (in the plural, as the message says it).
    ///
    /// # Errors
    /// Where that is more than the budget.
    pub fn take(&self, bytes: u64, what: &'static str) -> Result<(), OverBudget> {
        let before =
            self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_add(bytes)));
        self.within(before.unwrap_or(u64::MAX).saturating_add(bytes), what)
    }

    /// Count `count` values of type `T` more.
    ///
    /// # Errors
    /// Where that is more than the budget.
    pub fn take_all<T>(&self, count: usize, what: &'static str) -> Result<(), OverBudget> {
        self.take((count as u64).saturating_mul(size_of::<T>() as u64), what)
    }

    /// Whether `bytes` more, which are held for a while only, are within the budget; they are not counted.
    ///
    /// # Errors
    /// Where that is more than the budget.
    pub fn check(&self, bytes: u64, what: &'static str) -> Result<(), OverBudget> {
        self.within(self.used().saturating_add(bytes), what)
    }

    /// Give back bytes that were counted and are no longer in use.
    pub fn release(&self, bytes: u64) {
        let smaller = |used: u64| Some(used.saturating_sub(bytes));
        let _always_some = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, smaller);
    }
}

/// Bytes that are counted for as long as this lives: what is handed on afterwards is its new owner's.
#[derive(Debug)]
pub struct Share<'b> {
    budget: &'b Budget,
    taken: u64,
}

impl<'b> Share<'b> {
    /// Nothing so far.
    pub fn of(budget: &'b Budget) -> Self {
        Self { budget, taken: 0 }
    }

    /// Count `bytes` more; see [`Budget::take`].
    ///
    /// # Errors
    /// Where that is more than the budget.
    pub fn take(&mut self, bytes: u64, what: &'static str) -> Result<(), OverBudget> {
        self.taken = self.taken.saturating_add(bytes);
        self.budget.take(bytes, what)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.release(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_multiple_of_the_file_and_never_less_than_the_floor() {
        let small = Budget::for_file(1);
        small.take(FLOOR, "things").unwrap();
        let error = small.take(1, "things").unwrap_err();
        assert_eq!(error, OverBudget { what: "things", file: 1, limit: FLOOR });
        assert_eq!(error.to_string(), "things of a file of 1 bytes take more than 268435456 bytes of memory");
        assert!(error.help().contains(OPTION));
        let large = Budget::for_file(FLOOR);
        large.take(MULTIPLE * FLOOR, "things").unwrap();
        assert!(large.take(1, "things").is_err());
        assert!(Budget::for_file(u64::MAX).take(u64::MAX, "things").is_ok());
    }

    #[test]
    fn what_is_read_of_another_file_counts_like_the_files_own() {
        let budget = Budget::of(1, 10);
        budget.read_too(2);
        budget.take(10 + 2 * MULTIPLE, "things").unwrap();
        let error = budget.take(1, "things").unwrap_err();
        assert_eq!(error, OverBudget { what: "things", file: 3, limit: 10 + 2 * MULTIPLE });
    }

    #[test]
    fn what_is_given_back_may_be_used_again() {
        let budget = Budget::of(0, 10);
        budget.take_all::<u32>(2, "numbers").unwrap();
        assert!(budget.take(u64::MAX, "numbers").is_err());
        budget.release(u64::MAX);
        assert_eq!(budget.used(), 0);
        budget.take(10, "numbers").unwrap();
        budget.release(4);
        let mut share = Share::of(&budget);
        share.take(3, "numbers").unwrap();
        assert!(share.take(2, "numbers").is_err());
        drop(share);
        assert_eq!(budget.used(), 6);
    }
}
