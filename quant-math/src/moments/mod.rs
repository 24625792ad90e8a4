//! First and second moments of what a layer reads: `E[x]` and `E[x·xᵀ]`, measured on data.
//!
//! A layer with a weight is a product `y = W·x`, a convolution one for each place of its window. What a change of its weight does to its output
//! on average follows from the second moments alone, with no run of the model: `E‖ΔW·x‖² = tr(ΔW·E[x·xᵀ]·ΔWᵀ)`
//! ([`reconstruct`](crate::reconstruct) is made of that).
//!
//! ```text
//! tensor that a layer reads ──Patches──▶ rows x ──Gram::add──▶ Σx, Σx·xᵀ ──moments──▶ E[x], E[x·xᵀ] ──merge──▶ of all data
//! ```
//!
//! Sums are float64 and each is added up row by row in the order of the data: the same data give the same bits on every CPU, at any number of
//! threads, and in batches of any size. What is kept are the means, as float32.

mod file;
mod gram;
mod patches;

use std::collections::BTreeMap;
use std::ops::Range as Span;

use crate::ranges::ModelId;

pub use file::MomentsError;
pub use gram::Gram;
pub use patches::{Order, Patches};

/// Inputs whose products with each other are kept at most. Of a layer with more, blocks of the diagonal are: products within a block alone, so that
/// `n` inputs take at most `4·n·LARGEST_BLOCK` bytes, and not `4·n²`.
pub const LARGEST_BLOCK: usize = 1024;

/// How many inputs a layer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inputs {
    /// Groups of outputs that read inputs of their own: a depthwise convolution's channels; 1 where every output reads all.
    pub groups: usize,
    /// Inputs of an output: of a convolution, the input channels of its group times the places of its window.
    pub inputs: usize,
}

impl Inputs {
    /// Inputs of a block, but for the last one, which may have fewer.
    fn width(self) -> usize {
        self.inputs.div_ceil(self.inputs.div_ceil(LARGEST_BLOCK).max(1)).max(1)
    }

    /// The blocks of a group's inputs, one after another, of about one size.
    pub fn blocks(self) -> impl Iterator<Item = Span<usize>> + Clone {
        let width = self.width();
        (0..self.inputs).step_by(width).map(move |start| start..self.inputs.min(start.saturating_add(width)))
    }

    /// The sum of `of(length)` over the blocks of a group.
    pub(crate) fn over_blocks(self, of: impl Fn(usize) -> usize) -> usize {
        let (whole, last) = (self.inputs / self.width(), self.inputs % self.width());
        whole.saturating_mul(of(self.width())).saturating_add(of(last))
    }

    /// Numbers that `E[x]` is made of.
    pub fn len(self) -> usize {
        self.groups.saturating_mul(self.inputs)
    }

    /// Whether there is no input.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Numbers that the second moments of a group are made of: a triangle for each block.
    pub fn products(self) -> usize {
        self.over_blocks(triangle)
    }
}

/// Numbers in the lower triangle of a square, its diagonal included.
pub(crate) fn triangle(side: usize) -> usize {
    side.saturating_mul(side.saturating_add(1)) / 2
}

/// The moments of one layer's inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerMoments {
    inputs: Inputs,
    rows: u64,
    mean: Vec<f32>,
    second: Vec<f32>,
}

impl LayerMoments {
    /// From their parts: `mean` has [`Inputs::len`] numbers, `second` [`Inputs::products`] for each group. `None` where they do not fit, no row was
    /// seen, or a number is not finite.
    pub fn new(inputs: Inputs, rows: u64, mean: Vec<f32>, second: Vec<f32>) -> Option<Self> {
        let fits = mean.len() == inputs.len() && second.len() == inputs.groups.checked_mul(inputs.products())?;
        let finite = mean.iter().chain(&second).all(|x| x.is_finite());
        (fits && finite && rows > 0 && !inputs.is_empty()).then_some(Self { inputs, rows, mean, second })
    }

    /// How many inputs the layer has.
    pub fn inputs(&self) -> Inputs {
        self.inputs
    }

    /// The rows that were seen: samples, times the places of a convolution's window.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// `E[x]`, group by group.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// `E[x·xᵀ]`, group by group and block by block: the lower triangle of each, row by row.
    pub fn second(&self) -> &[f32] {
        &self.second
    }

    /// The blocks of a group with their triangles.
    pub(crate) fn blocks_of(&self, group: usize) -> impl Iterator<Item = (Span<usize>, &[f32])> {
        let mut at = group.saturating_mul(self.inputs.products());
        self.inputs.blocks().filter_map(move |block| {
            let from = at;
            at += triangle(block.len());
            Some((block, self.second.get(from..at)?))
        })
    }

    /// What both have seen. `None` where they are of layers with other inputs.
    pub fn merge(&self, other: &Self) -> Option<Self> {
        let rows = self.rows.checked_add(other.rows)?;
        if self.inputs != other.inputs {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "the share of rows that is lost lies below 2^-53")]
        let own = self.rows as f64 / rows as f64;
        let joined = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| mix(*a, *b, own)).collect();
        let (mean, second) = (joined(&self.mean, &other.mean), joined(&self.second, &other.second));
        Some(Self { inputs: self.inputs, rows, mean, second })
    }
}

/// `own` parts of `a`, the rest of `b`.
fn mix(a: f32, b: f32, own: f64) -> f32 {
    single(f64::from(a) * own + f64::from(b) * (1.0 - own))
}

/// The nearest float32.
pub(crate) fn single(x: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "this is the rounding")]
    let single = x as f32;
    single
}

/// The moments of the layers of one model, on some data.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// The framework that ran the model, with its version (`tensorflow 2.21.0`).
    pub framework: String,
    /// The model that was run.
    pub model: ModelId,
    /// The number of samples that were run.
    pub samples: u64,
    /// Each layer's, by the name of its op.
    pub layers: BTreeMap<String, LayerMoments>,
}

impl Moments {
    /// Refuse moments that were measured on another model than the one with this fingerprint.
    ///
    /// # Errors
    /// [`MomentsError::OtherModel`].
    pub fn check_model(&self, fingerprint: &str) -> Result<(), MomentsError> {
        if self.model.fingerprint == fingerprint {
            return Ok(());
        }
        let ModelId { file, fingerprint: found } = self.model.clone();
        Err(MomentsError::OtherModel { file, found, expected: fingerprint.to_owned() })
    }

    /// What both have seen.
    ///
    /// # Errors
    /// [`MomentsError::Merge`] for moments of another model, or of other layers.
    pub fn merge(&self, other: &Self) -> Result<Self, MomentsError> {
        let no = |what: String| Err(MomentsError::Merge { what });
        if self.model.fingerprint != other.model.fingerprint {
            return no(format!("they are of the models `{}` and `{}`", self.model.file, other.model.file));
        }
        let differs = self.layers.keys().find(|op| !other.layers.contains_key(*op));
        if let Some(op) = differs.or_else(|| other.layers.keys().find(|op| !self.layers.contains_key(*op))) {
            return no(format!("`{op}` is in one of them alone"));
        }
        let mut layers = BTreeMap::new();
        for ((op, own), their) in self.layers.iter().zip(other.layers.values()) {
            let Some(joined) = own.merge(their) else { return no(format!("`{op}` has other inputs in one of them")) };
            layers.insert(op.clone(), joined);
        }
        let samples = self.samples.saturating_add(other.samples);
        Ok(Self { samples, layers, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_all_inputs_and_none_is_too_wide() {
        for inputs in [1, 7, LARGEST_BLOCK, LARGEST_BLOCK + 1, 4608, 25_088] {
            let inputs = Inputs { groups: 3, inputs };
            let mut next = 0;
            for block in inputs.blocks() {
                assert_eq!(block.start, next);
                assert!(!block.is_empty() && block.len() <= LARGEST_BLOCK, "{block:?}");
                next = block.end;
            }
            assert_eq!(next, inputs.inputs);
        }
        assert_eq!(Inputs { groups: 2, inputs: 3 }.products(), 6);
        assert_eq!(Inputs { groups: 2, inputs: 0 }.blocks().count(), 0);
    }

    fn layer(rows: u64, mean: f32) -> LayerMoments {
        LayerMoments::new(Inputs { groups: 1, inputs: 1 }, rows, vec![mean], vec![mean * mean]).unwrap()
    }

    fn moments(fingerprint: &str, op: &str, rows: u64, mean: f32) -> Moments {
        Moments {
            framework: "tensorflow 2.21.0".to_owned(),
            model: ModelId { file: "m.pb".to_owned(), fingerprint: fingerprint.to_owned() },
            samples: rows,
            layers: BTreeMap::from([(op.to_owned(), layer(rows, mean))]),
        }
    }

    #[test]
    fn parts_are_joined_by_their_rows_and_strangers_are_not() {
        let joined = moments("a", "conv", 1, 1.0).merge(&moments("a", "conv", 3, 5.0)).unwrap();
        assert_eq!(joined.samples, 4);
        assert_eq!(joined.layers["conv"].mean(), [4.0]);
        assert_eq!(joined.layers["conv"].second(), [19.0]);
        for (other, what) in [(moments("b", "conv", 1, 1.0), "models"), (moments("a", "fc", 1, 1.0), "`conv` is in")] {
            let error = moments("a", "conv", 1, 1.0).merge(&other).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
