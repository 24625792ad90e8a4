//! From calls that were met to ops with names.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::plan::Reason;

use super::arguments::{Arguments, Found};
use super::block;
use super::edges::{Edges, merge};
use super::events::{CallEvent, Walk};
use super::in_place::Names;
use super::op::{Edge, Op, OpWeight, WeightSpot};
use super::place::{Origin, Spot};
use super::reason;
use super::table::{self, WeightRule};
use super::value::{Quantizer, Value};
use crate::codes;
use crate::torchscript::code::{ExprId, ExprKind, text_of};
use crate::torchscript::heap::{Heap, Item, ObjectId, TensorId, join, last_atom};
use crate::torchscript::program::FunctionRef;
use crate::torchscript::program::Program;

/// The ops of a model, in the order in which its code reaches them; then modules that nothing runs. With them, the position of each call's op.
pub(super) fn ops(program: &Program, heap: &Heap, walk: &Walk) -> (Vec<Op>, Vec<Option<usize>>) {
    let mut finder = Finder {
        program,
        heap,
        walk,
        ops: Vec::new(),
        keys: BTreeMap::new(),
        names: BTreeMap::new(),
        memory: BTreeMap::new(),
        parts: BTreeSet::new(),
        aliases: aliases(heap),
    };
    let is_fused = |event: &CallEvent| matches!(event.rule.weight, WeightRule::Fused(_));
    let plain =
        walk.calls.iter().map(|event| if event.absorbed || is_fused(event) { None } else { finder.event(event) });
    let of_calls = plain.collect();
    let fused = walk.calls.iter().filter(|event| !event.absorbed && is_fused(event));
    let mut weights = finder.weights_by_tensor();
    for event in fused {
        finder.fused(event, &mut weights);
    }
    for op in &mut finder.ops {
        op.weights.iter_mut().for_each(|weight| keep_first(&mut weight.spots));
        for edge in op.edges_mut() {
            if let Edge::Spots { spots, .. } = edge {
                keep_first(spots);
            }
        }
    }
    block::shared_text(&mut finder.ops);
    for mut op in block::dead_modules(heap, walk, &finder.ops, &finder.parts) {
        op.name = finder.unique(&op.name);
        finder.ops.push(op);
    }
    (finder.ops, of_calls)
}

/// What makes two calls one op: the module, the type, and the weights with the axes of their channels; for an activation in a larger module
/// the place itself.
type Key = (ObjectId, String, Vec<(Option<TensorId>, Option<usize>)>, Option<Spot>);

struct Finder<'a> {
    program: &'a Program,
    heap: &'a Heap,
    walk: &'a Walk,
    ops: Vec<Op>,
    keys: BTreeMap<Key, usize>,
    names: BTreeMap<String, usize>,
    /// The names of functions in which something writes into memory.
    memory: BTreeMap<FunctionRef, Names<'a>>,
    /// Tensors of which others are computed.
    parts: BTreeSet<TensorId>,
    /// The first attribute of an object that is a tensor, by its position.
    aliases: BTreeMap<(ObjectId, TensorId), usize>,
}

impl Finder<'_> {
    fn class_of(&self, object: ObjectId) -> &str {
        self.heap.object(object).map_or("", |object| last_atom(&object.class))
    }

    fn path_of(&self, object: ObjectId) -> &str {
        self.heap.object(object).map_or("", |object| &object.path)
    }

    /// Add a call to its op, whose position that is; `None` where it is no op.
    fn event(&mut self, event: &CallEvent) -> Option<usize> {
        let arguments = Arguments { heap: self.heap, event };
        let found = arguments.weights()?;
        let op_type = arguments.op_type(&found);
        let object = event.spot.object;
        let class = self.class_of(object).to_owned();
        let is_module = table::module_is(&class, &op_type);
        let shown = if is_module && class != "NonDynamicallyQuantizableLinear" { class } else { op_type };
        // Behind a quantizer the tensor makes calls one op as it did without it: a second run sees the ops of the first.
        let tensors: Vec<_> =
            found.iter().map(|found| (found.weight.as_ref().map(|weight| weight.tensor), found.axis)).collect();
        let alone = tensors.iter().all(|(tensor, _)| tensor.is_none()) && !is_module;
        let key = (object, shown.clone(), tensors, alone.then_some(event.spot));
        let known = self.keys.get(&key).copied();
        let index = known.unwrap_or_else(|| {
            let op = Op {
                name: self.name(event, is_module, &found),
                op_type: shown,
                is_default: event.rule.default,
                object,
                weights: found.iter().map(|found| self.weight(event, found)).collect(),
                inputs: Vec::new(),
                output: Edge::Absent,
            };
            self.ops.push(op);
            self.keys.insert(key, self.ops.len() - 1);
            self.ops.len() - 1
        });
        let spots: Vec<_> = found.iter().map(|found| self.weight_spots(event, found)).collect();
        let bias = self.bias(event);
        let function = self.program.function(event.place);
        let edges = Edges {
            event,
            function,
            text: self.program.text(event.place.file),
            overwritten: &self.walk.overwritten,
            float_inputs: &self.walk.float_inputs,
            bound: self.bound(event),
        };
        let (inputs, output) = (edges.inputs(&found), edges.output());
        let parts = found.iter().filter(|found| found.plain().is_none()).flat_map(|found| found.value.own());
        self.parts.extend(parts.map(|weight| weight.tensor));
        let op = self.ops.get_mut(index)?;
        for ((weight, found), spots) in op.weights.iter_mut().zip(&found).zip(spots) {
            if found.is_quantized() && weight.blocked.is_none() {
                let text = "the weight goes through a quantizer in another of its places";
                weight.blocked = Some(Reason::new(codes::ALREADY_QUANTIZED, text));
            }
            if let Some((tensor, expr)) = bias {
                let beside = |spot: &&WeightSpot| spot.call == event.spot.expr && spot.element.is_none();
                weight.biases.insert(tensor);
                weight.beside.extend(spots.iter().filter(beside).filter_map(|spot| Some((spot.spot, expr?))));
            }
            weight.spots.extend(spots);
        }
        for (index, input) in inputs.into_iter().enumerate() {
            match op.inputs.get_mut(index) {
                Some(known) => merge(known, input),
                None => op.inputs.push(input),
            }
        }
        merge(&mut op.output, output);
        Some(index)
    }

    /// The vector of the model that a call adds to what its weight makes, and the expression that gives it to the call, or to the call into
    /// free functions, if that can be written twice.
    fn bias(&self, event: &CallEvent) -> Option<(TensorId, Option<ExprId>)> {
        let (expr, value, _) = event.arguments.get(table::bias(event.rule)?)?;
        let Value::Weight(bias) = value else { return None };
        let facts = self.heap.tensor(bias.tensor)?;
        if facts.dtype.is_none() || facts.shape.len() != 1 || !bias.spots().is_empty() {
            return None;
        }
        let expr = match &event.anchor {
            None => Some(*expr),
            Some(anchor) => {
                let same = |value: &Value| matches!(value, Value::Weight(other) if other.tensor == bias.tensor);
                anchor.arguments.iter().find(|(_, value)| same(value)).map(|(expr, _)| *expr)
            }
        };
        Some((bias.tensor, expr.filter(|expr| self.can_stand_twice(event.spot.function, *expr))))
    }

    /// Whether evaluating an expression again does nothing but read: a name, or attributes of one.
    fn can_stand_twice(&self, place: FunctionRef, mut expr: ExprId) -> bool {
        let Some(function) = self.program.function(place) else { return false };
        // Parts of an expression stand before it, so that this ends.
        loop {
            expr = match function.expr(expr).map(|expr| &expr.kind) {
                Some(ExprKind::Name) => return true,
                Some(ExprKind::Attribute { base, .. } | ExprKind::Group(base)) => *base,
                Some(ExprKind::Call { callee, arguments, .. }) => {
                    let text = self.program.text(place.file);
                    let callee = function.expr(*callee).map(|callee| text_of(text, &callee.span));
                    match arguments.first().filter(|_| callee == Some("getattr")) {
                        Some(base) => base.value,
                        None => return false,
                    }
                }
                _ => return false,
            };
        }
    }

    /// Why the tensors of a call cannot be exchanged for others.
    fn bound(&mut self, event: &CallEvent) -> Option<Reason> {
        if self.heap.object(event.spot.object).is_some_and(|object| object.opaque) {
            return Some(reason::in_opaque(self.path_of(event.spot.object)));
        }
        if let WeightRule::Packed(_, keeper) = event.rule.weight {
            return Some(reason::packed(event.rule.call, keeper));
        }
        if !event.rule.call.ends_with('_') {
            return None;
        }
        let function = self.program.function(event.place)?;
        let names =
            self.memory.entry(event.place).or_insert_with(|| Names::new(function, self.program.text(event.place.file)));
        names.bound_to_memory(event.rule.call, event.expr)
    }

    fn name(&mut self, event: &CallEvent, is_module: bool, found: &[Found]) -> String {
        let path = self.path_of(event.spot.object).to_owned();
        let call = last_atom(event.rule.call).trim_end_matches('_').trim_start_matches('_');
        let single = match found {
            // A computed weight goes by what it is mostly made of.
            [Found { value: Value::Made(made), .. }] => made.of.first().map(|weight| &weight.origin),
            [found] => found.weight.as_ref().map(|weight| &weight.origin),
            [Found { weight: Some(weight), chosen: true, .. }, ..] => Some(&weight.origin),
            _ => None,
        };
        let name = match single {
            _ if is_module => path,
            Some(Origin::Attribute(owner, name) | Origin::Element(owner, name, _) | Origin::Key(owner, name, _)) => {
                let owner = self.path_of(*owner);
                if &**name == "weight" { owner.to_owned() } else { join(owner, name) }
            }
            Some(Origin::Constant(number)) => join(&path, &format!("{call}.c{number}")),
            None => join(&path, call),
        };
        self.unique(if name.is_empty() { call } else { &name })
    }

    fn unique(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        loop {
            match self.names.get_mut(&candidate) {
                None => {
                    self.names.insert(candidate.clone(), 1);
                    return candidate;
                }
                Some(count) => {
                    candidate = format!("{name}_{count}");
                    *count += 1;
                }
            }
        }
    }

    fn weight(&self, event: &CallEvent, found: &Found) -> OpWeight {
        let Some(weight) = found.plain() else {
            let text = event.arguments.get(found.argument).map_or("?", |(_, _, text)| text);
            let blocked = if found.is_quantized() {
                Reason::new(codes::ALREADY_QUANTIZED, "the weight goes through a quantizer")
            } else {
                self.no_tensor(event, found, text)
            };
            let weight = found.weight.as_ref();
            let shown = match &found.value {
                Value::Hidden(owner, name) => Some(join(self.path_of(*owner), name)),
                Value::Made(made) => made.of.first().map(|weight| self.tensor_name(&weight.origin)),
                _ => weight.map(|weight| self.tensor_name(&weight.origin)),
            };
            let name = shown.unwrap_or_else(|| text.to_owned());
            return OpWeight {
                tensor: weight.map(|weight| weight.tensor),
                origin: None,
                name,
                axis: None,
                spots: Vec::new(),
                biases: BTreeSet::new(),
                beside: BTreeMap::new(),
                quantizer: weight.and_then(|weight| match weight.quantizer {
                    Some(Quantizer::Module(quantizer)) => Some(quantizer),
                    _ => None,
                }),
                blocked: Some(blocked),
                no_text: None,
            };
        };
        let in_opaque = self.heap.object(event.spot.object).filter(|object| object.opaque);
        let name = self.tensor_name(&weight.origin);
        OpWeight {
            tensor: Some(weight.tensor),
            origin: Some(weight.origin.clone()),
            blocked: in_opaque
                .map(|object| reason::in_opaque(&object.path))
                .or_else(|| self.unfit(weight.tensor, &name)),
            no_text: found.chosen.then(reason::chosen),
            name,
            axis: found.axis,
            spots: Vec::new(),
            biases: BTreeSet::new(),
            beside: BTreeMap::new(),
            quantizer: None,
        }
    }

    /// Why the argument `text` is no tensor of the model.
    fn no_tensor(&self, event: &CallEvent, found: &Found, text: &str) -> Reason {
        match (event.rule.weight, &found.value) {
            (WeightRule::Packed(_, keeper), _) => reason::packed(event.rule.call, keeper),
            (_, Value::Hidden(owner, _)) => reason::in_opaque(self.path_of(*owner)),
            (_, Value::Made(made)) => {
                let matrices = made
                    .of
                    .iter()
                    .filter(|weight| self.heap.tensor(weight.tensor).is_some_and(|facts| facts.shape.len() > 1));
                let names: BTreeSet<String> = matrices.map(|weight| self.tensor_name(&weight.origin)).collect();
                let first = made.of.first().map(|weight| self.tensor_name(&weight.origin));
                reason::made(text, &made.how, first.as_deref().unwrap_or(text), &names)
            }
            _ => Reason::new(codes::COMPUTED_WEIGHT, format!("`{text}` is not a parameter but computed in the code")),
        }
    }

    fn tensor_name(&self, origin: &Origin) -> String {
        match origin {
            Origin::Attribute(owner, name) => join(self.path_of(*owner), name),
            Origin::Element(owner, name, index) => self
                .alias(*owner, name, *index)
                .unwrap_or_else(|| format!("{}[{index}]", join(self.path_of(*owner), name))),
            Origin::Key(owner, name, key) => join(&join(self.path_of(*owner), name), key),
            Origin::Constant(number) => format!("CONSTANTS.c{number}"),
        }
    }

    /// The attribute that holds the same tensor as a list's element.
    fn alias(&self, owner: ObjectId, list: &str, index: usize) -> Option<String> {
        let object = self.heap.object(owner)?;
        let Item::List(items) = object.attribute(list)? else { return None };
        let Item::Tensor(tensor) = items.get(index)? else { return None };
        let (name, _) = object.attributes.get(*self.aliases.get(&(owner, *tensor))?)?;
        Some(join(&object.path, name))
    }

    fn unfit(&self, tensor: TensorId, name: &str) -> Option<Reason> {
        let facts = self.heap.tensor(tensor)?;
        if facts.dtype.is_none() {
            return Some(Reason::new(codes::NOT_FLOAT, format!("`{name}` has elements of type {}", facts.scalar)));
        }
        facts.shape.contains(&0).then(|| Reason::new(codes::TENSOR_EMPTY, format!("`{name}` has no elements")))
    }

    /// Where the weight stands in a method: the argument itself, or the argument of the call into free functions; of a part or a view with
    /// other axes, where the whole of it stands.
    fn weight_spots(&self, event: &CallEvent, found: &Found) -> Vec<WeightSpot> {
        let Some(weight) = found.plain() else { return Vec::new() };
        if !weight.spots().is_empty() {
            let at = |spot: &Spot| WeightSpot { spot: *spot, call: spot.expr, element: None };
            return weight.spots().iter().map(at).collect();
        }
        let Some(anchor) = &event.anchor else {
            let Some((expr, ..)) = event.arguments.get(found.argument) else { return Vec::new() };
            let spot = Spot { expr: *expr, ..event.spot };
            return vec![self.element_spot(spot, event.spot.expr, found.element)];
        };
        let same = |value: &Value| matches!(value, Value::Weight(other) if other.tensor == weight.tensor);
        let direct = anchor.arguments.iter().filter_map(|(expr, value)| match value {
            value if same(value) => Some((*expr, None)),
            Value::List(items) => items.iter().position(same).map(|index| (*expr, Some((index, items.len())))),
            _ => None,
        });
        direct
            .map(|(expr, element)| self.element_spot(Spot { expr, ..anchor.spot }, anchor.spot.expr, element))
            .collect()
    }

    /// The element of a list that is written out is an expression of its own.
    fn element_spot(&self, spot: Spot, call: ExprId, element: Option<(usize, usize)>) -> WeightSpot {
        let function = self.program.function(spot.function);
        if let (Some((index, _)), Some(function)) = (element, function)
            && let Some(ExprKind::List(items)) = function.expr(spot.expr).map(|expr| &expr.kind)
            && let Some(item) = items.get(index)
        {
            return WeightSpot { spot: Spot { expr: *item, ..spot }, call, element: None };
        }
        WeightSpot { spot, call, element }
    }

    /// Where each tensor is a weight first: the positions of the op and of its weight.
    fn weights_by_tensor(&self) -> BTreeMap<TensorId, (usize, usize)> {
        let mut found = BTreeMap::new();
        for (number, op) in self.ops.iter().enumerate() {
            for (index, tensor) in op.weights.iter().enumerate().filter_map(|(index, it)| Some((index, it.tensor?))) {
                found.entry(tensor).or_insert((number, index));
            }
        }
        found
    }

    /// A fused op runs what other calls run too, with the raw weights: it becomes another place of their weights.
    fn fused(&mut self, event: &CallEvent, weights: &mut BTreeMap<TensorId, (usize, usize)>) {
        let WeightRule::Fused(positions) = event.rule.weight else { return };
        for position in positions {
            let found = Arguments { heap: self.heap, event }.tensor(*position, 0);
            let Some(tensor) = found.plain().map(|weight| weight.tensor) else { continue };
            let spots = self.weight_spots(event, &found);
            let known = weights.get(&tensor).copied();
            if let Some(weight) = known.and_then(|(op, index)| self.ops.get_mut(op)?.weights.get_mut(index)) {
                weight.spots.extend(spots);
                continue;
            }
            weights.insert(tensor, (self.ops.len(), 0));
            let inside = Reason::new(codes::FUSED, format!("it happens inside `{}`", event.rule.call));
            let op = Op {
                name: self.name(event, false, std::slice::from_ref(&found)),
                op_type: event.rule.op_type.to_owned(),
                is_default: event.rule.default,
                object: event.spot.object,
                weights: vec![OpWeight { spots, ..self.weight(event, &found) }],
                inputs: vec![Edge::Blocked(inside.clone())],
                output: Edge::Blocked(inside),
            };
            self.ops.push(op);
        }
    }
}

fn aliases(heap: &Heap) -> BTreeMap<(ObjectId, TensorId), usize> {
    let mut found = BTreeMap::new();
    for (id, object) in heap.objects.iter().enumerate() {
        for (position, (_, item)) in object.attributes.iter().enumerate() {
            if let Item::Tensor(tensor) = item {
                found.entry((ObjectId(id), *tensor)).or_insert(position);
            }
        }
    }
    found
}

/// A place that is met again and again stands once.
fn keep_first<T: Ord + Copy>(spots: &mut Vec<T>) {
    let mut seen = BTreeSet::new();
    spots.retain(|spot| seen.insert(*spot));
}
