//! One function's text as values go through it: where names are bound and read, what becomes of each expression, which line is inside which.

use std::collections::{BTreeMap, BTreeSet};

use crate::torchscript::code::{ExprId, ExprKind, Function, StatementKind, Target, text_of};

/// A function, looked through once.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    /// By expression.
    uses: Vec<Use<'a>>,
    bound: BTreeMap<&'a str, Vec<Bound>>,
    reads: BTreeMap<&'a str, Vec<ExprId>>,
    /// By statement.
    heads: Vec<Head>,
    /// What the function gives; nothing for a `return` without a value.
    pub(super) returns: Vec<Option<ExprId>>,
}

/// What becomes of an expression's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use<'a> {
    /// Nothing.
    Dropped,
    /// It is that of the parentheses around it.
    Group(ExprId),
    /// A call gets it at this position.
    Argument(ExprId, usize),
    /// It gets this name.
    Assigned(&'a str),
    /// The function gives it back.
    Returned,
    /// Anything else.
    Other,
}

/// What a name stands for, and the statement that binds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// The argument at this position.
    Parameter(usize),
    Value(ExprId, usize),
    /// A part of something, or what a loop counts.
    Other,
}

/// The line above a block that a statement is in.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    /// That line, by its number.
    above: Option<usize>,
    /// The condition of an `if`, or of the one that this `else` belongs to, and what it is where the block runs.
    runs_if: Option<(ExprId, bool)>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(function: &'a Function, text: &'a str) -> Self {
        let mut lines = Self {
            uses: vec![Use::Other; function.exprs.len()],
            bound: BTreeMap::new(),
            reads: BTreeMap::new(),
            heads: Vec::with_capacity(function.body.len()),
            returns: Vec::new(),
        };
        for (position, parameter) in function.parameters.iter().enumerate() {
            lines.bound.entry(&parameter.name).or_default().push(Bound::Parameter(position));
        }
        for (index, expr) in function.exprs.iter().enumerate() {
            let Some(id) = function.id(index) else { continue };
            match &expr.kind {
                ExprKind::Group(inner) => lines.put(*inner, Use::Group(id)),
                ExprKind::Call { arguments, .. } => {
                    for (position, argument) in arguments.iter().enumerate().filter(|(_, it)| it.keyword.is_none()) {
                        lines.put(argument.value, Use::Argument(id, position));
                    }
                }
                _ => {}
            }
        }
        let mut targets = BTreeSet::new();
        for (number, statement) in function.body.iter().enumerate() {
            match &statement.kind {
                StatementKind::Assign { targets: names, unpack, value } => {
                    for target in names {
                        let Target::Name(span) = target else { continue };
                        let name = text_of(text, span);
                        targets.insert(span.start);
                        let single = names.len() == 1 && !unpack;
                        let bound = if single { Bound::Value(*value, number) } else { Bound::Other };
                        lines.bound.entry(name).or_default().push(bound);
                        if single {
                            lines.put(*value, Use::Assigned(name));
                        }
                    }
                }
                StatementKind::Return(value) => {
                    lines.returns.push(*value);
                    if let Some(value) = value {
                        lines.put(*value, Use::Returned);
                    }
                }
                StatementKind::Expr(value) => lines.put(*value, Use::Dropped),
                StatementKind::Other { binds, .. } => {
                    for span in binds {
                        targets.insert(span.start);
                        lines.bound.entry(text_of(text, span)).or_default().push(Bound::Other);
                    }
                }
            }
        }
        for (index, expr) in function.exprs.iter().enumerate() {
            if expr.kind == ExprKind::Name && !targets.contains(&expr.span.start) {
                lines.reads.entry(text_of(text, &expr.span)).or_default().extend(function.id(index));
            }
        }
        lines.nest(function, text);
        lines
    }

    fn put(&mut self, expr: ExprId, used: Use<'a>) {
        if let Some(slot) = self.uses.get_mut(expr.index()) {
            *slot = used;
        }
    }

    /// Find the line above each block.
    fn nest(&mut self, function: &'a Function, text: &'a str) {
        // The last statement of each depth that is open.
        let mut open: Vec<usize> = Vec::new();
        for (number, statement) in function.body.iter().enumerate() {
            let depth = |at: &usize| function.body.get(*at).map_or(0, |statement| statement.depth);
            let mut before = None;
            while let Some(last) = open.pop_if(|last| depth(&*last) >= statement.depth) {
                before = Some(last);
            }
            let words = text_of(text, &statement.span);
            let runs_if = match &statement.kind {
                StatementKind::Other { exprs, .. } if words.starts_with("if ") => {
                    exprs.last().map(|condition| (*condition, true))
                }
                StatementKind::Other { .. } if words.starts_with("else") => before
                    .and_then(|before| self.heads.get(before)?.runs_if)
                    .map(|(condition, branch)| (condition, !branch)),
                _ => None,
            };
            self.heads.push(Head { above: open.last().copied(), runs_if });
            open.push(number);
        }
    }

    /// What becomes of an expression's value.
    pub(super) fn used(&self, expr: ExprId) -> Use<'a> {
        self.uses.get(expr.index()).copied().unwrap_or(Use::Other)
    }

    /// Everything that a name can stand for.
    pub(super) fn bound(&self, name: &str) -> &[Bound] {
        self.bound.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where a name is read.
    pub(super) fn reads(&self, name: &str) -> &[ExprId] {
        self.reads.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The conditions under which a statement runs, from the inside out, as far as they stand in an `if`.
    pub(super) fn runs_if(&self, statement: usize) -> impl Iterator<Item = (ExprId, bool)> {
        let above = |at: &usize| self.heads.get(*at).and_then(|head| head.above);
        let blocks = std::iter::successors(self.heads.get(statement).and_then(|head| head.above), above);
        blocks.filter_map(|at| self.heads.get(at)?.runs_if)
    }
}
