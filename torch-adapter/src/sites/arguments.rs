//! The arguments of a call that are weights.

use super::events::CallEvent;
use super::heap::{Heap, TensorId};
use super::table::WeightRule;
use super::value::{Axes, Value, Weight};

/// Whether a quantizer stands before a weight argument.
#[derive(Clone, Copy)]
pub(super) enum Quantized {
    No,
    /// With the tensor behind it, where that is known.
    Yes(Option<TensorId>),
}

/// A weight argument of one event.
pub(super) struct Found {
    pub(super) weight: Option<Weight>,
    pub(super) axis: Option<usize>,
    /// Position of the argument, and of the element in a list with the list's length.
    pub(super) argument: usize,
    pub(super) element: Option<(usize, usize)>,
    pub(super) quantized: Quantized,
}

/// The arguments of one call.
pub(super) struct Arguments<'a> {
    pub(super) heap: &'a Heap,
    pub(super) event: &'a CallEvent,
}

impl Arguments<'_> {
    fn rank(&self, tensor: TensorId) -> usize {
        self.heap.tensor(tensor).map_or(0, |tensor| tensor.shape.len())
    }

    /// The weights that a call gets; `None` where it is no op, as a product of two activations.
    pub(super) fn weights(&self) -> Option<Vec<Found>> {
        match self.event.rule.weight {
            WeightRule::None | WeightRule::Fused(_) => Some(Vec::new()),
            WeightRule::Tensor { argument, axis } => Some(vec![self.tensor(argument, axis)]),
            WeightRule::Convolution { transposed } => {
                let flag = self.event.arguments.get(transposed).is_some_and(|(_, _, text)| text == "True");
                Some(vec![self.tensor(1, usize::from(flag))])
            }
            WeightRule::Product { left, right } => {
                let is_weight = |argument: usize| {
                    let value = self.event.arguments.get(argument).map(|(_, value, _)| value);
                    match value {
                        Some(Value::Weight(weight)) => self.rank(weight.tensor) >= 2,
                        Some(Value::Quantized(tensor)) => tensor.is_some_and(|tensor| self.rank(tensor) >= 2),
                        _ => false,
                    }
                };
                // Written as a linear layer's: the output channels of a right factor run along its columns.
                if is_weight(right) {
                    Some(vec![self.tensor(right, 1)])
                } else if is_weight(left) {
                    Some(vec![self.tensor(left, 0)])
                } else {
                    None
                }
            }
            WeightRule::List { argument } => {
                let lists = [argument, argument + 1];
                let list = lists.into_iter().find_map(|at| match self.event.arguments.get(at) {
                    Some((_, Value::List(items), _)) if items.iter().any(|i| matches!(i, Value::Weight(_))) => {
                        Some((at, items))
                    }
                    _ => None,
                });
                let Some((argument, items)) = list else {
                    return Some(vec![Found {
                        weight: None,
                        axis: None,
                        argument,
                        element: None,
                        quantized: Quantized::No,
                    }]);
                };
                let matrices = items.iter().enumerate().filter_map(|(index, item)| match item {
                    Value::Weight(weight) if self.rank(weight.tensor) >= 2 => Some(Found {
                        weight: Some(weight.clone()),
                        axis: self.axis(weight, 0),
                        argument,
                        element: Some((index, items.len())),
                        quantized: Quantized::No,
                    }),
                    _ => None,
                });
                Some(matrices.collect())
            }
        }
    }

    pub(super) fn tensor(&self, argument: usize, axis: usize) -> Found {
        let value = self.event.arguments.get(argument).map_or(&Value::Unknown, |(_, value, _)| value);
        let weight = match value {
            Value::Weight(weight) => Some(weight.clone()),
            _ => None,
        };
        let quantized = match value {
            Value::Quantized(tensor) => Quantized::Yes(*tensor),
            _ => Quantized::No,
        };
        let axis = weight.as_ref().and_then(|weight| self.axis(weight, axis));
        Found { weight, axis, argument, element: None, quantized }
    }

    /// The axis of the tensor itself that is `axis` where it is used.
    fn axis(&self, weight: &Weight, axis: usize) -> Option<usize> {
        let rank = self.rank(weight.tensor);
        match weight.axes {
            Axes::Same => (axis < rank).then_some(axis),
            Axes::Transposed => (rank == 2 && axis < 2).then(|| 1 - axis),
            Axes::Other => None,
        }
    }

    /// The op's type as the call says it.
    pub(super) fn op_type(&self, found: &[Found]) -> String {
        let text = |argument: usize| self.event.arguments.get(argument).map_or("", |(_, _, text)| text);
        let rule = self.event.rule;
        if rule.op_type == "Hardtanh" && matches!((text(1), text(2)), ("0." | "0", "6." | "6")) {
            return "ReLU6".to_owned();
        }
        if !rule.op_type.contains('#') {
            return rule.op_type.to_owned();
        }
        let rank = found.first().and_then(|found| found.weight.as_ref()).map(|weight| self.rank(weight.tensor));
        // A stride has one number per dimension, where the weight is not known.
        let dimensions = rank.map_or_else(|| text(3).split(',').count(), |rank| rank.saturating_sub(2));
        let transposed = matches!(rule.weight, WeightRule::Convolution { transposed } if text(transposed) == "True");
        format!("Conv{}{dimensions}d", if transposed { "Transpose" } else { "" })
    }
}
