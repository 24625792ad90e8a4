//! How values go from call to call: which call runs which function, and what the calls of the table get.

use std::collections::{BTreeMap, BTreeSet};

use super::builtin;
use super::events::{CallEvent, Walk};
use super::place::{Point, Run};
use super::table::CallRule;
use super::value::Value;
use crate::torchscript::code::ExprId;
use crate::torchscript::heap::TensorId;

/// What goes where.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Methods of the root with which a pass begins.
    pub(crate) entries: BTreeSet<Run>,
    /// Which functions a call runs; several where that shows when the model runs.
    pub(crate) runs: BTreeMap<Point, BTreeSet<Run>>,
    /// The calls of the table, in the order in which the code reaches them; one that is reached in several ways, several times.
    pub(crate) met: Vec<Met>,
    /// Tensors that something reads besides these calls.
    pub(crate) loose: BTreeSet<TensorId>,
    /// Whether more may run than is followed.
    pub(crate) open: bool,
}

/// A call of the table.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) rule: &'static CallRule,
    pub(crate) at: Point,
    /// The position of its op.
    pub(crate) op: Option<usize>,
    pub(crate) arguments: Vec<Given>,
    /// Every tensor of the model that it reads, quantized or not.
    pub(crate) reads: Vec<TensorId>,
}

/// An argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) expr: ExprId,
    pub(crate) what: What,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A tensor of the model, whole and as it is.
    Tensor(TensorId),
    /// A tensor of the model behind a quantizer.
    Quantized,
    /// `None`.
    None,
    /// Anything else.
    Other,
}

impl Flow {
    /// What `walk` has met, whose calls belong to the ops at these positions.
    pub(super) fn of(walk: &Walk, ops: &[Option<usize>]) -> Self {
        let met = walk.calls.iter().zip(ops).map(|(event, op)| Met::of(event, *op)).collect();
        let quantizers = walk.quantizers.iter().flat_map(|call| call.tensor.into_iter().chain(call.bias));
        Self {
            entries: walk.entry_runs.clone(),
            runs: walk.runs.clone(),
            met,
            loose: walk.others.iter().copied().chain(quantizers).collect(),
            open: walk.cut || walk.unresolved,
        }
    }
}

impl Met {
    fn of(event: &CallEvent, op: Option<usize>) -> Self {
        let anchor = event.anchor.as_ref().map(|anchor| anchor.spot);
        let object = if anchor.is_some() { None } else { Some(event.spot.object) };
        let given = |(expr, value, _): &(ExprId, Value, String)| Given { expr: *expr, what: What::of(value) };
        Self {
            rule: event.rule,
            at: (Run { function: event.place, object, anchor }, event.expr),
            op,
            arguments: event.arguments.iter().map(given).collect(),
            reads: event.arguments.iter().flat_map(|(_, value, _)| value.all_tensors()).collect(),
        }
    }
}

impl What {
    fn of(value: &Value) -> Self {
        match value {
            Value::Weight(weight) if weight.quantizer.is_some() => Self::Quantized,
            Value::Weight(weight) if weight.whole.is_none() => Self::Tensor(weight.tensor),
            Value::None => Self::None,
            _ => Self::Other,
        }
    }
}

/// Whether a function of `torch` asks about a tensor and reads none of its elements.
pub(crate) fn asks(path: &str) -> bool {
    path.strip_prefix("torch.").is_some_and(|name| builtin::ASKS.contains(&name))
}
