//! Calls while the code is followed: of methods, of functions in the archive, of `torch`'s own.

use std::sync::Arc;

use quant_math::weights::Storage;

use super::axes::View;
use super::builtin::{self, Special};
use super::events::{Anchor, Arithmetic, CallEvent, Decoding, Operand, QuantizerCall, Step};
use super::frame::Frame;
use super::place::{Origin, Spot};
use super::sign;
use super::table::{self, CallRule, Keeper, WeightRule};
use super::value::{Elements, How, Made, Quantizer, Value, Weight};
use super::walk::Walker;
use crate::find::injected;
use crate::torchscript::code::{Argument, ExprId, ExprKind, text_of};
use crate::torchscript::heap::{ObjectId, Separated, unmangle};

/// Functions that change the list they get.
const MUTATING: [&str; 7] = [
    "torch.append",
    "torch.clear",
    "torch.extend",
    "torch.insert",
    "torch.pop",
    "torch._set_item",
    "torch.__delitem__",
];

/// The tensors and numbers that arithmetic works on, those of a list one by one.
fn operands<'v>(positions: &[usize], arguments: &'v [(ExprId, Value)]) -> Vec<&'v Value> {
    let values = positions.iter().filter_map(|position| arguments.get(*position)).map(|(_, value)| value);
    let each = values.flat_map(|value| match value {
        Value::List(items) => items.iter().collect(),
        value => vec![value],
    });
    each.collect()
}

/// The two tensors of the model whose product this is, if it is one.
fn own_product(rule: &CallRule, arguments: &[(ExprId, Value)]) -> Option<Arc<[Weight]>> {
    let WeightRule::Product { left, right } = rule.weight else { return None };
    let own = |position: usize| arguments.get(position).map(|(_, value)| value.own()).filter(|own| !own.is_empty());
    Some(own(left)?.iter().chain(own(right)?).cloned().collect())
}

impl<'a> Walker<'a> {
    pub(super) fn call(&mut self, frame: &Frame<'a>, callee: ExprId, arguments: &[Argument], index: usize) -> Value {
        let positional: Vec<(ExprId, Value)> = arguments
            .iter()
            .filter(|argument| argument.keyword.is_none())
            .map(|argument| (argument.value, frame.value(argument.value).clone()))
            .collect();
        let Some(expr) = frame.id(index) else { return Value::Unknown };
        let named = arguments.iter().filter(|argument| argument.keyword.is_some());
        self.others(named.map(|argument| frame.value(argument.value)));
        match frame.value(callee) {
            Value::Method(object, name) => self.method(frame, *object, name, &positional, expr),
            Value::AnyMethod(objects, name) => {
                let (objects, name) = (Arc::clone(objects), Arc::clone(name));
                let values = objects.iter().map(|object| self.method(frame, *object, &name, &positional, expr));
                values.map(|value| value.as_argument()).reduce(|one, other| one.meet(&other)).unwrap_or(Value::Unknown)
            }
            Value::Path(path) => self.function(frame, &Arc::clone(path), positional, expr),
            _ => {
                // A method of something that is known only when the model runs.
                self.walk.unresolved |=
                    matches!(frame.function.expr(callee).map(|expr| &expr.kind), Some(ExprKind::Attribute { .. }));
                self.unknown(&positional)
            }
        }
    }

    fn unknown(&mut self, arguments: &[(ExprId, Value)]) -> Value {
        self.others(arguments.iter().map(|(_, value)| value));
        Value::Unknown
    }

    fn method(
        &mut self,
        frame: &Frame<'a>,
        object: ObjectId,
        name: &str,
        arguments: &[(ExprId, Value)],
        expr: ExprId,
    ) -> Value {
        let Some(found) = self.heap.object(object) else { return self.unknown(arguments) };
        if (self.is_quantizer)(&unmangle(&found.class)) {
            let mut values = arguments.iter().map(|(_, value)| value);
            let values = (values.next(), values.next());
            return self.quantized(frame, Quantizer::Module(object), values, expr);
        }
        let place = self.program.find_class(&found.class).and_then(|class| self.program.find_method(class, name));
        let Some(place) = place else { return self.unknown(arguments) };
        let own = std::iter::once(Value::Object(object));
        let arguments = own.chain(arguments.iter().map(|(_, value)| value.as_argument())).collect();
        self.enter((frame, expr), place, Some(object), arguments, None)
    }

    /// What a quantizer makes of its argument; a module of ours may get a bias too.
    fn quantized(
        &mut self,
        frame: &Frame<'a>,
        by: Quantizer,
        (argument, bias): (Option<&Value>, Option<&Value>),
        expr: ExprId,
    ) -> Value {
        let argument = argument.unwrap_or(&Value::Unknown);
        if let Value::Result(number, _) = argument
            && let Some(event) = self.walk.calls.get_mut(*number)
        {
            event.output_quantized = true;
        }
        if let (Quantizer::Module(quantizer), Some(object)) = (by, frame.object) {
            let spot = Spot { object, function: frame.place, expr };
            let tensor = match argument {
                Value::Weight(weight) if weight.spots().is_empty() && weight.quantizer.is_none() => Some(weight.tensor),
                _ => None,
            };
            let bias = match bias {
                Some(Value::Weight(bias)) => Some(bias.tensor),
                _ => None,
            };
            self.walk.quantizers.insert(QuantizerCall { quantizer, spot, tensor, bias });
        }
        argument.behind(by)
    }

    fn function(&mut self, frame: &Frame<'a>, path: &Arc<str>, arguments: Vec<(ExprId, Value)>, expr: ExprId) -> Value {
        self.walk.called.insert(Arc::clone(path));
        let plain = unmangle(path);
        let overwritten = arguments.first().filter(|(_, value)| plain.ends_with('_') && value.is_never_negative());
        let overwritten = overwritten.map(|(id, _)| *id);
        let value = self.plain_function(frame, path, &plain, arguments, expr);
        if let Some(name) = overwritten.filter(|_| !value.is_never_negative()).and_then(|id| frame.name_of(id)) {
            self.walk.overwritten.insert((frame.place, name.to_owned()));
        }
        value
    }

    fn plain_function(
        &mut self,
        frame: &Frame<'a>,
        path: &Arc<str>,
        plain: &str,
        arguments: Vec<(ExprId, Value)>,
        expr: ExprId,
    ) -> Value {
        if let Some(rule) = table::find(plain) {
            return self.event(frame, rule, arguments, expr);
        }
        if let Some(storage) = builtin::separates(plain) {
            return self.separated(storage, &arguments);
        }
        if (self.is_quantizer)(plain) {
            let argument = arguments.first().map(|(_, value)| value);
            // The copy's values take its place.
            if plain != injected::COPY {
                self.others(argument);
            }
            return self.quantized(frame, Quantizer::Op, (argument, None), expr);
        }
        if let Some(place) = self.program.find_function(path) {
            let anchor = frame.anchor.clone().or_else(|| {
                let spot = Spot { object: frame.object?, function: frame.place, expr };
                Some(Arc::new(Anchor { spot, arguments: arguments.clone() }))
            });
            let arguments = arguments.iter().map(|(_, value)| value.as_argument()).collect();
            return self.enter((frame, expr), place, None, arguments, anchor);
        }
        let value = self.builtin(frame, path, &arguments, expr);
        let never_negative = sign::never_negative((frame.function, frame.text), plain, &arguments, expr);
        if never_negative { value.never_negative() } else { value }
    }

    fn event(
        &mut self,
        frame: &Frame<'a>,
        rule: &'static CallRule,
        arguments: Vec<(ExprId, Value)>,
        expr: ExprId,
    ) -> Value {
        let Some(elements) = self.result(rule, &arguments) else {
            return self.builtin(frame, rule.call, &arguments, expr);
        };
        let never_negative = sign::never_negative((frame.function, frame.text), rule.call, &arguments, expr);
        let elements = if never_negative { elements.never_negative() } else { elements };
        let spot = match (&frame.anchor, frame.object) {
            (Some(anchor), _) => anchor.spot,
            (None, Some(object)) => Spot { object, function: frame.place, expr },
            (None, None) => return Value::Unknown,
        };
        self.uses(rule, &arguments);
        let number = self.walk.calls.len();
        let value = match own_product(rule, &arguments) {
            Some(of) => Value::Made(Made { how: How::Product, of, products: [number].into(), quantized: false }),
            None if rule.output => Value::Result(number, elements),
            None if matches!(rule.weight, WeightRule::Packed(_, Keeper::Prepacked)) => Value::Tensor(Elements::Float),
            None if matches!(rule.weight, WeightRule::Packed(..)) => Value::Unknown,
            None => Value::Tensors(Elements::Float),
        };
        let text = |id: ExprId| frame.function.expr(id).map_or("", |expr| text_of(frame.text, &expr.span)).to_owned();
        let arguments = arguments.into_iter().map(|(id, value)| (id, value, text(id))).collect();
        self.walk.calls.push(CallEvent {
            rule,
            spot,
            expr,
            place: frame.place,
            anchor: frame.anchor.clone(),
            arguments,
            elements,
            output_quantized: false,
            absorbed: false,
        });
        value
    }

    /// The elements of what a call gives; `None` where it is arithmetic, but not on activations.
    fn result(&self, rule: &CallRule, arguments: &[(ExprId, Value)]) -> Option<Elements> {
        let WeightRule::Operands(positions) = rule.weight else { return Some(Elements::Float) };
        let operands = operands(positions, arguments);
        let activations: Vec<Elements> = operands.iter().filter_map(|value| value.activation()).collect();
        if activations.is_empty() {
            return None;
        }
        let float = |value: &Value| match value {
            Value::Float | Value::Made(_) | Value::Weight(Weight { quantizer: Some(_), .. }) => true,
            Value::Weight(weight) => self.heap.tensor(weight.tensor).is_some_and(|facts| facts.dtype.is_some()),
            _ => false,
        };
        let known = operands.iter().any(|value| float(value)).then_some(Elements::Float);
        activations.into_iter().chain(known).reduce(Elements::promote).map(Elements::of_any_sign)
    }

    /// Learn from a call what its arguments are.
    fn uses(&mut self, rule: &CallRule, arguments: &[(ExprId, Value)]) {
        let arithmetic = matches!(rule.weight, WeightRule::Operands(_));
        let floats = match rule.weight {
            WeightRule::Product { left, right } => vec![left, right],
            _ => rule.inputs.to_vec(),
        };
        let read = |position: &usize| arguments.get(*position).map(|(_, value)| value);
        for value in floats.iter().filter(|_| !arithmetic).filter_map(read) {
            if let Some(Elements::Input(input)) = value.activation() {
                self.walk.float_inputs.insert(input);
            }
        }
        // A product of two of the model's tensors that goes into a weight is a part of that, and no layer.
        for position in table::parameters(rule) {
            let Some(Value::Made(made)) = read(&position) else { continue };
            for product in made.products.iter() {
                if let Some(event) = self.walk.calls.get_mut(*product) {
                    event.absorbed = true;
                }
            }
        }
    }

    /// The tensor whose codes share bytes, behind what separates them; unknown where sizes and strides are not such as we write.
    fn separated(&mut self, storage: Storage, arguments: &[(ExprId, Value)]) -> Value {
        let found = match arguments {
            [(_, Value::Weight(weight)), (_, sizes), (_, strides)] => separation(storage, sizes, strides)
                .filter(|(shape, separated)| self.is_separation(weight, shape, separated))
                .map(|found| (weight.clone(), found)),
            _ => None,
        };
        let Some((weight, found)) = found else { return self.unknown(arguments) };
        self.walk.separated.entry(weight.tensor).or_insert(found);
        Value::Weight(weight)
    }

    /// Whether a whole tensor of bytes is stored so that these are its codes; one tensor is separated in one way.
    fn is_separation(&self, weight: &Weight, shape: &[u64], separated: &Separated) -> bool {
        let Some(facts) = self.heap.tensor(weight.tensor) else { return false };
        let is_whole = weight.spots().is_empty() && weight.quantizer.is_none();
        let known = self.walk.separated.get(&weight.tensor);
        let same = known.is_none_or(|(known, how)| known == shape && how == separated);
        let fits = facts.separated.as_ref().map_or_else(
            || {
                let elements = shape.iter().fold(1_u64, |n, size| n.saturating_mul(*size));
                let shared = separated.storage.per_byte() as u64;
                facts.scalar == "Byte" && facts.shape == [elements.div_ceil(shared)]
            },
            |how| how == separated && facts.shape == shape,
        );
        is_whole && same && fits
    }

    /// The tensor whose codes a step of arithmetic turns into values: a packed weight.
    fn decoded(&mut self, frame: &Frame<'a>, path: &str, arguments: &[(ExprId, Value)], expr: ExprId) -> Option<Value> {
        let how = match path {
            "torch.add" => Arithmetic::Add,
            "torch.sub" => Arithmetic::Sub,
            "torch.mul" => Arithmetic::Mul,
            "torch.true_divide" => Arithmetic::Div,
            "torch.type_as" => Arithmetic::Cast,
            _ => return None,
        };
        let [(first, value), (second, other)] = arguments else { return None };
        let Value::Weight(weight) = value else { return None };
        let starts = weight.quantizer.is_none();
        if starts && how == Arithmetic::Cast {
            return None;
        }
        let tensor = weight.tensor;
        self.heap.tensor(tensor).filter(|facts| facts.scalar == "Char" || facts.separated.is_some())?;
        let number = || frame.function.expr(*second).and_then(|expr| text_of(frame.text, &expr.span).parse().ok());
        let operand = match other {
            Value::Weight(weight) => Operand::Tensor(weight.tensor),
            _ => Operand::Number(number()?),
        };
        let step = Step { how, operand };
        match self.walk.decodings.get_mut(&tensor) {
            None if starts => {
                let last = (frame.place, expr);
                self.walk.decodings.insert(tensor, Decoding { steps: vec![step], last });
            }
            Some(known) if !starts && known.last == (frame.place, *first) => {
                known.steps.push(step);
                known.last.1 = expr;
            }
            _ => {}
        }
        Some(value.behind(Quantizer::Op))
    }

    /// The tensor behind a view of it, or its parts.
    fn view(&self, frame: &Frame<'a>, view: &View, list: bool, (expr, value): (ExprId, &Value)) -> Value {
        let rank = |weight: &Weight| self.heap.tensor(weight.tensor).map_or(0, |facts| facts.shape.len());
        let weight = match value {
            Value::Weight(weight) => weight,
            other => {
                let of = |elements| if list { Value::Tensors(elements) } else { Value::Tensor(elements) };
                return other.activation().map_or(Value::Unknown, of);
            }
        };
        let is_whole = weight.spots().is_empty() && weight.quantizer.is_none();
        let spots = || weight.whole.clone().unwrap_or_default();
        let whole = Some(if is_whole { whole(frame, expr, weight) } else { spots() });
        let axes = weight.axes.behind(view, rank(weight));
        let weight = Weight { axes, whole, ..weight.clone() };
        if list { Value::Parts(weight) } else { Value::Weight(weight) }
    }

    /// Functions whose value says something about a tensor or an object.
    fn builtin(&mut self, frame: &Frame<'a>, path: &str, arguments: &[(ExprId, Value)], expr: ExprId) -> Value {
        if let Some(codes) = self.decoded(frame, path, arguments, expr) {
            return codes;
        }
        if let (true, Some((_, Value::List(items)))) = (MUTATING.contains(&path), arguments.first()) {
            let lists = items.iter().flat_map(Value::own).filter_map(|weight| match &weight.origin {
                Origin::Element(owner, list, _) => Some((*owner, list.to_string())),
                _ => None,
            });
            self.walk.writes.extend(lists);
        }
        builtin::call(path, arguments).unwrap_or_else(|call| match call {
            Special::GetAttribute(object, name) => self.attribute(frame, &Value::Object(object), &name, expr.index()),
            Special::Fork => {
                let rest = arguments.get(1..).unwrap_or_default();
                match arguments.first().map(|(_, callee)| callee) {
                    Some(Value::Path(path)) => self.function(frame, path, rest.to_vec(), expr),
                    Some(Value::Method(object, name)) => self.method(frame, *object, name, rest, expr),
                    Some(Value::Object(object)) => self.method(frame, *object, "forward", rest, expr),
                    _ => self.unknown(rest),
                }
            }
            Special::Quantize => {
                let argument = arguments.first().map(|(_, value)| value);
                self.others(argument);
                self.quantized(frame, Quantizer::Op, (argument, None), expr)
            }
            Special::View { view, list } => match arguments.first() {
                Some((id, value)) => self.view(frame, &view, list, (*id, value)),
                None => Value::Unknown,
            },
            Special::Reads(value) => {
                self.others(arguments.iter().map(|(_, value)| value));
                *value
            }
        })
    }
}

/// What the arguments of a function that separates codes say.
fn separation(storage: Storage, sizes: &Value, strides: &Value) -> Option<(Vec<u64>, Separated)> {
    let all = |list: &Value| -> Option<Vec<u64>> {
        builtin::numbers(list)?.into_iter().map(|number| u64::try_from(number).ok()).collect()
    };
    let (shape, strides) = (all(sizes)?, all(strides)?);
    (shape.len() == strides.len()).then_some((shape, Separated { storage, strides }))
}

/// Where a method has the whole of a tensor that is turned or cut at `expr`: there, or where it goes into free functions.
fn whole(frame: &Frame<'_>, expr: ExprId, weight: &Weight) -> Arc<[Spot]> {
    match (&frame.anchor, frame.object) {
        (Some(anchor), _) => {
            let same = |value: &Value| matches!(value, Value::Weight(other) if other.tensor == weight.tensor);
            let arguments = anchor.arguments.iter().filter(|(_, value)| same(value));
            arguments.map(|(expr, _)| Spot { expr: *expr, ..anchor.spot }).collect()
        }
        (None, Some(object)) => Arc::new([Spot { object, function: frame.place, expr }]),
        (None, None) => Arc::default(),
    }
}
