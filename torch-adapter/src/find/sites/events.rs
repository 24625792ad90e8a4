//! What following the code yields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::place::{Origin, Point, Run, Spot};
use super::table::CallRule;
use super::value::{Elements, Value};
use crate::torchscript::code::ExprId;
use crate::torchscript::heap::{ObjectId, Separated, TensorId};
use crate::torchscript::program::FunctionRef;

/// The call in a method through which a free function was entered.
#[derive(Debug)]
pub(super) struct Anchor {
    pub(super) spot: Spot,
    pub(super) arguments: Vec<(ExprId, Value)>,
}

/// A call of the table, as it was met.
#[derive(Debug)]
pub(super) struct CallEvent {
    pub(super) rule: &'static CallRule,
    /// The call, or, in a free function, the call that led there.
    pub(super) spot: Spot,
    /// The call itself.
    pub(super) expr: ExprId,
    /// The function that it stands in.
    pub(super) place: FunctionRef,
    /// Set where the call stands in a free function.
    pub(super) anchor: Option<Arc<Anchor>>,
    /// Positional arguments: expression, value, text.
    pub(super) arguments: Vec<(ExprId, Value, String)>,
    /// The elements of the value.
    pub(super) elements: Elements,
    /// Whether a quantizer takes the value.
    pub(super) output_quantized: bool,
    /// Whether it makes a part of another call's weight.
    pub(super) absorbed: bool,
}

/// A tensor that is read as an attribute or constant, as it was met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// The function in which it is read.
    pub function: FunctionRef,
    /// The expression that reads it.
    pub expr: ExprId,
    /// The object whose method this is; `None` in a free function.
    pub holder: Option<ObjectId>,
    /// What is read.
    pub origin: Origin,
}

/// A call of a quantizer's `forward`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuantizerCall {
    /// The quantizer.
    pub quantizer: ObjectId,
    /// The call.
    pub spot: Spot,
    /// The tensor that it gets, where that is one of the model's.
    pub tensor: Option<TensorId>,
    /// The vector that is added to what the tensor makes, where it gets that too.
    pub bias: Option<TensorId>,
}

/// An expression whose value is a quantizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuantizerRead {
    /// The quantizer.
    pub quantizer: ObjectId,
    /// The expression.
    pub spot: Spot,
}

/// A step from codes to values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// What is done.
    pub how: Arithmetic,
    /// With what.
    pub operand: Operand,
}

/// Arithmetic of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    /// Rounding to the operand's type.
    Cast,
}

/// The second operand of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operand {
    /// The same for all elements.
    Number(f32),
    /// A tensor of the model.
    Tensor(TensorId),
}

/// How the code decodes a tensor of codes, where it is read first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decoding {
    pub(super) steps: Vec<Step>,
    /// The last of them.
    pub(super) last: (FunctionRef, ExprId),
}

/// Everything that following the code has shown.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) calls: Vec<CallEvent>,
    pub(super) reads: BTreeSet<Read>,
    /// Tensors that something reads besides the calls and quantizers that are listed here.
    pub(super) others: BTreeSet<TensorId>,
    /// Methods of the root that are followed from their start.
    pub(super) entries: Vec<FunctionRef>,
    /// The same, with the root.
    pub(super) entry_runs: BTreeSet<Run>,
    /// Which functions a call runs.
    pub(super) runs: BTreeMap<Point, BTreeSet<Run>>,
    /// Attributes that code assigns.
    pub(super) writes: BTreeSet<(ObjectId, String)>,
    pub(super) quantizers: BTreeSet<QuantizerCall>,
    pub(super) quantizer_reads: BTreeSet<QuantizerRead>,
    /// How codes that share bytes are separated, and the shape that they have then.
    pub(super) separated: BTreeMap<TensorId, (Vec<u64>, Separated)>,
    /// How codes become values.
    pub(super) decodings: BTreeMap<TensorId, Decoding>,
    /// Inputs of the model that go where only floating-point numbers can.
    pub(super) float_inputs: BTreeSet<u8>,
    /// Names of tensors without numbers below 0 into which a call writes that may make some.
    pub(super) overwritten: BTreeSet<(FunctionRef, String)>,
    /// Whether a method of something unknown is called.
    pub(super) unresolved: bool,
    /// Objects of which some method runs.
    pub(super) visited: BTreeSet<ObjectId>,
    /// Dotted names that are called: `torch.save`, `ops.….…`.
    pub(super) called: BTreeSet<Arc<str>>,
    /// Whether calls nest deeper than is followed, or there are more of them.
    pub(super) cut: bool,
}
