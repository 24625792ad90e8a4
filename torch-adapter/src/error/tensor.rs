//! What can be wrong with a tensor.

use std::borrow::Cow;

use super::{At, Error};

/// What is wrong with a tensor or its storage. [`TensorFault::code`] is stable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFault {
    /// A storage without a record.
    #[error("a tensor lies in record `{record}`, which is not in the archive")]
    NoRecord {
        /// The record.
        record: String,
    },
    /// A record that is not as long as its storage.
    #[error("record `{record}` is {found} bytes long, expected {expected} ({numel} elements of {size} bytes)")]
    RecordSize {
        /// The record.
        record: String,
        /// Its length.
        found: u64,
        /// The length of the storage; saturated.
        expected: u64,
        /// Elements of the storage.
        numel: i64,
        /// Bytes of one.
        size: u64,
    },
    /// Two storages of different kinds in one record.
    #[error("record `{record}` is read as {found}, and before as {expected}")]
    Conflict {
        /// The record.
        record: String,
        /// The later element type and number of elements.
        found: String,
        /// The earlier ones.
        expected: String,
    },
    /// A negative size, stride or offset.
    #[error("{what} is {found}, expected 0 or more")]
    Negative {
        /// Which of the numbers.
        what: &'static str,
        /// What stands there.
        found: i64,
    },
    /// A tensor that reaches beyond its storage.
    #[error("the tensor needs elements up to {found}, but its storage has {expected}")]
    OutOfBounds {
        /// One more than the last element it needs; saturated.
        found: u64,
        /// Elements that are there.
        expected: u64,
    },
}

impl TensorFault {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRecord { .. } => "T0301",
            Self::RecordSize { .. } => "T0302",
            Self::Conflict { .. } => "T0303",
            Self::Negative { .. } => "T0304",
            Self::OutOfBounds { .. } => "T0305",
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::NoRecord { .. } | Self::RecordSize { .. } => {
                "the archive was cut or changed after it was saved; save the model again with `torch.jit.save`".into()
            }
            Self::Conflict { .. } | Self::Negative { .. } | Self::OutOfBounds { .. } => {
                "torch would read memory outside the tensor; do not trust the file".into()
            }
        })
    }

    pub(crate) fn at(self, record: &str, offset: usize) -> Error {
        Error::Tensor { fault: self, at: At::within(record, offset) }
    }
}
