//! The report: what was done to every site, and what it cost.

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;
use crate::plan::{Emit, Quantizer, Reason, Site};

/// What became of one site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteReport {
    /// The site, with the decision that was carried out.
    #[serde(flatten)]
    pub site: Site,
    /// The smallest and largest scale over the channels; equal where there is one. `None`: not quantized, or no scale exists (DoReFa).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<(f32, f32)>,
    /// How far the quantized values are from the float ones; weights only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Bytes of the tensor in the input.
    pub bytes_before: u64,
    /// Bytes of the tensor in the output, scales included.
    pub bytes_after: u64,
}

/// What `compress` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The quantizer.
    pub quantizer: Quantizer,
    /// The form of the output.
    pub emit: Emit,
    /// Every site of the plan, in its order.
    pub sites: Vec<SiteReport>,
    /// Bytes of the input file.
    pub bytes_before: u64,
    /// Bytes of the output file.
    pub bytes_after: u64,
    /// What a user should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}
