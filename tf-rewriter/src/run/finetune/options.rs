//! How to train.

use serde::{Deserialize, Serialize};

/// What the training makes small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Softmax cross-entropy with the labels.
    Labels,
    /// No labels: the distance to the float model's outputs, as [`Loss`] says, averaged over the outputs.
    Distill,
}

/// The distance between an output y and the float model's t.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// −Σ p·log q along the last dimension (Hinton et al. 2015, temperature 1), of probabilities: a Softmax's own, else those that a
    /// softmax makes.
    CrossEntropy,
    /// The noise-to-signal ratio Σ(y − t)² / Σt².
    SquaredError,
    /// 1 − cos(y, t) along the last dimension.
    Cosine,
}

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// `ResourceApplyMomentum`: a ← momentum·a + g, w ← w − lr·a.
    Sgd {
        /// The share of the last step that is kept.
        momentum: f32,
    },
    /// `ResourceApplyAdam` (Kingma and Ba 2015) with β₁ 0.9, β₂ 0.999, ε 1e-7.
    Adam,
}

/// Everything that decides how a training goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinetuneOptions {
    /// What the training makes small.
    pub objective: Objective,
    /// The distance to the float model's outputs; `None`: cross-entropy for an output that is a Softmax, squared error for another.
    pub loss: Option<Loss>,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// Passes over the data.
    pub epochs: u32,
    /// Samples of a step.
    pub batch: u64,
    /// The first step's learning rate; it falls to 0 by half a cosine.
    pub learning_rate: f32,
    /// The share of the samples that is not trained on, to tell how good the model is. At least one sample, where it is not 0.
    pub validation: f64,
    /// Decides the split and the order of the samples.
    pub seed: u64,
}

impl Default for FinetuneOptions {
    fn default() -> Self {
        Self {
            objective: Objective::Labels,
            loss: None,
            optimizer: Optimizer::Adam,
            epochs: 10,
            batch: 32,
            learning_rate: 1e-3,
            validation: 0.1,
            seed: 0,
        }
    }
}

impl FinetuneOptions {
    /// The learning rate of step `step` of `steps`, after Loshchilov and Hutter 2017, equation 5, without restarts:
    /// lr · (1 + cos(π · step / steps)) / 2.
    pub fn learning_rate_at(&self, step: u64, steps: u64) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "numbers of steps are far below 2^53")]
        let share = step as f64 / steps.max(1) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "the optimizers take float32")]
        let rate = (f64::from(self.learning_rate) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())) as f32;
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_falls_from_its_first_value_to_0() {
        let options = FinetuneOptions { learning_rate: 0.5, ..FinetuneOptions::default() };
        let rates: Vec<f32> = (0..=10).map(|step| options.learning_rate_at(step, 10)).collect();
        assert_eq!((rates[0], rates[5], rates[10]), (0.5, 0.25, 0.0));
        assert!(rates.is_sorted_by(|a, b| a > b));
    }
}
