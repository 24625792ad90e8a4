//! One function while it is followed: its names and the values of its expressions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::events::Anchor;
use super::place::Run;
use super::value::Value;
use crate::torchscript::code::{ExprId, ExprKind, Function, StatementKind, Target, text_of};
use crate::torchscript::heap::ObjectId;
use crate::torchscript::program::FunctionRef;

/// What the statements of one function know.
pub(super) struct Frame<'a> {
    pub(super) place: FunctionRef,
    pub(super) function: &'a Function,
    pub(super) text: &'a str,
    pub(super) object: Option<ObjectId>,
    pub(super) anchor: Option<Arc<Anchor>>,
    pub(super) depth: usize,
    pub(super) locals: BTreeMap<&'a str, Value>,
    /// Names that are assigned in a loop and elsewhere too.
    pub(super) vague: BTreeSet<&'a str>,
    pub(super) values: Vec<Value>,
}

impl<'a> Frame<'a> {
    pub(super) fn value(&self, id: ExprId) -> &Value {
        self.values.get(id.index()).unwrap_or(&Value::Unknown)
    }

    /// The function, for its object.
    pub(super) fn run(&self) -> Run {
        let anchor = self.anchor.as_ref().map(|anchor| anchor.spot);
        Run { function: self.place, object: self.object, anchor }
    }

    pub(super) fn id(&self, index: usize) -> Option<ExprId> {
        self.function.id(index)
    }

    /// The name that an expression is.
    pub(super) fn name_of(&self, id: ExprId) -> Option<&'a str> {
        name_of(self.function, self.text, id)
    }

    pub(super) fn name(&self, name: &'a str) -> Value {
        match self.locals.get(name) {
            Some(value) => value.clone(),
            None if name == "None" => Value::None,
            None => Value::Path(name.into()),
        }
    }

    /// Give a name a value; the values that are not followed from here on.
    pub(super) fn bind(&mut self, name: &'a str, value: Value) -> Vec<Value> {
        let before = self.locals.get(name);
        let turned = if self.vague.contains(name) { value.clone().in_turns() } else { value.clone() };
        let met = match before {
            Some(before) => before.clone().meet(&turned),
            None => turned,
        };
        let lost =
            if met == Value::Unknown { before.cloned().into_iter().chain([value]).collect() } else { Vec::new() };
        self.locals.insert(name, met);
        lost
    }
}

/// The name that an expression is, perhaps in parentheses.
pub(super) fn name_of<'a>(function: &'a Function, text: &'a str, mut id: ExprId) -> Option<&'a str> {
    // Parts of an expression stand before it, so that this ends.
    loop {
        let expr = function.expr(id)?;
        match expr.kind {
            ExprKind::Name => return Some(text_of(text, &expr.span)),
            ExprKind::Group(inner) => id = inner,
            _ => return None,
        }
    }
}

/// Names that a loop assigns and that something else assigns too: what they hold depends on the turn.
pub(super) fn vague_names<'a>(function: &'a Function, text: &'a str) -> BTreeSet<&'a str> {
    let mut count: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for parameter in &function.parameters {
        count.insert(&parameter.name, (1, false));
    }
    let mut loops: Vec<usize> = Vec::new();
    for statement in &function.body {
        while loops.last().is_some_and(|depth| *depth >= statement.depth) {
            loops.pop();
        }
        let head = text_of(text, &statement.span);
        let names: Vec<&str> = match &statement.kind {
            StatementKind::Assign { targets, .. } => targets
                .iter()
                .filter_map(|target| match target {
                    Target::Name(span) => Some(text_of(text, span)),
                    Target::Place(_) => None,
                })
                .collect(),
            StatementKind::Other { binds, .. } => binds.iter().map(|span| text_of(text, span)).collect(),
            StatementKind::Return(_) | StatementKind::Expr(_) => Vec::new(),
        };
        for name in names {
            let entry = count.entry(name).or_insert((0, false));
            entry.0 += 1;
            entry.1 |= !loops.is_empty();
        }
        if head.starts_with("for ") || head.starts_with("while ") {
            loops.push(statement.depth);
        }
    }
    count.into_iter().filter(|(_, (count, in_loop))| *count > 1 && *in_loop).map(|(name, _)| name).collect()
}
