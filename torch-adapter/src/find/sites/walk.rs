//! Following the code from the root's methods, without running it: which call gets which tensor, in which module.
//!
//! Each method is followed once per object and set of known arguments. Values are objects, tensors, lists of them and names;
//! activations are unknown. Where two ways meet with different values, the value is unknown.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::events::{Anchor, QuantizerRead, Read, Walk};
use super::frame::{Frame, vague_names};
use super::place::{Origin, Run, Spot};
use super::value::{Elements, Value};
use crate::torchscript::code::{ExprId, ExprKind, Function, Statement, StatementKind, Target, text_of, unquote};
use crate::torchscript::heap::{Heap, Item, ObjectId, unmangle};
use crate::torchscript::program::{FunctionRef, Program};

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
    pub(super) is_quantizer: &'a dyn Fn(&str) -> bool,
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
                let first = (place, None, Vec::new(), None);
                let reached = self.memo.range(first..).next().is_some_and(|(key, _)| key.0 == place);
                if method.name.starts_with("forward") == forward && !reached {
                    let text = self.program.text(place.file);
                    let inputs = method.parameters.iter().enumerate().map(|(number, parameter)| {
                        let ty = parameter.ty.as_ref().map_or("", |ty| text_of(text, ty));
                        let elements = u8::try_from(number).map_or(Elements::Unknown, Elements::Input);
                        if number == 0 { Value::Object(root) } else { Value::Unknown.declared(ty, elements) }
                    });
                    let arguments = inputs.collect();
                    let value = self.run(place, Some(root), arguments, None, 0);
                    self.others([&value]);
                    self.walk.entries.push(place);
                    self.walk.entry_runs.insert(Run { function: place, object: Some(root), anchor: None });
                }
            }
        }
    }

    /// Follow a function into which the call `expr` leads.
    pub(super) fn enter(
        &mut self,
        (frame, expr): (&Frame<'a>, ExprId),
        place: FunctionRef,
        object: Option<ObjectId>,
        arguments: Vec<Value>,
        anchor: Option<Arc<Anchor>>,
    ) -> Value {
        let run = Run { function: place, object, anchor: anchor.as_ref().map(|anchor| anchor.spot) };
        self.walk.runs.entry((frame.run(), expr)).or_default().insert(run);
        self.run(place, object, arguments, anchor, frame.depth + 1)
    }

    fn run(
        &mut self,
        place: FunctionRef,
        object: Option<ObjectId>,
        arguments: Vec<Value>,
        anchor: Option<Arc<Anchor>>,
        depth: usize,
    ) -> Value {
        if depth > MAX_DEPTH || self.memo.len() > MAX_CONTEXTS {
            self.walk.cut = true;
            self.others(&arguments);
            return Value::Unknown;
        }
        let Some(function) = self.program.function(place) else { return Value::Unknown };
        let text = self.program.text(place.file);
        let arguments = declared(function, text, arguments);
        let key = (place, object, arguments, anchor.as_ref().map(|anchor| anchor.spot));
        if let Some(known) = self.memo.get(&key) {
            return known.clone();
        }
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
                    Some(before) => {
                        let met = before.clone().meet(&value);
                        if met == Value::Unknown {
                            self.others([&before, &value]);
                        }
                        met
                    }
                });
            }
        }
        let ty = frame.function.returns.as_ref().map_or("", |ty| text_of(frame.text, ty));
        returned.unwrap_or(Value::Unknown).declared(ty, Elements::Unknown)
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
                    let number = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    let part = if *unpack { value.element(&number) } else { value.clone() };
                    let gone = match target {
                        Target::Name(span) => frame.bind(text_of(frame.text, span), part),
                        Target::Place(_) => vec![part],
                    };
                    self.others(&gone);
                }
            }
            StatementKind::Other { binds, exprs } => {
                self.others(exprs.iter().map(|id| frame.value(*id)));
                for span in binds {
                    let gone = frame.bind(text_of(frame.text, span), Value::Unknown);
                    self.others(&gone);
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
            ExprKind::Number => text_of(frame.text, &expr.span).parse().map_or(Value::Float, Value::Int),
            ExprKind::Operation(operands) => {
                self.others(operands.iter().map(|id| frame.value(*id)));
                Value::Unknown
            }
            ExprKind::Dict(items) => {
                let value = dictionary(items.iter().map(|id| frame.value(*id)));
                if value == Value::Unknown {
                    self.others(items.iter().map(|id| frame.value(*id)));
                }
                value
            }
            ExprKind::Group(inner) => frame.value(*inner).clone(),
            ExprKind::List(items) | ExprKind::Tuple(items) => {
                Value::List(items.iter().map(|id| frame.value(*id).clone()).collect())
            }
            ExprKind::Subscript { base, index } => {
                let index = match index.as_slice() {
                    [id] => frame.value(*id),
                    _ => &Value::Unknown,
                };
                match frame.value(*base) {
                    Value::Object(object) => self.member(*object, index),
                    base => {
                        let element = base.element(index);
                        if element == Value::Unknown {
                            self.others([base]);
                        }
                        element
                    }
                }
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

    /// Whoever gets these values reads them in a way that is not followed.
    pub(super) fn others<'v>(&mut self, values: impl IntoIterator<Item = &'v Value>) {
        self.walk.others.extend(values.into_iter().flat_map(Value::tensors));
    }

    pub(super) fn attribute(&mut self, frame: &Frame<'a>, base: &Value, name: &str, index: usize) -> Value {
        match base {
            Value::Object(object) => match self.heap.object(*object).and_then(|found| found.attribute(name)) {
                Some(item) => self.read(frame, index, item, Origin::Attribute(*object, name.into())),
                None if self.is_hidden(*object, name) => Value::Hidden(*object, name.into()),
                None => Value::Method(*object, name.into()),
            },
            Value::AnyObject(objects) => Value::AnyMethod(Arc::clone(objects), name.into()),
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

    /// Whether only the object's own code knows the attribute.
    fn is_hidden(&self, object: ObjectId, name: &str) -> bool {
        let found = self.heap.object(object).filter(|found| found.opaque);
        let class = found.and_then(|found| self.program.class(self.program.find_class(&found.class)?));
        class.is_some_and(|class| class.attribute(name).is_some())
    }

    /// A module of a `ModuleList` or `ModuleDict`; any of them where the index is known only when the model runs.
    fn member(&self, holder: ObjectId, index: &Value) -> Value {
        let Some(found) = self.heap.object(holder) else { return Value::Unknown };
        let modules = found.attributes.iter().filter_map(|(_, item)| match item {
            Item::Object(module) => Some(Value::Object(*module)),
            _ => None,
        });
        let known = match index {
            Value::Int(number) => Some(number.to_string()),
            Value::Str(name) => Some(name.to_string()),
            _ => None,
        };
        match known.and_then(|known| found.attribute(&known)) {
            Some(Item::Object(module)) => Value::Object(*module),
            _ => modules.reduce(|one, other| one.meet(&other)).unwrap_or(Value::Unknown),
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
        if matches!(value, Value::Weight(_) | Value::List(_) | Value::Dict(_))
            && let Some(expr) = frame.id(index)
        {
            self.walk.reads.insert(Read { function: frame.place, expr, holder: frame.object, origin });
        }
        value
    }
}

/// A dictionary of keys and values in turn; unknown where a key is.
fn dictionary<'v>(items: impl Iterator<Item = &'v Value>) -> Value {
    let items: Vec<&Value> = items.collect();
    let pairs: Option<Vec<(Arc<str>, Value)>> = items
        .chunks(2)
        .map(|pair| match pair {
            [Value::Str(key), value] => Some((Arc::clone(key), (*value).clone())),
            _ => None,
        })
        .collect();
    pairs.map_or(Value::Unknown, |pairs| Value::Dict(pairs.into()))
}

/// The arguments of a function, with what their declared types say where nothing else is known.
fn declared(function: &Function, text: &str, arguments: Vec<Value>) -> Vec<Value> {
    let given = arguments.into_iter().chain(std::iter::repeat(Value::Unknown));
    let parameters = function.parameters.iter().zip(given).map(|(parameter, value)| {
        let ty = parameter.ty.as_ref().map_or("", |ty| text_of(text, ty));
        value.declared(ty, Elements::Unknown)
    });
    parameters.collect()
}
