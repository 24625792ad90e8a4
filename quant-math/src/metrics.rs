//! How far quantized values are from the float ones.

use serde::{Deserialize, Serialize};

/// Error of `values` against `reference`, accumulated in float64 in a fixed order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Signal-to-quantization-noise ratio in dB, `10 · log10(Σ x² / Σ (x − y)²)`. `None`: no error at all.
    pub sqnr_db: Option<f64>,
    /// Largest absolute difference.
    pub max_error: f64,
    /// Cosine of the angle between both, 1 where both are all zero.
    pub cosine: f64,
    /// Mean squared error.
    pub mse: f64,
}
