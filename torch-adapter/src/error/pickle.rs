//! What can be wrong with a pickle.

use std::borrow::Cow;

use quant_math::{Budget, OverBudget};

use super::{At, Error};
use crate::limits::Limits;

/// What is wrong with a pickle. [`PickleFault::code`] is stable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleFault {
    /// The pickle ends too early.
    #[error("the pickle ends inside {what}: found {found} bytes, expected {expected}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes that are there.
        found: u64,
        /// Bytes that it takes.
        expected: u64,
    },
    /// A protocol other than 2.
    #[error("the pickle starts with {found}, expected protocol 2")]
    Protocol {
        /// What stands there.
        found: String,
    },
    /// An instruction that torch.jit.save never writes.
    #[error("found instruction {op:#04x}, expected one that torch.jit.save writes")]
    Opcode {
        /// The instruction's byte.
        op: u8,
    },
    /// A global that is neither a class of the archive nor one of torch's own few.
    #[error("found global `{name}`, expected a class of the archive or one that torch.jit.save writes")]
    Global {
        /// Module and name.
        name: String,
    },
    /// An instruction whose operands are not what it needs.
    #[error("{what}: found {found}, expected {expected}")]
    Operand {
        /// The instruction or function.
        what: &'static str,
        /// What stands there.
        found: Cow<'static, str>,
        /// What should stand there.
        expected: Cow<'static, str>,
    },
    /// A memo position that cannot be.
    #[error("memo position {found} {why}")]
    Memo {
        /// The position.
        found: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Values inside values, too deep.
    #[error("values are nested more than {limit} deep")]
    Depth {
        /// The deepest that is allowed.
        limit: usize,
    },
    /// Too many instructions.
    #[error("the pickle has more than {limit} instructions")]
    Ops {
        /// The most that are allowed.
        limit: usize,
    },
    /// A pickle too long for the positions that are kept.
    #[error("the pickle is {found} bytes long, expected less than 4 GiB")]
    Length {
        /// Its length.
        found: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what} is not valid UTF-8")]
    Utf8 {
        /// Which text.
        what: &'static str,
    },
    /// Values where exactly one is expected.
    #[error("{found} values are left at the end, expected one")]
    Leftover {
        /// How many.
        found: usize,
    },
    /// Bytes behind the end.
    #[error("{found} bytes follow the end of the pickle, expected none")]
    Trailing {
        /// How many.
        found: u64,
    },
    /// A value that is changed after it was shared: the way to values that contain themselves.
    #[error("{what} is changed after it was referred to, expected complete values only")]
    Shared {
        /// Which kind of value.
        what: &'static str,
    },
    /// A key that stands twice in an object.
    #[error("attribute `{name}` stands twice in one object, expected unique names")]
    Duplicate {
        /// The key.
        name: String,
    },
    /// The top value is not what the record needs.
    #[error("the pickle holds {found}, expected {expected}")]
    Root {
        /// What it holds.
        found: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// Objects that take much more memory than their pickle.
    #[error("the objects take more than {limit} bytes when their names and texts are written out")]
    Objects {
        /// The most that is allowed.
        limit: u64,
    },
    /// Values that take much more memory than their file is long.
    #[error("{over}")]
    Budget {
        /// What they take.
        over: OverBudget,
    },
    /// A change that does not fit the pickle.
    #[error("cannot change the pickle: {why}")]
    Edit {
        /// Why.
        why: Cow<'static, str>,
    },
}

impl PickleFault {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "T0201",
            Self::Protocol { .. } => "T0202",
            Self::Opcode { .. } => "T0203",
            Self::Global { .. } => "T0204",
            Self::Operand { .. } => "T0205",
            Self::Memo { .. } => "T0206",
            Self::Depth { .. } => "T0207",
            Self::Ops { .. } => "T0208",
            Self::Length { .. } => "T0209",
            Self::Utf8 { .. } => "T0210",
            Self::Leftover { .. } => "T0211",
            Self::Trailing { .. } => "T0212",
            Self::Shared { .. } => "T0213",
            Self::Duplicate { .. } => "T0214",
            Self::Root { .. } => "T0215",
            Self::Edit { .. } => "T0216",
            Self::Objects { .. } => "T0217",
            Self::Budget { .. } => "T0002",
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Depth { .. } | Self::Ops { .. } => {
                Some(format!("if the file is trusted, lift the limit with `{}`", Limits::option()).into())
            }
            Self::Objects { .. } => {
                Some(format!("if the file is trusted, lift the limit with `{}`", quant_math::budget::OPTION).into())
            }
            Self::Budget { over } => Some(over.help().into()),
            Self::Opcode { .. } | Self::Global { .. } | Self::Protocol { .. } => Some(
                "torch.jit.save writes a small, closed set; a pickle with more may run code when Python loads it, \
                 so do not trust the file, or save the model again with `torch.jit.save`"
                    .into(),
            ),
            Self::Edit { .. } => None,
            _ => Some("the record is damaged or was not written by torch.jit.save; save the model again".into()),
        }
    }

    /// Count values of one type, which a vector holds while it grows.
    pub(crate) fn count<T>(budget: &Budget, values: usize) -> Result<(), Self> {
        budget.take_all::<T>(2 * values, "the values of the pickle").map_err(|over| Self::Budget { over })
    }

    pub(crate) fn at(self, record: &str, offset: usize) -> Error {
        Error::Pickle { fault: self, at: At::within(record, offset) }
    }
}
