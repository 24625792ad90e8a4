//! Forms of output that do not exist for what is asked.

use super::{Emit, Observer, Quantizer, Settings};
use crate::config::ConfigList;
use crate::plan::QuantType;

/// The largest codes that `packed` stores.
const PACKED_BITS: u32 = 8;

/// Why a form of output cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`--emit {emit}` {why}")]
pub struct NoSuchForm {
    /// The form.
    pub emit: Emit,
    /// What stands against it.
    pub why: String,
    /// What can be had instead.
    pub help: String,
}

impl Emit {
    /// Whether this form exists for a config.
    ///
    /// # Errors
    /// What stands against it: `training` of the naive quantizer, of ranges that no training can learn, or of weights that are to be rounded
    /// once; `packed` with codes of more than eight bits.
    pub fn check(self, config: &ConfigList) -> Result<(), NoSuchForm> {
        self.check_quantizer(config.quantizer)?;
        let no = |why: String, help: &str| Err(NoSuchForm { emit: self, why, help: help.to_owned() });
        if self == Self::Training
            && let Some(found) = config.not_learnable()
        {
            return no(found.to_string(), found.help());
        }
        if let (Self::Training, Some(entry)) = (self, config.reconstructing()) {
            return no(
                format!(
                    "rounds weights anew in every step, but config_list[{entry}] asks for `rounding: \"reconstruct\"`"
                ),
                "leave `rounding` out, or choose a form for what is not trained: `inference`, `baked` or `packed`",
            );
        }
        let wide = config.entries.iter().enumerate().find_map(|(index, entry)| {
            let settings = entry.settings(config.quantizer, QuantType::Weight, index)?;
            self.too_wide(&settings).map(|bits| (index, bits))
        });
        if let Some((index, bits)) = wide {
            return no(
                format!(
                    "stores codes of at most {PACKED_BITS} bits, but config_list[{index}] asks for {bits}-bit weights"
                ),
                "use at most 8 bits, or another form: `--emit baked` quantizes the weights too, `--emit inference` activations as well",
            );
        }
        Ok(())
    }

    /// Whether a quantizer has this form.
    pub(super) fn check_quantizer(self, quantizer: Quantizer) -> Result<(), NoSuchForm> {
        let row = quantizer.row();
        if row.has(self) {
            return Ok(());
        }
        let (why, help) = row.lacks;
        Err(NoSuchForm { emit: self, why: why.to_owned(), help: help.to_owned() })
    }

    /// The bits of a weight that are more than this form stores.
    pub fn too_wide(self, settings: &Settings) -> Option<u32> {
        let wide = self == Self::Packed && settings.bits > PACKED_BITS && !settings.changes_nothing();
        wide.then_some(settings.bits)
    }
}

impl Observer {
    /// Whether a training can follow it batch by batch: it keeps nothing of them but two ends.
    pub fn is_learnable(self) -> bool {
        matches!(self, Self::MinMax | Self::Ema)
    }
}
