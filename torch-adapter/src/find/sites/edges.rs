//! The activations of a call: where its inputs and its output stand, or why they cannot be quantized.

use std::collections::BTreeSet;

use quant_math::plan::Reason;

use super::arguments::Found;
use super::events::CallEvent;
use super::frame::name_of;
use super::op::Edge;
use super::place::Spot;
use super::table::{CallRule, WeightRule};
use super::value::{Elements, Made, Value, Weight};
use crate::codes;
use crate::torchscript::code::{ExprId, ExprKind, Function};
use crate::torchscript::program::FunctionRef;

/// What edges need to know besides the call.
pub(super) struct Edges<'a> {
    pub(super) event: &'a CallEvent,
    /// The function that the call stands in.
    pub(super) function: Option<&'a Function>,
    /// The text of its file.
    pub(super) text: &'a str,
    /// Names into which calls write.
    pub(super) overwritten: &'a BTreeSet<(FunctionRef, String)>,
    /// Inputs of the model that hold floats.
    pub(super) float_inputs: &'a BTreeSet<u8>,
    /// Why the call's tensors cannot be exchanged for others.
    pub(super) bound: Option<Reason>,
}

/// An argument, or an element of a list that is one.
type Operand<'a> = (ExprId, &'a Value);

impl<'a> Edges<'a> {
    /// One edge for each operand that is an activation.
    pub(super) fn inputs(&self, found: &[Found]) -> Vec<Edge> {
        let event = self.event;
        let positions: Vec<usize> = match event.rule.weight {
            WeightRule::Product { left, right } => match found.first() {
                Some(found) => vec![if found.argument == right { left } else { right }],
                None => vec![left, right],
            },
            _ => event.rule.inputs.to_vec(),
        };
        if positions.is_empty() {
            return Vec::new();
        }
        if let Some(reason) = self.blocked() {
            return vec![Edge::Blocked(reason)];
        }
        let Some(operands) = self.operands(&positions) else {
            let text = format!("`{}` reads a list that is made elsewhere", event.rule.call);
            return vec![Edge::Blocked(Reason::new(codes::LIST_INPUT, text))];
        };
        let weights: Vec<(usize, Option<(usize, usize)>)> =
            found.iter().map(|found| (found.argument, found.element)).collect();
        let operands = operands
            .into_iter()
            .filter(|(place, _)| !weights.contains(place))
            .map(|(_, operand)| operand)
            .filter(|(_, value)| !self.is_mixed() || value.activation().is_some());
        let edge = |(expr, value): Operand<'a>| match value {
            Value::Quantized(_)
            | Value::Weight(Weight { quantizer: Some(_), .. })
            | Value::Made(Made { quantized: true, .. }) => {
                Edge::Blocked(Reason::new(codes::ALREADY_QUANTIZED, "the input comes out of a quantizer"))
            }
            _ => Edge::Spots {
                spots: vec![Spot { expr, ..event.spot }],
                never_negative: value.is_never_negative() && !self.is_overwritten(expr),
            },
        };
        operands.map(edge).collect()
    }

    pub(super) fn output(&self) -> Edge {
        if !self.event.rule.output {
            Edge::Absent
        } else if let Some(reason) = self.blocked() {
            Edge::Blocked(reason)
        } else if self.event.output_quantized {
            Edge::Blocked(Reason::new(codes::ALREADY_QUANTIZED, "a quantizer takes the output"))
        } else {
            let never_negative = self.event.elements == Elements::NeverNegative;
            Edge::Spots { spots: vec![self.event.spot], never_negative }
        }
    }

    /// Whether something writes into what an expression names.
    fn is_overwritten(&self, expr: ExprId) -> bool {
        let name = self.function.and_then(|function| name_of(function, self.text, expr));
        name.is_some_and(|name| self.overwritten.contains(&(self.event.place, name.to_owned())))
    }

    /// Whether numbers and the model's own tensors stand among the operands.
    fn is_mixed(&self) -> bool {
        matches!(self.event.rule.weight, WeightRule::Operands(_) | WeightRule::Einsum)
    }

    /// What stands against both edges.
    fn blocked(&self) -> Option<Reason> {
        let event = self.event;
        if event.anchor.is_some() {
            return Some(in_free_function(event.rule));
        }
        let float = match event.elements {
            Elements::Float | Elements::NeverNegative => true,
            Elements::Input(input) => self.float_inputs.contains(&input),
            Elements::Unknown => false,
        };
        if !float {
            let text = format!(
                "`{}` may work on whole numbers: nothing in the code says that they are floats",
                event.rule.call
            );
            return Some(Reason::new(codes::ELEMENTS_UNKNOWN, text));
        }
        self.bound.clone()
    }

    /// The arguments at `positions`, those of lists one by one, with their places; `None` where a list is not written out.
    #[expect(clippy::type_complexity, reason = "a place is an argument and perhaps an element of it, as in `Found`")]
    fn operands(&self, positions: &[usize]) -> Option<Vec<((usize, Option<(usize, usize)>), Operand<'a>)>> {
        let mut operands = Vec::new();
        for position in positions {
            let Some((expr, value, _)) = self.event.arguments.get(*position) else { continue };
            let Value::List(values) = value else {
                if matches!(value, Value::Tensors(_)) {
                    return None;
                }
                operands.push(((*position, None), (*expr, value)));
                continue;
            };
            let written = self.function?.expr(*expr).map(|expr| &expr.kind);
            let Some(ExprKind::List(items) | ExprKind::Tuple(items)) = written else { return None };
            let elements = items.iter().zip(values.iter()).enumerate();
            operands.extend(
                elements.map(|(index, (expr, value))| ((*position, Some((index, items.len()))), (*expr, value))),
            );
        }
        Some(operands)
    }
}

fn in_free_function(rule: &CallRule) -> Reason {
    let text = format!("`{}` stands in a free function, which has no module to keep a range in", rule.call);
    Reason::new(codes::FREE_FUNCTION, text)
}

/// Add the places of another call of the same op.
pub(super) fn merge(edge: &mut Edge, other: Edge) {
    match (&mut *edge, other) {
        (Edge::Blocked(_), _) | (_, Edge::Absent) => {}
        (Edge::Spots { spots, never_negative }, Edge::Spots { spots: more, never_negative: other }) => {
            spots.extend(more);
            *never_negative &= other;
        }
        (_, other) => *edge = other,
    }
}
