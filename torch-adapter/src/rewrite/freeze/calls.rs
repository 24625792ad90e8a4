//! What the code does with the quantizers of a trained archive, gathered once: every one of them asks.

use std::collections::BTreeMap;

use crate::find::model::Model;
use crate::find::sites::{FunctionRef, Op, OpWeight, QuantizerCall};
use crate::torchscript::code::{ExprId, StatementKind};
use crate::torchscript::heap::{ObjectId, TensorId};

/// The uses of quantizers.
pub(crate) struct Calls<'m> {
    model: &'m Model,
    by_quantizer: BTreeMap<ObjectId, Vec<QuantizerCall>>,
    /// Ops whose weight a quantizer takes.
    readers: BTreeMap<ObjectId, Vec<(&'m Op, &'m OpWeight)>>,
    types: BTreeMap<&'m str, &'m str>,
    /// Statements that are, or take the value of, an expression: their positions.
    statements: BTreeMap<FunctionRef, BTreeMap<ExprId, usize>>,
}

impl<'m> Calls<'m> {
    pub(crate) fn of(model: &'m Model) -> Self {
        let mut calls: BTreeMap<ObjectId, Vec<QuantizerCall>> = BTreeMap::new();
        for call in &model.sites().quantizers {
            calls.entry(call.quantizer).or_default().push(*call);
        }
        let mut readers: BTreeMap<ObjectId, Vec<(&Op, &OpWeight)>> = BTreeMap::new();
        let mut types = BTreeMap::new();
        for op in &model.sites().ops {
            types.entry(op.name.as_str()).or_insert(op.op_type.as_str());
            for weight in &op.weights {
                if let Some(quantizer) = weight.quantizer {
                    readers.entry(quantizer).or_default().push((op, weight));
                }
            }
        }
        Self { model, by_quantizer: calls, readers, types, statements: BTreeMap::new() }
    }

    /// The calls of a quantizer.
    pub(crate) fn of_quantizer(&self, quantizer: ObjectId) -> &[QuantizerCall] {
        self.by_quantizer.get(&quantizer).map(Vec::as_slice).unwrap_or_default()
    }

    /// The model's tensor that a quantizer gets.
    pub(crate) fn tensor(&self, quantizer: ObjectId) -> Option<TensorId> {
        self.of_quantizer(quantizer).first().and_then(|call| call.tensor)
    }

    /// The ops whose weight a quantizer takes.
    pub(crate) fn readers(&self, quantizer: ObjectId) -> &[(&'m Op, &'m OpWeight)] {
        self.readers.get(&quantizer).map(Vec::as_slice).unwrap_or_default()
    }

    /// The type of the op called `name`.
    pub(crate) fn op_type(&self, name: &str) -> Option<&'m str> {
        self.types.get(name).copied()
    }

    /// The position of the statement that is, or takes the value of, an expression.
    pub(crate) fn statement(&mut self, place: FunctionRef, expr: ExprId) -> Option<usize> {
        let model = self.model;
        let positions = || {
            let body = model.program().function(place).map(|function| function.body.as_slice()).unwrap_or_default();
            let positions = body.iter().enumerate().rev().filter_map(|(position, statement)| match &statement.kind {
                StatementKind::Assign { value, .. } | StatementKind::Expr(value) => Some((*value, position)),
                _ => None,
            });
            positions.collect()
        };
        self.statements.entry(place).or_insert_with(positions).get(&expr).copied()
    }
}
