//! Following a value back to the call that makes it, and on to those that read it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::lines::{Bound, Lines, Use};
use crate::find::model::Model;
use crate::find::sites::{ClassRef, Flow, FunctionRef, Met, Point, Program, Run, asks};
use crate::torchscript::code::{Argument, ExprId, ExprKind, text_of};
use crate::torchscript::heap::{Heap, Item, ObjectId};

/// Expressions between a layer and its batch normalization. Models have a dozen.
const MOST: usize = 256;

/// Follows values in a model.
pub(super) struct Tracer<'m> {
    heap: &'m Heap,
    program: &'m Program,
    flow: &'m Flow,
    /// Attributes that the code assigns.
    writes: &'m BTreeSet<(ObjectId, String)>,
    /// By place, the calls of the table that were met there.
    met: BTreeMap<Point, Vec<usize>>,
    callers: BTreeMap<Run, Vec<Point>>,
    lines: BTreeMap<FunctionRef, Rc<Lines<'m>>>,
}

/// Why a value leads back to no call of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// It can come from several places.
    Several,
    /// It comes from something else: a call of this, where that is one.
    Elsewhere(Option<String>),
}

/// Who reads a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reader {
    /// A call of the table, at this position.
    Call(Point, usize),
    /// Something else, in words.
    Other(String),
}

/// A value that stands in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Constant {
    Bool(bool),
    Number(f64),
}

impl<'m> Tracer<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let flow = &model.sites().flow;
        let mut met: BTreeMap<Point, Vec<usize>> = BTreeMap::new();
        for (number, call) in flow.met.iter().enumerate() {
            met.entry(call.at).or_default().push(number);
        }
        let mut callers: BTreeMap<Run, Vec<Point>> = BTreeMap::new();
        for (call, runs) in &flow.runs {
            for run in runs {
                callers.entry(*run).or_default().push(*call);
            }
        }
        let (heap, program, writes) = (model.heap(), model.program(), &model.sites().writes);
        Self { heap, program, flow, writes, met, callers, lines: BTreeMap::new() }
    }

    /// The call of the table at a place; `None` where it is none, or gets now this, now that.
    pub(super) fn call(&self, at: Point) -> Option<&'m Met> {
        let mut all = self.met.get(&at)?.iter().filter_map(|number| self.flow.met.get(*number));
        let first = all.next()?;
        let same = |other: &Met| (&other.arguments, other.op) == (&first.arguments, first.op);
        all.all(same).then_some(first)
    }

    fn lines(&mut self, place: FunctionRef) -> Option<Rc<Lines<'m>>> {
        if let Some(lines) = self.lines.get(&place) {
            return Some(Rc::clone(lines));
        }
        let lines = Rc::new(Lines::new(self.program.function(place)?, self.program.text(place.file)));
        self.lines.insert(place, Rc::clone(&lines));
        Some(lines)
    }

    fn kind(&self, (run, expr): Point) -> Option<&'m ExprKind> {
        Some(&self.program.function(run.function)?.expr(expr)?.kind)
    }

    /// The text of an expression; that of a call's callee tells what is called.
    pub(super) fn text(&self, (run, expr): Point) -> &'m str {
        let expr = self.program.function(run.function).and_then(|function| function.expr(expr));
        expr.map_or("", |expr| text_of(self.program.text(run.function.file), &expr.span))
    }

    /// Whether a call gets arguments by name, of which nothing is known.
    pub(super) fn has_keywords(&self, call: Point) -> bool {
        let arguments = match self.kind(call) {
            Some(ExprKind::Call { arguments, .. }) => arguments.as_slice(),
            _ => &[],
        };
        arguments.iter().any(|argument| argument.keyword.is_some())
    }

    /// The call of the table whose value an expression has.
    pub(super) fn source(&mut self, mut at: Point) -> Result<Point, Stop> {
        for _ in 0..MOST {
            if self.met.contains_key(&at) {
                return Ok(at);
            }
            at = match self.kind(at) {
                Some(ExprKind::Group(inner)) => (at.0, *inner),
                Some(ExprKind::Name) => {
                    let lines = self.lines(at.0.function).ok_or(Stop::Elsewhere(None))?;
                    match lines.bound(self.text(at)) {
                        [Bound::Value(value, _)] => (at.0, *value),
                        [Bound::Parameter(position)] => self.argument(at.0, *position)?,
                        [_, _, ..] => return Err(Stop::Several),
                        _ => return Err(Stop::Elsewhere(None)),
                    }
                }
                Some(ExprKind::Call { callee, arguments, .. }) => {
                    let callee = self.text((at.0, *callee));
                    match (self.flow.runs.get(&at), handed_on(callee, arguments)) {
                        _ if callee == FORK => return Err(Stop::Elsewhere(None)),
                        (Some(runs), _) => self.given_by(runs)?,
                        (None, Some(value)) => (at.0, value),
                        (None, None) => return Err(Stop::Elsewhere(Some(callee.to_owned()))),
                    }
                }
                _ => return Err(Stop::Elsewhere(None)),
            };
        }
        Err(Stop::Elsewhere(None))
    }

    /// Whether hooks run before or behind the methods of an object, which may do anything with what goes in and comes out.
    fn has_hooks(&self, run: Run) -> bool {
        let FunctionRef { file, class, .. } = run.function;
        let class = class.and_then(|class| self.program.class(ClassRef { file, class }));
        class.is_some_and(|class| class.has_hooks)
    }

    /// What one function gives back, where it is one, in one place.
    fn given_by(&mut self, runs: &BTreeSet<Run>) -> Result<Point, Stop> {
        let mut runs = runs.iter();
        let (Some(run), None) = (runs.next(), runs.next()) else { return Err(Stop::Several) };
        if self.has_hooks(*run) {
            return Err(Stop::Elsewhere(Some(HOOK.to_owned())));
        }
        let lines = self.lines(run.function).ok_or(Stop::Elsewhere(None))?;
        match lines.returns.as_slice() {
            [Some(value)] => Ok((*run, *value)),
            [_, _, ..] => Err(Stop::Several),
            _ => Err(Stop::Elsewhere(None)),
        }
    }

    /// What a function gets at a position, where it is called in one place.
    fn argument(&self, run: Run, position: usize) -> Result<Point, Stop> {
        if self.has_hooks(run) {
            return Err(Stop::Elsewhere(Some(HOOK.to_owned())));
        }
        let callers = self.callers.get(&run).map(Vec::as_slice).unwrap_or_default();
        let call = match (callers, self.flow.entries.contains(&run)) {
            ([call], false) => *call,
            ([], _) => return Err(Stop::Elsewhere(None)),
            _ => return Err(Stop::Several),
        };
        let own = usize::from(run.object.is_some());
        let given = match self.kind(call) {
            Some(ExprKind::Call { callee, arguments, .. }) if self.text((call.0, *callee)) != FORK => {
                position.checked_sub(own).and_then(|position| arguments.get(position))
            }
            _ => None,
        };
        let given = given.filter(|argument| argument.keyword.is_none());
        given.map(|argument| (call.0, argument.value)).ok_or(Stop::Elsewhere(None))
    }

    /// Who reads the value of an expression: two at most, which is one too many.
    pub(super) fn readers(&mut self, at: Point) -> Vec<Reader> {
        let (mut open, mut seen, mut found) = (vec![at], BTreeSet::new(), Vec::new());
        while let Some(at) = open.pop() {
            if found.len() > 1 {
                break;
            }
            if !seen.insert(at) {
                continue;
            }
            if seen.len() > MOST {
                found.push(Reader::Other("more than is followed".to_owned()));
                break;
            }
            let Some(lines) = self.lines(at.0.function) else { continue };
            match lines.used(at.1) {
                Use::Dropped => {}
                Use::Group(outer) => open.push((at.0, outer)),
                Use::Assigned(name) => open.extend(lines.reads(name).iter().take(MOST + 1).map(|read| (at.0, *read))),
                Use::Argument(call, position) => match self.given_to((at.0, call), position) {
                    Ok(points) => open.extend(points),
                    Err(reader) => found.extend(reader),
                },
                Use::Returned => {
                    if self.has_hooks(at.0) {
                        found.push(Reader::Other(format!("a {HOOK}")));
                    } else if self.flow.entries.contains(&at.0) {
                        found.push(Reader::Other("what the model gives back".to_owned()));
                    }
                    open.extend(self.callers.get(&at.0).into_iter().flatten().take(MOST + 1));
                }
                Use::Other => found.push(Reader::Other("other code".to_owned())),
            }
        }
        found
    }

    /// Where a value goes on from a call that gets it; or who it is that reads it, if anybody does.
    fn given_to(&mut self, call: Point, position: usize) -> Result<Vec<Point>, Option<Reader>> {
        let Some(ExprKind::Call { callee, arguments, .. }) = self.kind(call) else { return Ok(Vec::new()) };
        let callee = self.text((call.0, *callee));
        if self.met.contains_key(&call) {
            return Err(Some(Reader::Call(call, position)));
        }
        if asks(callee) {
            return Err(None);
        }
        let other = || Err(Some(Reader::Other(format!("`{callee}`"))));
        if callee == FORK {
            return other();
        }
        let flow = self.flow;
        if let Some(runs) = flow.runs.get(&call) {
            let mut points = Vec::new();
            for run in runs.iter().take(MOST + 1) {
                if self.has_hooks(*run) {
                    return Err(Some(Reader::Other(format!("a {HOOK}"))));
                }
                let position = position + usize::from(run.object.is_some());
                let function = self.program.function(run.function);
                let Some(parameter) = function.and_then(|function| function.parameters.get(position)) else {
                    return other();
                };
                let Some(lines) = self.lines(run.function) else { return other() };
                points.extend(lines.reads(&parameter.name).iter().take(MOST + 1).map(|read| (*run, *read)));
            }
            return Ok(points);
        }
        match (handed_on(callee, arguments), arguments.get(position)) {
            (Some(value), Some(argument)) if argument.value == value => Ok(vec![call]),
            _ => other(),
        }
    }

    /// The truth value or number that an expression is, where that is the same whenever it runs in the mode in which the model was saved.
    pub(super) fn constant(&mut self, at: Point) -> Option<Constant> {
        let mut fuel = MOST;
        self.constant_within(at, &mut fuel)
    }

    fn constant_within(&mut self, at: Point, fuel: &mut usize) -> Option<Constant> {
        *fuel = fuel.checked_sub(1)?;
        let text = self.text(at);
        match self.kind(at)? {
            ExprKind::Group(inner) => self.constant_within((at.0, *inner), fuel),
            ExprKind::Number => text.parse().ok().map(Constant::Number),
            ExprKind::Name => match text {
                "True" => Some(Constant::Bool(true)),
                "False" => Some(Constant::Bool(false)),
                name => {
                    let lines = self.lines(at.0.function)?;
                    let mut found = None;
                    for bound in lines.bound(name) {
                        let value = match *bound {
                            Bound::Value(_, statement) if self.never_runs(at.0, &lines, statement, fuel) => continue,
                            Bound::Value(value, _) => self.constant_within((at.0, value), fuel)?,
                            Bound::Parameter(position) => {
                                let argument = self.argument(at.0, position).ok()?;
                                self.constant_within(argument, fuel)?
                            }
                            Bound::Other => return None,
                        };
                        if found.is_some_and(|found| found != value) {
                            return None;
                        }
                        found = Some(value);
                    }
                    found
                }
            },
            ExprKind::Attribute { base, name } => {
                let function = self.program.function(at.0.function)?;
                let own = function.parameters.first().map(|parameter| parameter.name.as_str());
                let object = at.0.object.filter(|_| Some(self.text((at.0, *base))) == own)?;
                let name = text_of(self.program.text(at.0.function.file), name);
                if self.writes.contains(&(object, name.to_owned())) {
                    return None;
                }
                match self.heap.object(object)?.attribute(name)? {
                    Item::Bool(flag) => Some(Constant::Bool(*flag)),
                    Item::Float(number) => Some(Constant::Number(*number)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Whether a statement is in a branch that is not taken.
    fn never_runs(&mut self, run: Run, lines: &Lines<'m>, statement: usize, fuel: &mut usize) -> bool {
        let conditions: Vec<(ExprId, bool)> = lines.runs_if(statement).take(*fuel).collect();
        let mut conditions = conditions.into_iter();
        conditions
            .any(|(condition, branch)| self.constant_within((run, condition), fuel) == Some(Constant::Bool(!branch)))
    }
}

/// What a class may have for its methods.
const HOOK: &str = "forward hook";

/// What runs a function later.
const FORK: &str = "fork";

/// The argument whose value a call has.
fn handed_on(callee: &str, arguments: &[Argument]) -> Option<ExprId> {
    let last = arguments.last().filter(|_| matches!(callee, "annotate" | "unchecked_cast"))?;
    Some(last.value)
}
