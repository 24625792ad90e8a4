//! What can be wrong with a ranges file, or with several.

use super::FOLDED_VERSION;
use crate::MathError;
use crate::plan::QuantType;

/// Why a ranges file cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RangesError {
    /// Not JSON of this form.
    #[error("{0}")]
    Json(String),
    /// A later or unknown version.
    #[error("version {found}, expected 1 to {FOLDED_VERSION}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// Measured on another model.
    #[error("made for `{file}` ({found}), but this model is {expected}")]
    OtherModel {
        /// The file it was made for.
        file: String,
        /// That model's fingerprint.
        found: String,
        /// This model's fingerprint.
        expected: String,
    },
    /// Ends that are no range.
    #[error("ranges[{index}] of `{site}`: {message}")]
    Range {
        /// Its position in the list.
        index: usize,
        /// The op.
        site: String,
        /// What is wrong.
        message: String,
    },
    /// Moving averages of other batches.
    #[error("its moving averages are of {}, expected batches of {expected}", batches(*.found))]
    OtherBatch {
        /// How many samples ran at once, where the file says it.
        found: Option<u64>,
        /// How many are to run at once.
        expected: u64,
    },
    /// No file to join.
    #[error("there is nothing to join")]
    Nothing,
    /// Two files that do not belong together.
    #[error("{what} is {found}, but {expected} in the first file")]
    Differ {
        /// The file's position in the list, from 0.
        part: usize,
        /// What of it.
        what: String,
        /// What stands there.
        found: String,
        /// What stands in the first file.
        expected: String,
    },
    /// An activation that only one of two files has.
    #[error("the {kind} of `{site}` (tensor `{tensor}`) is missing, but the first file has it")]
    Missing {
        /// The file's position in the list, from 0.
        part: usize,
        /// The op.
        site: String,
        /// Which of its tensors.
        kind: QuantType,
        /// The tensor.
        tensor: String,
    },
    /// An activation that the first file does not have, or that is there twice.
    #[error("the {kind} of `{site}` (tensor `{tensor}`) is there more than once, or is missing in the first file")]
    Unexpected {
        /// The file's position in the list, from 0.
        part: usize,
        /// The op.
        site: String,
        /// Which of its tensors.
        kind: QuantType,
        /// The tensor.
        tensor: String,
    },
    /// A range of an observer that cannot be joined without what was counted.
    #[error("the {kind} of `{site}` has no statistics, and a range of this observer cannot be joined without")]
    NoStatistics {
        /// The file's position in the list, from 0.
        part: usize,
        /// The op.
        site: String,
        /// Which of its tensors.
        kind: QuantType,
    },
    /// Statistics that do not add up.
    #[error("the {kind} of `{site}`: {source}")]
    Statistics {
        /// The file's position in the list, from 0.
        part: usize,
        /// The op.
        site: String,
        /// Which of its tensors.
        kind: QuantType,
        /// What is wrong.
        r#source: MathError,
    },
    /// More samples than 64 bits count.
    #[error("more than 2^64 samples")]
    Samples,
}

fn batches(size: Option<u64>) -> String {
    size.map_or_else(|| "batches of unknown size".to_owned(), |size| format!("batches of {size} (`--batch {size}`)"))
}

impl RangesError {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Version { .. } | Self::Range { .. } => "R0101",
            Self::OtherModel { .. } => "R0102",
            Self::Nothing | Self::Samples => "R0103",
            Self::Differ { .. } | Self::Missing { .. } | Self::Unexpected { .. } => "R0104",
            Self::NoStatistics { .. } => "R0105",
            Self::Statistics { .. } => "R0106",
            Self::OtherBatch { .. } => "R0107",
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Json(_) | Self::Version { .. } | Self::Range { .. } => Some("docs/ranges.md describes the format"),
            Self::OtherModel { .. } => Some("calibrate this model"),
            Self::Differ { .. } | Self::Missing { .. } | Self::Unexpected { .. } => {
                Some("calibrate every part of the data with the same model and the same config")
            }
            Self::NoStatistics { .. } => {
                Some("calibrate that part of the data again; `calibrate` keeps its statistics")
            }
            Self::OtherBatch { .. } => Some("go on with batches of the same size"),
            Self::Statistics { .. } | Self::Nothing | Self::Samples => None,
        }
    }

    /// The file of several that is meant, from 0.
    pub fn part(&self) -> Option<usize> {
        match self {
            Self::Differ { part, .. }
            | Self::Missing { part, .. }
            | Self::Unexpected { part, .. }
            | Self::NoStatistics { part, .. }
            | Self::Statistics { part, .. } => Some(*part),
            _ => None,
        }
    }
}
