//! What is in a model, before anything is done to it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::WeightData;
use crate::data::DType;
use crate::plan::{Emit, QuantType, Settings};
use crate::range::Range;
use crate::weights::{ChannelLayout, observe_ranges};

/// What `inspect` finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The container, for example `GraphDef (binary)`.
    pub format: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// The fingerprint that a ranges file for this model has.
    pub fingerprint: String,
    /// What the model is fed with.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// Op types and how often each occurs, most frequent first.
    pub op_types: Vec<(String, usize)>,
    /// Weights of ops, in the model's order.
    pub weights: Vec<WeightInfo>,
    /// Ranges that quantization ops in the model already have.
    pub ranges: Vec<QuantizedInfo>,
    /// What earlier runs say that they quantized, and how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantized: Vec<QuantizedSite>,
    /// Bytes of all weights together, each once.
    pub weight_bytes: u64,
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its element type, in the framework's word, where the model says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Its shape, where the model says it; −1 is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<i64>>,
}

/// A weight and the op that reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightInfo {
    /// The op.
    pub op: String,
    /// The op's type.
    pub op_type: String,
    /// The tensor.
    pub tensor: String,
    /// The element type.
    pub dtype: DType,
    /// The shape, outermost dimension first.
    pub shape: Vec<u64>,
    /// Bytes in the file.
    pub bytes: u64,
    /// Smallest and largest value; `None` where the tensor is empty, holds a NaN or an infinity, or is a variable whose values are elsewhere.
    pub range: Option<Range>,
    /// Whether `default` in a config means the op.
    pub is_default: bool,
    /// How it is quantized, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantized: Option<String>,
}

/// A site that an earlier run quantized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizedSite {
    /// The op.
    pub op: String,
    /// Which of its tensors.
    pub kind: QuantType,
    /// The tensor.
    pub tensor: String,
    /// How.
    pub settings: Settings,
    /// In which form the result stands in the model.
    pub emit: Emit,
}

/// A quantization op that is in the model already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizedInfo {
    /// The op.
    pub op: String,
    /// The op's type.
    pub op_type: String,
    /// Its bits, where it says them.
    pub bits: Option<u32>,
    /// Its range, where that is one constant.
    pub range: Option<Range>,
    /// What this toolkit did there, in words, where it was this toolkit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
}

/// How often each op type occurs, most frequent first, then by name.
pub fn op_types(ops: impl IntoIterator<Item: AsRef<str>>) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for op in ops {
        let op = op.as_ref();
        match counts.get_mut(op) {
            Some(count) => *count += 1,
            None => drop(counts.insert(op.to_owned(), 1)),
        }
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    counts
}

/// Smallest and largest value of a tensor, where there is one and all of them are finite.
pub fn range_of(data: &(impl WeightData + ?Sized)) -> Option<Range> {
    observe_ranges(ChannelLayout::per_tensor(data.len()), data).ok()?.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_op_comes_first() {
        let counted = op_types(["MatMul", "Relu", "Conv2D", "Relu"]);
        let counted: Vec<(&str, usize)> = counted.iter().map(|(op, count)| (op.as_str(), *count)).collect();
        assert_eq!(counted, [("Relu", 2), ("Conv2D", 1), ("MatMul", 1)]);
    }

    #[test]
    fn a_tensor_with_no_range_has_none() {
        assert_eq!(range_of(&[1.0_f32, -3.0, 2.0][..]), Range::new(-3.0, 2.0).ok());
        assert_eq!(range_of(&[1.0_f32, f32::NAN][..]), None);
        let nothing: &[f32] = &[];
        assert_eq!(range_of(nothing), None);
    }
}
