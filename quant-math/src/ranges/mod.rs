//! The ranges file: what calibration measured for each activation, and for which model.
//!
//! Beside its range an activation may have a [`Calibration`]: what was counted, from which the range follows. With it a run can
//! be resumed, and the files of several machines joined ([`Ranges::merge`]).

mod error;
mod lookup;
mod merge;

use serde::{Deserialize, Serialize};

use crate::MathError;
use crate::observers::Statistics;
use crate::plan::{Observer, QuantType, Settings};
use crate::range::Range;

pub use error::RangesError;
pub use lookup::RangeLookup;

/// The version of the ranges file; raised when a field changes its meaning or one is added.
pub const RANGES_VERSION: u32 = 2;

/// The version of a file with layers that had taken batch normalizations, which programs before would not notice.
pub const FOLDED_VERSION: u32 = 3;

/// The version of a file of which these layers had taken theirs.
pub fn version_for(folded: &[String]) -> u32 {
    if folded.is_empty() { RANGES_VERSION } else { FOLDED_VERSION }
}

/// The first version, still read: it has neither `config` nor `calibration`.
const OLDEST_VERSION: u32 = 1;

/// Measured activation ranges of one model, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// [`RANGES_VERSION`], 1, or [`FOLDED_VERSION`].
    pub version: u32,
    /// The framework that ran the model, with its version (`tensorflow 2.21.0`).
    pub framework: String,
    /// The model that was run.
    pub model: ModelId,
    /// [`ConfigList::calibration_fingerprint`](crate::config::ConfigList::calibration_fingerprint) of the config that was used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub config: Option<String>,
    /// How data became a range, where a calibration says nothing else.
    pub observer: Observer,
    /// The number of samples that were run.
    pub samples: u64,
    /// In what an interrupted run left behind: how many samples ran at once, where a range depends on it
    /// ([`Ranges::depends_on_batches`]).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub batch: Option<u64>,
    /// The layers that had taken the batch normalizations behind them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub folded: Vec<String>,
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
    /// What the range follows from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub calibration: Option<Calibration>,
}

/// What was measured of one activation, and how a range follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// How the statistics become a range.
    pub observer: Observer,
    /// Bits of the grid that the range is for.
    pub bits: u32,
    /// Whether that grid is symmetric.
    pub symmetric: bool,
    /// The number of samples that were run.
    pub samples: u64,
    /// What they left behind.
    pub statistics: Statistics,
}

impl Calibration {
    /// A calibration that has seen nothing, for a site with these settings.
    ///
    /// # Errors
    /// [`MathError::Decay`].
    pub fn new(settings: &Settings) -> Result<Self, MathError> {
        let Settings { observer, bits, symmetric, ema_decay, .. } = *settings;
        Ok(Self { observer, bits, symmetric, samples: 0, statistics: Statistics::new(observer, ema_decay)? })
    }

    /// The range that follows.
    ///
    /// # Errors
    /// Those of [`Statistics::range`].
    pub fn range(&self) -> Result<Range, MathError> {
        let Self { observer, bits, symmetric, .. } = *self;
        self.statistics.range(observer, bits, symmetric)
    }

    /// What both have seen, `other` after `self`. The observer, the bits and the symmetry are those of `self`.
    ///
    /// # Errors
    /// Those of [`Statistics::merge`].
    pub fn merge(self, other: Self) -> Result<Self, MathError> {
        let samples = self.samples.checked_add(other.samples).ok_or(MathError::CountOverflow)?;
        Ok(Self { samples, statistics: self.statistics.merge(other.statistics)?, ..self })
    }
}

impl SiteRange {
    /// A range that has nothing behind it.
    pub fn new(site: impl Into<String>, kind: QuantType, tensor: impl Into<String>, range: Range) -> Self {
        let Range { min, max } = range;
        Self { site: site.into(), kind, tensor: tensor.into(), min, max, calibration: None }
    }

    /// The range that follows from `calibration`, which is kept.
    ///
    /// # Errors
    /// Those of [`Statistics::range`].
    pub fn measured(
        site: impl Into<String>,
        kind: QuantType,
        tensor: impl Into<String>,
        calibration: Calibration,
    ) -> Result<Self, MathError> {
        let without = Self::new(site, kind, tensor, calibration.range()?);
        Ok(Self { calibration: Some(calibration), ..without })
    }
}

/// The fingerprint of a file of `len` bytes whose CRC-32C (Castagnoli) is `crc`.
pub fn fingerprint(crc: u32, len: u64) -> String {
    format!("crc32c:{crc:08x}:{len}")
}

impl Ranges {
    /// Read and check the JSON text.
    ///
    /// # Errors
    /// Text that is no file of ranges, one of a version that is not known, a range that is none.
    pub fn parse(text: &str) -> Result<Self, RangesError> {
        let ranges: Self = serde_json::from_str(text).map_err(|e| RangesError::Json(e.to_string()))?;
        if !(OLDEST_VERSION..=FOLDED_VERSION).contains(&ranges.version) {
            return Err(RangesError::Version { found: ranges.version });
        }
        for (index, entry) in ranges.ranges.iter().enumerate() {
            if let Err(error) = Range::new(entry.min, entry.max) {
                return Err(RangesError::Range { index, site: entry.site.clone(), message: error.to_string() });
            }
        }
        Ok(ranges)
    }

    /// The JSON text, one activation a line.
    ///
    /// # Errors
    /// [`RangesError::Json`] for what has no form in JSON.
    pub fn to_json(&self) -> Result<String, RangesError> {
        let json = |error: serde_json::Error| RangesError::Json(error.to_string());
        let serde_json::Value::Object(mut head) = serde_json::to_value(self.clone_head()).map_err(json)? else {
            return Err(RangesError::Json("the head is no object".to_owned()));
        };
        head.remove("ranges");
        let mut fields = Vec::new();
        for (key, value) in &head {
            // A line break in JSON text is never a part of a string.
            let value = serde_json::to_string_pretty(value).map_err(json)?.replace('\n', "\n  ");
            fields.push(format!("\"{key}\": {value}"));
        }
        let entries: Vec<String> =
            self.ranges.iter().map(serde_json::to_string).collect::<Result<_, _>>().map_err(json)?;
        fields.push(if entries.is_empty() {
            "\"ranges\": []".to_owned()
        } else {
            format!("\"ranges\": [\n    {}\n  ]", entries.join(",\n    "))
        });
        Ok(format!("{{\n  {}\n}}\n", fields.join(",\n  ")))
    }

    /// Everything but the entries.
    fn clone_head(&self) -> Self {
        Self {
            version: self.version,
            framework: self.framework.clone(),
            model: self.model.clone(),
            config: self.config.clone(),
            observer: self.observer,
            samples: self.samples,
            batch: self.batch,
            folded: self.folded.clone(),
            ranges: Vec::new(),
        }
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

    /// Whether other batches of the same samples give other ranges: a moving average is among the statistics.
    pub fn depends_on_batches(&self) -> bool {
        let statistics = self.ranges.iter().filter_map(|entry| Some(&entry.calibration.as_ref()?.statistics));
        statistics.into_iter().any(|statistics| matches!(statistics, Statistics::Ema(_)))
    }

    /// Refuse to go on with batches of `batch` samples where the ranges come from others and depend on it.
    ///
    /// # Errors
    /// [`RangesError::OtherBatch`].
    pub fn check_batch(&self, batch: u64) -> Result<(), RangesError> {
        if !self.depends_on_batches() || self.batch == Some(batch) {
            return Ok(());
        }
        Err(RangesError::OtherBatch { found: self.batch, expected: batch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As the first version was written.
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
