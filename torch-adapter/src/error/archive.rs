//! What can be wrong with an archive.

use std::borrow::Cow;

use super::{At, Error};
use crate::limits::Limits;

const DAMAGED: &str = "the file is damaged or was cut off; copy it again from its source";
const HOSTILE: &str =
    "torch.jit.save never writes this; do not trust the file, or repack it with `torch.jit.load` and `torch.jit.save`";

/// What is wrong with an archive. [`ArchiveFault::code`] is stable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveFault {
    /// A file of another kind.
    #[error("this is {found}, expected a TorchScript archive as torch.jit.save writes it")]
    NotAnArchive {
        /// What the file is.
        found: Cow<'static, str>,
        /// What to do with it.
        help: Cow<'static, str>,
    },
    /// The end of the file is missing.
    #[error("the file ends inside {what}: found {found} bytes, expected {expected}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes that are there.
        found: u64,
        /// Bytes that it takes.
        expected: u64,
    },
    /// No end-of-directory record.
    #[error("found no end-of-directory record in the last {searched} bytes, expected one at the end of the file")]
    NoEnd {
        /// Bytes that were searched.
        searched: usize,
    },
    /// Bytes behind the end record.
    #[error("found {found} bytes behind the end-of-directory record, expected none")]
    TrailingBytes {
        /// How many.
        found: u64,
    },
    /// A directory that contradicts itself.
    #[error("{what}: found {found}, expected {expected}")]
    Directory {
        /// Which field.
        what: &'static str,
        /// What stands there.
        found: u64,
        /// What should stand there.
        expected: u64,
    },
    /// A signature that is not there.
    #[error("{what}: found signature {found:#010x}, expected {expected:#010x}")]
    Signature {
        /// Of which header.
        what: &'static str,
        /// What stands there.
        found: u32,
        /// What should stand there.
        expected: u32,
    },
    /// A name that no record may have.
    #[error("record name {name} {why}, expected a relative path of plain components")]
    Name {
        /// The name, quoted and escaped.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two records with one name.
    #[error("two records are called `{name}`, expected unique names")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Two records that share bytes, or a record that reaches into the directory.
    #[error("the bytes of `{name}` end at {end:#x}, behind the start of {next} at {start:#x}")]
    Overlap {
        /// The record that lies first.
        name: String,
        /// Where it ends.
        end: u64,
        /// What comes next: a record or the directory.
        next: String,
        /// Where that starts.
        start: u64,
    },
    /// An encrypted record.
    #[error("the record is encrypted (flags {flags:#06x}), expected plain data")]
    Encrypted {
        /// The flags as written.
        flags: u16,
    },
    /// A compression method other than stored and deflated.
    #[error("found compression method {method}, expected 0 (stored) or 8 (deflated)")]
    Method {
        /// The method.
        method: u16,
    },
    /// A local header that contradicts the directory.
    #[error("{what} in front of the data is {found}, but the directory says {expected}")]
    Mismatch {
        /// Which field.
        what: &'static str,
        /// What the local header or data descriptor says.
        found: String,
        /// What the central directory says.
        expected: String,
    },
    /// Data that is not what was written.
    #[error("the data has CRC {found:#010x}, expected {expected:#010x}")]
    Crc {
        /// The CRC of the data.
        found: u32,
        /// The CRC in the directory.
        expected: u32,
    },
    /// A deflate stream that does not hold what the directory says.
    #[error("deflated data: {why}, expected {expected} bytes")]
    Inflate {
        /// What happened.
        why: &'static str,
        /// The declared length.
        expected: u64,
    },
    /// A record that inflates to too much.
    #[error("{packed} deflated bytes inflate to {size}, expected at most {limit}")]
    Bomb {
        /// Deflated length.
        packed: u64,
        /// Declared length.
        size: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// A record that every archive has is missing.
    #[error("there is no record `{name}`, expected one in every archive")]
    Missing {
        /// The record.
        name: String,
    },
    /// A file format version beyond those that exist.
    #[error("found file version {found}, expected 1 to 10")]
    Version {
        /// What the record says.
        found: String,
    },
    /// Tensors in another byte order.
    #[error("found byte order {found}, expected `little`")]
    ByteOrder {
        /// What the record says.
        found: String,
    },
    /// A record that is text by its name and is not UTF-8.
    #[error("the text is not valid UTF-8")]
    NotText,
    /// A change that does not fit the archive.
    #[error("{what} `{name}`: {why}")]
    Edit {
        /// The change.
        what: &'static str,
        /// The record.
        name: String,
        /// Why it does not fit.
        why: Cow<'static, str>,
    },
}

impl ArchiveFault {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnArchive { .. } => "T0101",
            Self::Truncated { .. } => "T0102",
            Self::NoEnd { .. } => "T0103",
            Self::TrailingBytes { .. } => "T0104",
            Self::Directory { .. } => "T0105",
            Self::Signature { .. } => "T0106",
            Self::Name { .. } => "T0107",
            Self::Duplicate { .. } => "T0108",
            Self::Overlap { .. } => "T0109",
            Self::Encrypted { .. } => "T0110",
            Self::Method { .. } => "T0111",
            Self::Mismatch { .. } => "T0112",
            Self::Crc { .. } => "T0113",
            Self::Inflate { .. } => "T0114",
            Self::Bomb { .. } => "T0115",
            Self::Missing { .. } => "T0116",
            Self::Version { .. } => "T0117",
            Self::ByteOrder { .. } => "T0118",
            Self::NotText => "T0119",
            Self::Edit { .. } => "T0120",
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NotAnArchive { help, .. } => Some(help.clone()),
            Self::Truncated { .. } | Self::NoEnd { .. } | Self::Signature { .. } | Self::Inflate { .. } => {
                Some(DAMAGED.into())
            }
            Self::Crc { .. } => Some(
                "the file is damaged, or a tool changed the data without its checksum (torch does not notice); \
                 repack it with `torch.jit.load` and `torch.jit.save` if you trust it"
                    .into(),
            ),
            Self::TrailingBytes { .. }
            | Self::Directory { .. }
            | Self::Name { .. }
            | Self::Duplicate { .. }
            | Self::Overlap { .. }
            | Self::Mismatch { .. }
            | Self::NotText => Some(HOSTILE.into()),
            Self::Encrypted { .. } | Self::Method { .. } => {
                Some("repack it with `torch.jit.load` and `torch.jit.save`".into())
            }
            Self::Bomb { .. } => {
                Some(format!("if the file is trusted, lift the limit with `{}`", Limits::option()).into())
            }
            Self::Missing { .. } => Some("save the model again with `torch.jit.save`".into()),
            Self::Version { .. } => Some("save the model with a PyTorch of 1.x or 2.x".into()),
            Self::ByteOrder { .. } => Some("save the model on a little-endian machine".into()),
            Self::Edit { .. } => None,
        }
    }

    pub(crate) fn at(self, offset: usize) -> Error {
        Error::Archive { fault: self, at: At::offset(offset as u64) }
    }

    pub(crate) fn in_record(self, record: &str) -> Error {
        Error::Archive { fault: self, at: At::record(record) }
    }
}
