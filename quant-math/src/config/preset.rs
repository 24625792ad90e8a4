//! Whole arithmetics in one word: the defaults that the keys of an entry stand on.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Entry;
use super::per_channel::PerChannel;
use crate::plan::{Quantizer, Rounding};

/// The word beside a `config_list`, or of `--preset`. What an entry says itself wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Preset {
    /// NNI's arithmetic: one scale per tensor, and Naive casts toward zero.
    Nni,
}

/// Every preset and its word.
pub(super) const PRESETS: [(&str, Preset); 1] = [("nni", Preset::Nni)];

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nni => "nni",
        })
    }
}

impl Preset {
    /// Put this preset's values in the place of the defaults.
    pub(super) fn set(self, entry: &mut Entry, quantizer: Quantizer) {
        match self {
            Self::Nni => {
                entry.per_channel = PerChannel::Never;
                if quantizer.row().cannot_round(Rounding::Truncate).is_none() {
                    entry.rounding = Rounding::Truncate;
                }
            }
        }
    }
}
