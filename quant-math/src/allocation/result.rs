//! What was asked for, and what came of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::knapsack::Choice;
use crate::plan::{Quantizer, Reason};
use crate::sensitivity::{Loss, Output, RankedBy};

/// The version of the JSON form; raised when a field changes its meaning.
pub const BITS_VERSION: u32 = 1;

/// Weights that have their bits together, since they are one tensor in the file: ops that read one constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixable {
    /// Their places among the sites that were measured.
    pub sites: Vec<usize>,
    /// What the tensor takes in the packed file, the nodes that make it float again included, and what the sites lose alone: at each number of bits
    /// that was measured, most first, then in float.
    pub choices: Vec<Choice>,
}

/// What is asked of a mix of bits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The smallest model that drops at most this share, 0 to 1: see [`Kept::drop`].
    MaxDrop(f64),
    /// The smallest model of whose outputs each has at least so many decibels of signal over noise.
    MinSqnr(f64),
    /// The model that loses least in at most so many bytes.
    MaxSize(u64),
}

/// What a drop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Samples that the float model has right more than the quantized one.
    Accuracy,
    /// Samples whose first class is not the float model's.
    FirstClass,
}

impl Kept {
    /// What a drop is for these outputs, where they have classes.
    pub fn of(outputs: &[Output]) -> Option<Self> {
        if outputs.iter().any(|output| output.accuracy.is_some()) {
            return Some(Self::Accuracy);
        }
        outputs.iter().any(|output| output.scores.is_some()).then_some(Self::FirstClass)
    }

    /// The share of samples that is lost, of the output that loses most: accuracy of the float model less that of the quantized one (less than 0
    /// where that is right more often), or the samples whose first class is another one. Outputs without classes do not count.
    pub fn drop(self, outputs: &[Output], loss: &Loss) -> Option<f64> {
        let drops = outputs.iter().zip(&loss.outputs).filter_map(|(output, loss)| match self {
            Self::Accuracy => Some(output.accuracy? - loss.accuracy?),
            Self::FirstClass => output.scores.and(loss.top_1).map(|share| 1.0 - share),
        });
        drops.fold(None, |most: Option<f64>, drop| Some(most.map_or(drop, |most| most.max(drop))))
    }
}

/// The lowest SQNR of a model's outputs in decibels; `None`: all are exact.
pub fn lowest_sqnr(loss: &Loss) -> Option<f64> {
    loss.outputs.iter().filter_map(|output| output.error.sqnr_db).reduce(f64::min)
}

impl Goal {
    /// Whether a model keeps to it, but for its size.
    pub fn holds(self, outputs: &[Output], loss: &Loss) -> bool {
        /// Shares of samples are differences of fractions, which round; a sample more is far more than this.
        const ROUNDING: f64 = 1e-9;
        match self {
            Self::MaxDrop(most) => {
                let drop = Kept::of(outputs).and_then(|kept| kept.drop(outputs, loss));
                drop.is_some_and(|drop| drop <= most + ROUNDING)
            }
            Self::MinSqnr(least) => lowest_sqnr(loss).is_none_or(|db| db >= least),
            Self::MaxSize(_) => true,
        }
    }
}

/// Why no further mix was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// A mix that holds and one that does not are nearer to each other than 0.5 % of the file with the most bits.
    Converged,
    /// Every weight has the fewest bits.
    Smallest,
    /// It is the best that was found in the bytes that were allowed.
    Fits,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Converged => "of mixes that are smaller by 0.5 % of the file, none that was tried holds",
            Self::Smallest => "nothing smaller is left: every weight takes the fewest bytes that these bits come to",
            Self::Fits => "it is the best that was found in so many bytes",
        })
    }
}

/// A model that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The bits of all weights, where they have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// Bytes of the packed file.
    pub bytes: u64,
    /// The sum of what its weights lose alone.
    pub sum: f64,
    /// The share of samples that it drops, where there are classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<f64>,
    /// Whether it keeps to what was asked for.
    pub holds: bool,
    /// What it loses as a whole.
    #[serde(flatten)]
    pub loss: Loss,
}

/// A site and its bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChosenBits {
    /// The op.
    pub op: String,
    /// The tensor.
    pub tensor: String,
    /// Bits of a code; `None`: it stays float.
    pub bits: Option<u32>,
    /// What it loses alone.
    pub loss: f64,
    /// Bytes of the tensor in the file, nodes that make it float again included; those of a tensor that several sites read stand at the first.
    pub bytes: u64,
    /// The same where it stays float.
    pub bytes_float: u64,
}

/// What `compress` says of the bits that it has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixedBits {
    /// [`BITS_VERSION`].
    pub version: u32,
    /// What has run the model, with its version.
    pub framework: String,
    /// The quantizer.
    pub quantizer: Quantizer,
    /// Samples that were run.
    pub samples: u64,
    /// The numbers of bits that were tried, most first.
    pub bits: Vec<u32>,
    /// Numbers of bits that were asked for and take as much as more bits: they were not tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_tried: Vec<u32>,
    /// What was asked for.
    pub goal: Goal,
    /// What a drop is, where there are classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_of: Option<Kept>,
    /// What losses are.
    pub ranked_by: RankedBy,
    /// The outputs that are compared.
    pub outputs: Vec<Output>,
    /// Bytes of the model's file before.
    pub bytes_before: u64,
    /// Every model that was measured: all weights at each number of bits, then mixes, in that order.
    pub tried: Vec<Trial>,
    /// The model that is written, run as it is written.
    pub verified: Trial,
    /// No mix of these bits in so many bytes has a smaller sum of losses.
    pub bound: f64,
    /// Why no further mix was tried.
    pub stopped: Stopped,
    /// Each weight, in the model's order.
    pub sites: Vec<ChosenBits>,
    /// The config that makes the same model.
    pub config: serde_json::Value,
    /// What a user should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}
