//! Which batch normalizations are folded, and what became of each.

use serde::{Deserialize, Serialize};

use crate::codes;
use crate::plan::Reason;

/// Which batch normalizations go into the layers before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fold {
    /// Where the layer's weight gets a scale for each channel, which the folded weight fits as well as the one before. With one scale for all
    /// channels it is worse, and stays as it is.
    #[default]
    Auto,
    /// Wherever it can be done.
    On,
    /// Nowhere.
    Off,
}

/// What is done with a batch normalization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FoldDecision {
    /// It goes into the layer's weight and bias.
    Fold,
    /// It stays, for this reason.
    Skip(Reason),
}

/// A batch normalization in inference mode, or one that is taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// TensorFlow: its last node, which makes the normalized tensor, and whose name what is added in its place has; TorchScript: its op.
    pub norm: String,
    /// The layer before it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub layer: Option<String>,
    /// What is done.
    pub decision: FoldDecision,
}

impl Folded {
    /// Whether it goes into its layer.
    pub fn is_folded(&self) -> bool {
        self.decision == FoldDecision::Fold
    }

    /// Why it stays.
    pub fn reason(&self) -> Option<&Reason> {
        match &self.decision {
            FoldDecision::Fold => None,
            FoldDecision::Skip(reason) => Some(reason),
        }
    }
}

/// The layers that have taken batch normalizations, in the order of these.
pub fn layers(folds: &[Folded]) -> impl Iterator<Item = &str> {
    folds.iter().filter(|fold| fold.is_folded()).filter_map(|fold| fold.layer.as_deref())
}

/// What was done to a model with these batch normalizations, if some of them are folded.
pub fn step(folds: &[Folded]) -> Option<Reason> {
    let count = folds.iter().filter(|fold| fold.is_folded()).count();
    let text = format!("{count} batch norms are in the weights and biases of the layers before them");
    (count > 0).then(|| Reason::new(codes::NORMS_FOLDED, text))
}
