//! The arguments of a call that are weights.

use quant_math::einsum::channel_axis;

use super::events::CallEvent;
use super::table::{BATCHED, WeightRule};
use super::value::{Made, Value, Weight};
use crate::torchscript::heap::{Heap, TensorId};

/// A weight argument of one event.
pub(super) struct Found {
    /// The tensor of the model, quantized or not.
    pub(super) weight: Option<Weight>,
    pub(super) axis: Option<usize>,
    /// Position of the argument, and of the element in a list with the list's length.
    pub(super) argument: usize,
    pub(super) element: Option<(usize, usize)>,
    /// What the argument is.
    pub(super) value: Value,
    /// Whether it is one of several tensors, chosen when the model runs.
    pub(super) chosen: bool,
}

impl Found {
    /// The tensor of the model that is read as it is.
    pub(super) fn plain(&self) -> Option<&Weight> {
        self.weight.as_ref().filter(|weight| weight.quantizer.is_none())
    }

    /// Whether a quantizer stands before it.
    pub(super) fn is_quantized(&self) -> bool {
        let value = matches!(self.value, Value::Quantized(_) | Value::Made(Made { quantized: true, .. }));
        value || self.weight.is_some() && self.plain().is_none()
    }
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

    fn value(&self, argument: usize) -> &Value {
        self.event.arguments.get(argument).map_or(&Value::Unknown, |(_, value, _)| value)
    }

    /// The weights that a call gets; `None` where it is no op, as a product of two tensors of which nothing is known.
    pub(super) fn weights(&self) -> Option<Vec<Found>> {
        match self.event.rule.weight {
            WeightRule::None | WeightRule::Fused(_) | WeightRule::Operands(_) => Some(Vec::new()),
            WeightRule::Tensor { argument, axis } => Some(self.tensors(argument, axis)),
            WeightRule::Tensors(positions) => {
                Some(positions.iter().flat_map(|argument| self.tensors(*argument, 0)).collect())
            }
            WeightRule::Packed(argument, _) => Some(vec![self.tensor(argument, 0)]),
            WeightRule::Convolution { transposed } => {
                let flag = self.event.arguments.get(transposed).is_some_and(|(_, _, text)| text == "True");
                Some(self.tensors(1, usize::from(flag)))
            }
            WeightRule::Product { left, right } => self.product(left, right),
            WeightRule::Einsum => self.einsum(),
            WeightRule::List { argument } => Some(self.list(argument)),
        }
    }

    fn product(&self, left: usize, right: usize) -> Option<Vec<Found>> {
        let is_weight = |argument: usize| match self.value(argument) {
            Value::Weight(weight) => self.rank(weight.tensor) >= 2,
            Value::AnyWeight(weights) => weights.iter().all(|weight| self.rank(weight.tensor) >= 2),
            Value::Made(_) | Value::Hidden(..) => true,
            _ => false,
        };
        // Written as a linear layer's: the output channels of a right factor run along its columns, those of a left one along its rows.
        if is_weight(right) {
            Some(self.tensors_from_end(right, 1))
        } else if is_weight(left) {
            Some(self.tensors_from_end(left, 2))
        } else {
            let both = [left, right].into_iter().all(|argument| self.value(argument).activation().is_some());
            both.then(Vec::new)
        }
    }

    /// The operands of an equation that are the model's own; those of rank 0 and 1 only scale.
    fn einsum(&self) -> Option<Vec<Found>> {
        let (Value::Str(equation), Value::List(items)) = (self.value(0), self.value(1)) else { return None };
        let weights = items.iter().enumerate().filter_map(|(index, item)| match item {
            Value::Weight(weight) if self.rank(weight.tensor) >= 2 => {
                let rank = weight.axes.rank(self.rank(weight.tensor));
                let axis = rank.and_then(|rank| channel_axis(equation, index, rank).ok());
                let axis = axis.and_then(|axis| self.axis(weight, axis));
                Some(element(1, (index, items.len()), item, Some(weight.clone()), axis))
            }
            Value::Made(_) | Value::Hidden(..) | Value::AnyWeight(_) => {
                Some(element(1, (index, items.len()), item, None, None))
            }
            _ => None,
        });
        let weights: Vec<Found> = weights.collect();
        let activations = items.iter().filter(|item| item.activation().is_some()).count();
        (activations > 0 || !weights.is_empty() && weights.len() < items.len()).then_some(weights)
    }

    fn list(&self, argument: usize) -> Vec<Found> {
        let is_own = |item: &Value| matches!(item, Value::Weight(_));
        let list = [argument, argument + 1].into_iter().find_map(|at| match self.value(at) {
            Value::List(items) if items.iter().any(is_own) => Some((at, items)),
            _ => None,
        });
        let Some((argument, items)) = list else { return vec![self.tensor(argument, 0)] };
        let matrices = items.iter().enumerate().filter_map(|(index, item)| match item {
            Value::Weight(weight) if self.rank(weight.tensor) >= 2 => {
                let axis = self.axis(weight, 0);
                Some(element(argument, (index, items.len()), item, Some(weight.clone()), axis))
            }
            _ => None,
        });
        matrices.collect()
    }

    /// The weights that an argument can be, with channels along an axis that is counted from the last one, which is 1.
    fn tensors_from_end(&self, argument: usize, back: usize) -> Vec<Found> {
        let weight = match self.value(argument) {
            Value::Weight(weight) => Some(weight),
            Value::AnyWeight(weights) => weights.first(),
            _ => None,
        };
        let rank = weight.and_then(|weight| weight.axes.rank(self.rank(weight.tensor))).unwrap_or(0);
        self.tensors(argument, rank.saturating_sub(back))
    }

    /// The weights that an argument can be.
    fn tensors(&self, argument: usize, axis: usize) -> Vec<Found> {
        let Value::AnyWeight(weights) = self.value(argument) else { return vec![self.tensor(argument, axis)] };
        let one = |weight: &Weight| Found {
            axis: self.axis(weight, axis),
            weight: Some(weight.clone()),
            chosen: true,
            ..self.tensor(argument, axis)
        };
        weights.iter().map(one).collect()
    }

    pub(super) fn tensor(&self, argument: usize, axis: usize) -> Found {
        let value = self.value(argument);
        let weight = match value {
            Value::Weight(weight) => Some(weight.clone()),
            _ => None,
        };
        let axis = weight.as_ref().and_then(|weight| self.axis(weight, axis));
        Found { weight, axis, argument, element: None, value: value.clone(), chosen: false }
    }

    /// The axis of the tensor itself that is `axis` where it is used.
    fn axis(&self, weight: &Weight, axis: usize) -> Option<usize> {
        weight.axes.of(axis, self.rank(weight.tensor))
    }

    /// The tensors that the call reads besides its weights.
    pub(super) fn others(&self) -> Vec<TensorId> {
        let found = self.weights().unwrap_or_default();
        let fused = match self.event.rule.weight {
            WeightRule::Fused(positions) => positions,
            _ => &[],
        };
        let mut others = Vec::new();
        for (position, (_, value, _)) in self.event.arguments.iter().enumerate() {
            let weights = || found.iter().filter(|found| found.argument == position);
            let is_weight = |element: usize| weights().any(|found| found.element.is_none_or(|(at, _)| at == element));
            match value {
                _ if fused.contains(&position) => {}
                Value::List(items) => {
                    let rest = items.iter().enumerate().filter(|(index, _)| !is_weight(*index));
                    others.extend(rest.flat_map(|(_, item)| item.tensors()));
                }
                value if weights().next().is_none() => others.extend(value.tensors()),
                _ => {}
            }
        }
        others
    }

    /// The op's type as the call says it.
    pub(super) fn op_type(&self, found: &[Found]) -> String {
        let text = |argument: usize| self.event.arguments.get(argument).map_or("", |(_, _, text)| text);
        let rule = self.event.rule;
        if rule.op_type == "Hardtanh" && matches!((text(1), text(2)), ("0." | "0", "6." | "6")) {
            return "ReLU6".to_owned();
        }
        if matches!(rule.weight, WeightRule::Product { .. }) && found.is_empty() {
            return BATCHED.to_owned();
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

/// An element of a list that is an argument.
fn element(
    argument: usize,
    place: (usize, usize),
    value: &Value,
    weight: Option<Weight>,
    axis: Option<usize>,
) -> Found {
    let element = Some(place);
    Found { weight, axis, argument, element, value: value.clone(), chosen: false }
}
