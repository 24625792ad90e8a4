//! The ranges file: what calibration measured for each activation, and for which model.

use serde::{Deserialize, Serialize};

use crate::plan::{Observer, QuantType};
use crate::range::Range;

/// The version of the ranges file; raised when a field changes its meaning.
pub const RANGES_VERSION: u32 = 1;

/// Measured activation ranges of one model, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// [`RANGES_VERSION`].
    pub version: u32,
    /// The framework that ran the model, with its version (`tensorflow 2.21.0`).
    pub framework: String,
    /// The model that was run.
    pub model: ModelId,
    /// How data became a range.
    pub observer: Observer,
    /// The number of samples that were run.
    pub samples: u64,
    /// One entry per activation.
    pub ranges: Vec<SiteRange>,
}

/// Which model a ranges file belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelId {
    /// The file's name, for people.
    pub file: String,
    /// `crc32c:<8 hex digits>:<bytes>` of the file.
    pub fingerprint: String,
}

/// The range of one activation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteRange {
    /// The op's name, as in the plan.
    pub site: String,
    /// `input` or `output`.
    pub kind: QuantType,
    /// The tensor's name (`node:0`, or the module's path).
    pub tensor: String,
    /// Smallest value; what it means exactly depends on the observer.
    pub min: f32,
    /// Largest value.
    pub max: f32,
}

/// The fingerprint of a file of `len` bytes whose CRC-32C (Castagnoli) is `crc`.
pub fn fingerprint(crc: u32, len: u64) -> String {
    format!("crc32c:{crc:08x}:{len}")
}

/// Why a ranges file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangesError {
    /// Not JSON of this form.
    #[error("{0}")]
    Json(String),
    /// A later or unknown version.
    #[error("version {found}, expected {RANGES_VERSION}")]
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
}

impl Ranges {
    /// Read and check the JSON text.
    pub fn parse(text: &str) -> Result<Self, RangesError> {
        let ranges: Self = serde_json::from_str(text).map_err(|e| RangesError::Json(e.to_string()))?;
        if ranges.version != RANGES_VERSION {
            return Err(RangesError::Version { found: ranges.version });
        }
        for (index, entry) in ranges.ranges.iter().enumerate() {
            if let Err(error) = Range::new(entry.min, entry.max) {
                return Err(RangesError::Range { index, site: entry.site.clone(), message: error.to_string() });
            }
        }
        Ok(ranges)
    }

    /// Refuse ranges that were measured on another model than the one with this fingerprint.
    ///
    /// # Errors
    /// [`RangesError::OtherModel`].
    pub fn check_model(&self, fingerprint: &str) -> Result<(), RangesError> {
        if self.model.fingerprint == fingerprint {
            return Ok(());
        }
        let ModelId { file, fingerprint: found } = self.model.clone();
        Err(RangesError::OtherModel { file, found, expected: fingerprint.to_owned() })
    }

    /// The range of a tensor, by the site's op and kind, else by the tensor's name.
    pub fn find(&self, site: &str, kind: QuantType, tensor: &str) -> Option<Range> {
        let by_site = self.ranges.iter().find(|r| r.site == site && r.kind == kind && r.tensor == tensor);
        let found = by_site.or_else(|| self.ranges.iter().find(|r| r.tensor == tensor))?;
        Some(Range { min: found.min, max: found.max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"version": 1, "framework": "tensorflow 2.21.0",
        "model": {"file": "m.pb", "fingerprint": "crc32c:00000000:0"}, "observer": "minmax", "samples": 2,
        "ranges": [{"site": "relu", "kind": "output", "tensor": "relu:0", "min": 0.0, "max": 6.0}]}"#;

    #[test]
    fn an_entry_is_found_by_site_and_by_tensor() {
        let ranges = Ranges::parse(TEXT).unwrap();
        let six = Some(Range { min: 0.0, max: 6.0 });
        assert_eq!(ranges.find("relu", QuantType::Output, "relu:0"), six);
        assert_eq!(ranges.find("next", QuantType::Input, "relu:0"), six);
        assert_eq!(ranges.find("next", QuantType::Input, "other:0"), None);
    }

    #[test]
    fn damaged_files_say_what_is_wrong() {
        assert!(matches!(Ranges::parse("{"), Err(RangesError::Json(_))));
        assert_eq!(
            Ranges::parse(&TEXT.replace("\"version\": 1", "\"version\": 9")),
            Err(RangesError::Version { found: 9 })
        );
        let reversed = Ranges::parse(&TEXT.replace("\"max\": 6.0", "\"max\": -6.0"));
        assert!(matches!(reversed, Err(RangesError::Range { index: 0, .. })), "{reversed:?}");
    }

    #[test]
    fn the_fingerprint_is_fixed_width_hex_and_length() {
        assert_eq!(fingerprint(0xab, 12), "crc32c:000000ab:12");
    }
}
