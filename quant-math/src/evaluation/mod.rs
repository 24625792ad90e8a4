//! What a model gives on data: how far it is from a reference, how often it is right, and where the error enters.

mod classes;
mod compare;
mod entrances;
mod error;

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;

pub use compare::{Comparison, Samples, Tensor};
pub use entrances::{entrances, noise_to_signal};
pub use error::{EvaluationError, NO_SCORES, labels};

/// What `evaluate` finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Samples that were run.
    pub samples: u64,
    /// Each output.
    pub outputs: Vec<OutputReport>,
    /// Each tensor inside that both models have, in the order in which they are computed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// Where the error enters: tensors that are computed from exact ones alone, the worst first; then those that add most to an error
    /// that is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrances: Vec<Entrance>,
}

/// An output in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputReport {
    /// Its name: `node:port`, or the place in what an archive's `forward` gives.
    pub name: String,
    /// The error against the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Metrics>,
    /// How often both models choose the same class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// How often the labels' class is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
}

/// How often both models choose the same class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The share of samples for which both give the highest score to one class.
    pub top_1: f64,
    /// k.
    pub k: usize,
    /// The share of samples for which the reference's class is among the model's k highest scores.
    pub top_k: f64,
}

/// How often the labels' class is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// By the model.
    pub model: f64,
    /// By the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
}

/// A tensor that both models have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The node or op.
    pub name: String,
    /// Its type in the model.
    pub op_type: String,
    /// The error against the reference.
    pub error: Metrics,
}

/// A tensor at which error enters, or grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entrance {
    /// The node or op.
    pub name: String,
    /// The signal-to-noise ratio of the worst tensor that it is computed from; `None`: no error there.
    pub sqnr_db_before: Option<f64>,
    /// Its own.
    pub sqnr_db: Option<f64>,
}
