//! Ops: calls that mean one thing to a user, with every place in the text where they happen.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::QuantType;
use quant_math::plan::Reason;

use super::place::{Origin, Spot};
use crate::torchscript::code::ExprId;
use crate::torchscript::heap::{ObjectId, TensorId};

/// Where a weight goes into a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WeightSpot {
    /// The expression that is the argument; for an element of a list, the whole list.
    pub spot: Spot,
    /// The call that the argument belongs to.
    pub call: ExprId,
    /// Position and length, where the argument is a list that is not written out.
    pub element: Option<(usize, usize)>,
}

/// A weight of an op.
#[derive(Debug, Clone, PartialEq)]
pub struct OpWeight {
    /// The tensor; `None` where the argument is computed.
    pub tensor: Option<TensorId>,
    /// Where it was read.
    pub origin: Option<Origin>,
    /// Its name: module path and attribute, or `CONSTANTS.cN`.
    pub name: String,
    /// The axis of its output channels; `None` where the call reshapes it.
    pub axis: Option<usize>,
    /// Every place where it goes into a call.
    pub spots: Vec<WeightSpot>,
    /// The vectors that its calls add to its channels.
    pub biases: BTreeSet<TensorId>,
    /// Where such a vector is an argument of the same call: by the weight's expression, an expression that can stand twice.
    pub beside: BTreeMap<Spot, ExprId>,
    /// The module of the library that quantizes it already.
    pub quantizer: Option<ObjectId>,
    /// Why it cannot be quantized, if it cannot.
    pub blocked: Option<Reason>,
    /// Why nothing can be put around it in the text; its stored values can be quantized all the same.
    pub no_text: Option<Reason>,
}

impl OpWeight {
    /// The expressions that can get something put around them.
    pub fn places(&self) -> Vec<Spot> {
        let spots = if self.no_text.is_some() { &[][..] } else { &self.spots };
        spots.iter().map(|spot| spot.spot).collect()
    }
}

/// Places of an op's input or output, or why there are none.
#[derive(Debug, Clone, PartialEq)]
pub enum Edge {
    /// The op has no such tensor: an index goes in, or a tuple comes out.
    Absent,
    /// Expressions have the tensor as their value.
    Spots {
        /// The expressions.
        spots: Vec<Spot>,
        /// Whether it holds no number below 0, whatever the model gets.
        never_negative: bool,
    },
    /// The tensor exists but cannot be quantized.
    Blocked(Reason),
}

/// What an op without inputs reads.
const ABSENT: &Edge = &Edge::Absent;

impl Op {
    /// The tensors of a kind, with the names that plans give them: `name:input`, `name:input_1`, `name:output`.
    pub fn activations(&self, kind: QuantType) -> Vec<(String, &Edge)> {
        let edges: Vec<&Edge> = match kind {
            QuantType::Input if self.inputs.is_empty() => vec![ABSENT],
            QuantType::Input => self.inputs.iter().collect(),
            _ => vec![&self.output],
        };
        let named = edges.into_iter().enumerate().map(|(index, edge)| {
            let number = if index == 0 { String::new() } else { format!("_{index}") };
            (format!("{}:{kind}{number}", self.name), edge)
        });
        named.collect()
    }

    /// Every input and the output.
    pub fn edges_mut(&mut self) -> impl Iterator<Item = &mut Edge> {
        self.inputs.iter_mut().chain([&mut self.output])
    }
}

/// A call, or a module that is one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// The module path, or, for a call in the text of a larger module, the path and what it calls.
    pub name: String,
    /// The type: the module's class or what the call says.
    pub op_type: String,
    /// Whether it belongs to `default`.
    pub is_default: bool,
    /// The module that is this op, or that the call stands in.
    pub object: ObjectId,
    /// Its weights.
    pub weights: Vec<OpWeight>,
    /// The tensors that it reads, in the order of its operands.
    pub inputs: Vec<Edge>,
    /// The tensor that it makes.
    pub output: Edge,
}
