//! Following the code from the root's methods, without running it: which call gets which tensor, in which module.
//!
//! Each method is followed once per object and set of known arguments. Values are objects, tensors, lists of them and names;
//! activations are unknown. Where two ways meet with different values, the value is unknown.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::events::{Anchor, CallEvent, QuantizerCall, QuantizerRead, Read, Spot, Walk};
use super::frame::{Frame, vague_names};
use super::heap::{Heap, Item, ObjectId, TensorId, unmangle};
use super::program::{FunctionRef, Program};
use super::table::{self, CallRule};
use super::value::{Origin, Value};
use crate::code::{Argument, ExprId, ExprKind, Statement, StatementKind, Target, text_of, unquote};

/// Calls inside calls; real models stay below thirty.
const MAX_DEPTH: usize = 100;
/// Methods times objects times argument sets.
const MAX_CONTEXTS: usize = 500_000;

type Key = (FunctionRef, Option<ObjectId>, Vec<Value>, Option<Spot>);

pub(super) struct Walker<'a> {
    pub(super) program: &'a Program,
    pub(super) heap: &'a Heap,
    pub(super) walk: Walk,
    memo: BTreeMap<Key, Value>,
    /// Qualified names of classes whose `forward` is a quantizer's, and of functions that are one.
    is_quantizer: &'a dyn Fn(&str) -> bool,
}

/// Follow the code of `program` from the methods of the root.
pub(super) fn walk(program: &Program, heap: &Heap, is_quantizer: &dyn Fn(&str) -> bool) -> Walk {
    let mut walker = Walker { program, heap, walk: Walk::default(), memo: BTreeMap::new(), is_quantizer };
    walker.entries();
    walker.walk
}

impl<'a> Walker<'a> {
    /// `forward` and its numbered and overloaded forms first; then the methods that none of them reached.
    fn entries(&mut self) {
        let Some(root) = self.heap.root else { return };
        let Some(class) = self.heap.object(root).and_then(|object| self.program.find_class(&object.class)) else {
            return;
        };
        let Some(methods) = self.program.class(class).map(|class| &class.methods) else { return };
        for forward in [true, false] {
            for (function, method) in methods.iter().enumerate() {
                let place = FunctionRef { file: class.file, class: Some(class.class), function };
                let reached = self.memo.keys().any(|key| key.0 == place);
                if method.name.starts_with("forward") == forward && !reached {
                    let mut arguments = vec![Value::Unknown; method.parameters.len()];
                    if let Some(first) = arguments.first_mut() {
                        *first = Value::Object(root);
                    }
                    self.run(place, Some(root), arguments, None, 0);
                }
            }
        }
    }

    pub(super) fn run(
        &mut self,
        place: FunctionRef,
        object: Option<ObjectId>,
        arguments: Vec<Value>,
        anchor: Option<Arc<Anchor>>,
        depth: usize,
    ) -> Value {
        if depth > MAX_DEPTH || self.memo.len() > MAX_CONTEXTS {
            self.walk.cut = true;
            return Value::Unknown;
        }
        let key = (place, object, arguments, anchor.as_ref().map(|anchor| anchor.spot));
        if let Some(known) = self.memo.get(&key) {
            return known.clone();
        }
        let Some(function) = self.program.function(place) else { return Value::Unknown };
        let text = self.program.text(place.file);
        let locals = function.parameters.iter().map(|parameter| parameter.name.as_str()).zip(key.2.iter().cloned());
        let frame = Frame {
            place,
            function,
            text,
            object,
            anchor,
            depth,
            locals: locals.collect(),
            vague: vague_names(function, text),
            values: Vec::with_capacity(function.exprs.len()),
        };
        self.walk.visited.extend(object);
        self.memo.insert(key.clone(), Value::Unknown);
        let value = self.body(frame);
        self.memo.insert(key, value.clone());
        value
    }

    fn body(&mut self, mut frame: Frame<'a>) -> Value {
        let mut returned: Option<Value> = None;
        for statement in &frame.function.body {
            self.statement(&mut frame, statement);
            if let StatementKind::Return(Some(id)) = &statement.kind {
                let value = frame.value(*id).as_argument();
                returned = Some(match returned {
                    None => value,
                    Some(before) => before.meet(&value),
                });
            }
        }
        returned.unwrap_or(Value::Unknown)
    }

    fn statement(&mut self, frame: &mut Frame<'a>, statement: &Statement) {
        let last = match &statement.kind {
            StatementKind::Assign { value, .. } | StatementKind::Expr(value) => Some(*value),
            StatementKind::Return(value) => *value,
            StatementKind::Other { exprs, .. } => exprs.last().copied(),
        };
        let Some(last) = last else { return };
        let written = match &statement.kind {
            StatementKind::Assign { targets, .. } => targets
                .iter()
                .filter_map(|target| match target {
                    Target::Place(id) => Some(*id),
                    Target::Name(_) => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        // Children come before parents and statements one after another, so the arena's order is the order of evaluation.
        for index in frame.values.len()..=last.index() {
            let value = self.eval(frame, index, &written);
            frame.values.push(value);
        }
        match &statement.kind {
            StatementKind::Assign { targets, unpack, value } => {
                let value = frame.value(*value).clone();
                for (index, target) in targets.iter().enumerate() {
                    let Target::Name(span) = target else { continue };
                    let part = if *unpack { value.element(Some(index)) } else { value.clone() };
                    frame.bind(text_of(frame.text, span), part);
                }
            }
            StatementKind::Other { binds, .. } => {
                for span in binds {
                    frame.bind(text_of(frame.text, span), Value::Unknown);
                }
            }
            StatementKind::Return(_) | StatementKind::Expr(_) => {}
        }
    }

    fn eval(&mut self, frame: &Frame<'a>, index: usize, written: &[ExprId]) -> Value {
        let Some(expr) = frame.function.exprs.get(index) else { return Value::Unknown };
        let is_written = written.iter().any(|id| id.index() == index);
        match &expr.kind {
            ExprKind::Name => frame.name(text_of(frame.text, &expr.span)),
            ExprKind::String => {
                unquote(text_of(frame.text, &expr.span)).map_or(Value::Unknown, |text| Value::Str(text.into()))
            }
            ExprKind::Number | ExprKind::Operation(_) | ExprKind::Dict(_) => Value::Unknown,
            ExprKind::Group(inner) => frame.value(*inner).clone(),
            ExprKind::List(items) | ExprKind::Tuple(items) => {
                Value::List(items.iter().map(|id| frame.value(*id).clone()).collect())
            }
            ExprKind::Subscript { base, index } => {
                let position = match index.as_slice() {
                    [id] => frame.function.expr(*id).and_then(|expr| text_of(frame.text, &expr.span).parse().ok()),
                    _ => None,
                };
                frame.value(*base).element(position)
            }
            ExprKind::Attribute { base, name } => {
                let name = text_of(frame.text, name);
                if let (true, Value::Object(object)) = (is_written, frame.value(*base)) {
                    self.walk.writes.insert((*object, name.to_owned()));
                    return Value::Unknown;
                }
                self.attribute(frame, frame.value(*base), name, index)
            }
            ExprKind::Call { callee, arguments, .. } => self.call(frame, *callee, arguments, index),
        }
    }

    fn attribute(&mut self, frame: &Frame<'a>, base: &Value, name: &str, index: usize) -> Value {
        match base {
            Value::Object(object) => match self.heap.object(*object).and_then(|found| found.attribute(name)) {
                Some(item) => self.read(frame, index, item, Origin::Attribute(*object, name.into())),
                None => Value::Method(*object, name.into()),
            },
            Value::Path(path) if &**path == "CONSTANTS" => {
                let number = name.strip_prefix('c').and_then(|digits| digits.parse().ok());
                match number.and_then(|number: usize| Some((number, self.heap.constants.get(number)?))) {
                    Some((number, item)) => self.read(frame, index, item, Origin::Constant(number)),
                    None => Value::Unknown,
                }
            }
            Value::Path(path) => Value::Path(format!("{path}.{name}").into()),
            _ => Value::Unknown,
        }
    }

    fn read(&mut self, frame: &Frame<'a>, index: usize, item: &Item, origin: Origin) -> Value {
        let value = Value::of_item(item, &origin);
        if let (Value::Object(quantizer), Some(object), Some(expr)) = (&value, frame.object, frame.id(index))
            && self.heap.object(*quantizer).is_some_and(|found| (self.is_quantizer)(&unmangle(&found.class)))
        {
            let spot = Spot { object, function: frame.place, expr };
            self.walk.quantizer_reads.insert(QuantizerRead { quantizer: *quantizer, spot });
        }
        if matches!(value, Value::Weight(_) | Value::List(_))
            && let Some(expr) = frame.id(index)
        {
            self.walk.reads.insert(Read { function: frame.place, expr, holder: frame.object, origin });
        }
        value
    }

    fn call(&mut self, frame: &Frame<'a>, callee: ExprId, arguments: &[Argument], index: usize) -> Value {
        let positional: Vec<(ExprId, Value)> = arguments
            .iter()
            .filter(|argument| argument.keyword.is_none())
            .map(|argument| (argument.value, frame.value(argument.value).clone()))
            .collect();
        let Some(expr) = frame.id(index) else { return Value::Unknown };
        match frame.value(callee) {
            Value::Method(object, name) => self.method(frame, *object, name, &positional, expr),
            Value::Path(path) => self.function(frame, &Arc::clone(path), positional, expr),
            _ => Value::Unknown,
        }
    }

    fn method(
        &mut self,
        frame: &Frame<'a>,
        object: ObjectId,
        name: &str,
        arguments: &[(ExprId, Value)],
        expr: ExprId,
    ) -> Value {
        let Some(found) = self.heap.object(object) else { return Value::Unknown };
        if (self.is_quantizer)(&unmangle(&found.class)) {
            return self.quantized(frame, Some(object), arguments.first().map(|(_, value)| value), expr);
        }
        let place = self.program.find_class(&found.class).and_then(|class| self.program.find_method(class, name));
        let Some(place) = place else { return Value::Unknown };
        let own = std::iter::once(Value::Object(object));
        let arguments = own.chain(arguments.iter().map(|(_, value)| value.as_argument())).collect();
        self.run(place, Some(object), arguments, None, frame.depth + 1)
    }

    /// A value that a quantizer made: `quantizer` is a module of ours, or `None` for an op of the framework.
    pub(super) fn quantized(
        &mut self,
        frame_spot: &Frame<'a>,
        quantizer: Option<ObjectId>,
        argument: Option<&Value>,
        expr: ExprId,
    ) -> Value {
        let tensor = match argument {
            Some(Value::Weight(weight)) => Some(weight.tensor),
            _ => None,
        };
        if let Some(Value::Result(number)) = argument
            && let Some(event) = self.walk.calls.get_mut(*number)
        {
            event.output_quantized = true;
        }
        if let (Some(quantizer), Some(object)) = (quantizer, frame_spot.object) {
            let spot = Spot { object, function: frame_spot.place, expr };
            self.walk.quantizers.insert(QuantizerCall { quantizer, spot, tensor });
        }
        Value::Quantized(tensor)
    }

    fn function(&mut self, frame: &Frame<'a>, path: &Arc<str>, arguments: Vec<(ExprId, Value)>, expr: ExprId) -> Value {
        self.walk.called.insert(Arc::clone(path));
        let plain = unmangle(path);
        if let Some(rule) = table::find(&plain) {
            return self.event(frame, rule, arguments, expr);
        }
        if (self.is_quantizer)(&plain) {
            return self.quantized(frame, None, arguments.first().map(|(_, value)| value), expr);
        }
        if let Some(place) = self.program.find_function(path) {
            let anchor = frame.anchor.clone().or_else(|| {
                let spot = Spot { object: frame.object?, function: frame.place, expr };
                Some(Arc::new(Anchor { spot, arguments: arguments.clone() }))
            });
            let arguments = arguments.iter().map(|(_, value)| value.as_argument()).collect();
            return self.run(place, None, arguments, anchor, frame.depth + 1);
        }
        self.builtin(frame, path, &arguments, expr)
    }

    fn event(
        &mut self,
        frame: &Frame<'a>,
        rule: &'static CallRule,
        arguments: Vec<(ExprId, Value)>,
        expr: ExprId,
    ) -> Value {
        let spot = match (&frame.anchor, frame.object) {
            (Some(anchor), _) => anchor.spot,
            (None, Some(object)) => Spot { object, function: frame.place, expr },
            (None, None) => return Value::Unknown,
        };
        let text = |id: ExprId| frame.function.expr(id).map_or("", |expr| text_of(frame.text, &expr.span)).to_owned();
        let arguments = arguments.into_iter().map(|(id, value)| (id, value, text(id))).collect();
        let number = self.walk.calls.len();
        self.walk.calls.push(CallEvent {
            rule,
            spot,
            anchor: frame.anchor.clone(),
            arguments,
            output_quantized: false,
        });
        Value::Result(number)
    }

    /// The int8 tensor whose codes a step of arithmetic turns into values: a packed weight.
    fn decoded(&self, path: &str, arguments: &[(ExprId, Value)]) -> Option<TensorId> {
        if !matches!(path, "torch.add" | "torch.sub" | "torch.mul" | "torch.true_divide") {
            return None;
        }
        let tensor = match arguments.first() {
            Some((_, Value::Weight(weight))) => weight.tensor,
            Some((_, Value::Quantized(Some(tensor)))) => *tensor,
            _ => return None,
        };
        self.heap.tensor(tensor).is_some_and(|facts| facts.scalar == "Char").then_some(tensor)
    }

    /// Functions whose value says something about a tensor or an object.
    fn builtin(&mut self, frame: &Frame<'a>, path: &str, arguments: &[(ExprId, Value)], expr: ExprId) -> Value {
        if let Some(codes) = self.decoded(path, arguments) {
            return Value::Quantized(Some(codes));
        }
        super::builtin::call(path, arguments).unwrap_or_else(|call| match call {
            super::builtin::Special::GetAttribute(object, name) => {
                self.attribute(frame, &Value::Object(object), &name, expr.index())
            }
            super::builtin::Special::Fork(callee, rest) => match callee {
                Value::Path(path) => self.function(frame, &path, rest, expr),
                Value::Method(object, name) => self.method(frame, object, &name, &rest, expr),
                Value::Object(object) => self.method(frame, object, "forward", &rest, expr),
                _ => Value::Unknown,
            },
            super::builtin::Special::Quantize(value) => self.quantized(frame, None, Some(&value), expr),
        })
    }
}
