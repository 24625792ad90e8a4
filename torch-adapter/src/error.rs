//! What can go wrong with a TorchScript archive, with the place and the way out.
//!
//! Codes: `T00xx` files, `T01xx` archive, `T02xx` pickle, `T03xx` tensors, `T04xx` class text, `T05xx` plan and emit.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use quant_math::MathError;

use crate::archive::ArchiveFault;
use crate::pickle::PickleFault;
use crate::tensors::TensorFault;

/// A place in an archive: record and byte offset, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct At {
    /// The record's name, without the archive's prefix.
    pub record: Option<String>,
    /// Byte offset in the record when there is one, else in the file.
    pub offset: Option<u64>,
}

impl At {
    /// A byte offset in the file.
    pub fn offset(offset: u64) -> Self {
        Self { record: None, offset: Some(offset) }
    }

    /// A record, as a whole.
    pub fn record(record: impl Into<String>) -> Self {
        Self { record: Some(record.into()), offset: None }
    }

    /// A byte offset in a record.
    pub fn within(record: impl Into<String>, offset: usize) -> Self {
        Self { record: Some(record.into()), offset: Some(offset as u64) }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.record, self.offset) {
            (Some(record), Some(offset)) => write!(f, "record `{record}`, offset {offset:#x}"),
            (Some(record), None) => write!(f, "record `{record}`"),
            (None, Some(offset)) => write!(f, "offset {offset:#x}"),
            (None, None) => Ok(()),
        }
    }
}

/// An error of this crate. [`Error::code`] is stable; [`Error::help`] says the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another error, with the file in which it happened.
    #[error("{source}")]
    InFile {
        /// The file.
        path: PathBuf,
        /// What happened there.
        source: Box<Error>,
    },
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, for example "read the archive".
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The archive, or a record of it, is not as torch writes it.
    #[error("{fault}")]
    Archive {
        /// What is wrong.
        fault: ArchiveFault,
        /// Where.
        at: At,
    },
    /// A pickle is not as torch writes it.
    #[error("{fault}")]
    Pickle {
        /// What is wrong.
        fault: PickleFault,
        /// Where.
        at: At,
    },
    /// A tensor does not fit its storage.
    #[error("{fault}")]
    Tensor {
        /// What is wrong.
        fault: TensorFault,
        /// Where it is described.
        at: At,
    },
    /// Numbers without a quantized form.
    #[error("tensor `{tensor}`: {source}")]
    Math {
        /// The tensor, as module path and attribute.
        tensor: String,
        /// What is wrong with it.
        source: MathError,
    },
}

impl Error {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InFile { source, .. } => source.code(),
            Self::Io { .. } => "T0001",
            Self::Archive { fault, .. } => fault.code(),
            Self::Pickle { fault, .. } => fault.code(),
            Self::Tensor { fault, .. } => fault.code(),
            Self::Math { source, .. } => source.code(),
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::InFile { source, .. } => source.help(),
            Self::Io { .. } => None,
            Self::Archive { fault, .. } => fault.help(),
            Self::Pickle { fault, .. } => fault.help(),
            Self::Tensor { fault, .. } => fault.help(),
            Self::Math { source, .. } => source.help(),
        }
    }

    /// File, record and offset, as far as they are known, for a line `--> …`.
    pub fn location(&self) -> Option<String> {
        match self {
            Self::InFile { path, source } => {
                let path = path.display();
                Some(source.location().map_or_else(|| path.to_string(), |at| format!("{path}, {at}")))
            }
            Self::Archive { at, .. } | Self::Pickle { at, .. } | Self::Tensor { at, .. } => {
                Some(at.to_string()).filter(|at| !at.is_empty())
            }
            Self::Io { .. } | Self::Math { .. } => None,
        }
    }

    /// The same error, known to have happened in `path`.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Self::InFile { .. } => self,
            source => Self::InFile { path: path.to_owned(), source: Box::new(source) },
        }
    }
}
