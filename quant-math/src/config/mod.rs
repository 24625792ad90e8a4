//! NNI's `config_list`: parse, validate, select.
//!
//! ```text
//! text ──syntax──▶ values ──validate──▶ ConfigList ──select──▶ per op: an Entry ──settings──▶ per tensor: Settings
//!        (JSON5 and                (all errors                (the last match
//!         what Python adds)         at once)                   wins whole)
//! ```
//!
//! One config serves TensorFlow and TorchScript: [`op_types`] says which names mean the same.
//!
//! ```
//! use quant_math::config::{ConfigList, OpFacts, Selection};
//! use quant_math::{QuantType, Quantizer};
//!
//! // As it stands in NNI's documentation.
//! let text = "config_list = [{
//!     'quant_types': ['weight'],
//!     'quant_bits': {'weight': 8},  # you can just use `int` here
//!     'op_types': ['Conv2d', 'Linear']
//! }]";
//! let config = ConfigList::parse(text, Some(Quantizer::Qat))?;
//! let op = OpFacts { name: "block1/conv", other_name: None, op_type: "Conv2D", is_default: true };
//! let Selection::Selected { entry, config } = config.select(&op) else { unreachable!() };
//! assert_eq!(config.settings(Quantizer::Qat, QuantType::Weight, entry).map(|s| s.bits), Some(8));
//! # Ok::<(), quant_math::config::ConfigErrors>(())
//! ```

mod checker;
mod entry;
mod error;
mod fingerprint;
mod learnable;
mod nearest;
pub mod op_types;
mod pattern;
mod per_channel;
mod preset;
#[cfg(feature = "schema")]
mod schema;
mod select;
mod selector;
mod syntax;
mod taken_away;
mod unmatched;
mod validate;
mod value;
mod written;

use crate::plan::{QuantType, Quantizer, Reason, Rounding};

/// The JSON Schema (draft 2020-12) of a config, with every key's meaning and default, indented.
///
/// `x-op-types` holds the table of op types that mean the same. The feature `schema` has what it is made by.
pub const SCHEMA: &str = include_str!("schema.json");

pub use entry::Entry;
pub use error::{ConfigError, ConfigErrorKind, ConfigErrors};
pub use learnable::NotLearnable;
pub use nearest::nearest;
pub use per_channel::{PerChannel, channels_pay};
pub use preset::Preset;
#[cfg(feature = "schema")]
pub use schema::schema;
pub use select::{OpFacts, Selection};
pub use selector::Selector;
pub use written::OpBits;

/// A validated `config_list` and the quantizer that it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigList {
    /// The quantizer.
    pub quantizer: Quantizer,
    /// The entries, in the order of the text; of those that match an op, the last decides.
    pub entries: Vec<Entry>,
}

impl ConfigList {
    /// Whether a weight is to be rounded by [reconstruction](crate::reconstruct).
    pub fn reconstructs(&self) -> bool {
        self.reconstructing().is_some()
    }

    /// The first entry whose weights are.
    pub(crate) fn reconstructing(&self) -> Option<usize> {
        let weights = |index: usize| self.entries.get(index)?.settings(self.quantizer, QuantType::Weight, index);
        (0..self.entries.len())
            .find(|index| weights(*index).is_some_and(|found| found.rounding == Rounding::Reconstruct))
    }

    /// What an absent config means: the weights of every default op, 8 bits.
    pub fn default_for(quantizer: Quantizer) -> Self {
        Self::preset_for(quantizer, None)
    }

    /// [`default_for`](Self::default_for) on a preset's defaults.
    pub fn preset_for(quantizer: Quantizer, preset: Option<Preset>) -> Self {
        Self { quantizer, entries: vec![Entry::default_weights(quantizer, preset)] }
    }

    /// Read a list of entries, or `{ quantizer, preset, config_list }`.
    ///
    /// JSON5 is understood, and what Python adds to it: `#` comments, `True`, `False`, `None`, a leading `config_list =`. A
    /// `quantizer` of the caller and one in the text must agree, and one of both must be there. Everything that is wrong with the
    /// entries is reported at once.
    ///
    /// # Errors
    /// Everything that is wrong with the text, each with the path of its key.
    pub fn parse(text: &str, quantizer: Option<Quantizer>) -> Result<Self, ConfigErrors> {
        Self::parse_on(text, quantizer, None)
    }

    /// [`parse`](Self::parse) with a preset of the caller; it and one in the text must agree.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse), and two presets that differ.
    pub fn parse_on(text: &str, quantizer: Option<Quantizer>, preset: Option<Preset>) -> Result<Self, ConfigErrors> {
        let value = syntax::read(text)?;
        validate::config(&value, quantizer, preset)
    }

    /// Keys that were given and change nothing, for example `ema_decay` for Naive.
    pub fn warnings(&self) -> Vec<Reason> {
        self.entries.iter().flat_map(|entry| entry.warnings.iter().cloned()).collect()
    }

    /// The kinds of tensors that any entry which is not an `exclude` names.
    pub fn uses(&self, kind: QuantType) -> bool {
        self.entries.iter().any(|entry| !entry.exclude && entry.quant_types.contains(&kind))
    }
}
