//! From calls that were met to ops with names.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::plan::Reason;

use super::arguments::{Arguments, Found, Quantized};
use super::block;
use super::events::{CallEvent, Spot, Walk};
use super::heap::{Heap, Item, ObjectId, TensorId, join, last_atom};
use super::op::{Edge, Op, OpWeight, WeightSpot};
use super::program::Program;
use super::table::{self, CallRule, WeightRule};
use super::value::{Origin, Value};
use crate::code::ExprKind;

/// The ops of a model, in the order in which its code reaches them; then modules that nothing runs.
pub(super) fn ops(program: &Program, heap: &Heap, walk: &Walk) -> Vec<Op> {
    let mut finder = Finder { program, heap, ops: Vec::new(), keys: BTreeMap::new(), names: BTreeMap::new() };
    let (fused, plain): (Vec<_>, Vec<_>) =
        walk.calls.iter().partition(|event| matches!(event.rule.weight, WeightRule::Fused(_)));
    for event in plain {
        finder.event(event);
    }
    for event in fused {
        finder.fused(event);
    }
    for op in &mut finder.ops {
        op.weights.iter_mut().for_each(|weight| keep_first(&mut weight.spots));
        for edge in [&mut op.input, &mut op.output] {
            if let Edge::Spots(spots) = edge {
                keep_first(spots);
            }
        }
    }
    block::shared_text(&mut finder.ops);
    for mut op in block::dead_modules(heap, walk, &finder.ops) {
        op.name = finder.unique(&op.name);
        finder.ops.push(op);
    }
    finder.ops
}

/// What makes two calls one op: the module, the type and the weights; for an activation in a larger module the place itself.
type Key = (ObjectId, String, Vec<Option<TensorId>>, Option<Spot>);

struct Finder<'a> {
    program: &'a Program,
    heap: &'a Heap,
    ops: Vec<Op>,
    keys: BTreeMap<Key, usize>,
    names: BTreeMap<String, usize>,
}

impl Finder<'_> {
    fn class_of(&self, object: ObjectId) -> &str {
        self.heap.object(object).map_or("", |object| last_atom(&object.class))
    }

    fn path_of(&self, object: ObjectId) -> &str {
        self.heap.object(object).map_or("", |object| &object.path)
    }

    fn event(&mut self, event: &CallEvent) {
        let arguments = Arguments { heap: self.heap, event };
        let Some(found) = arguments.weights() else { return };
        let op_type = arguments.op_type(&found);
        let object = event.spot.object;
        let class = self.class_of(object).to_owned();
        let is_module = table::module_is(&class, &op_type);
        let shown = if is_module && class != "NonDynamicallyQuantizableLinear" { class } else { op_type };
        // Behind a quantizer the tensor makes calls one op as it did without it: a second run sees the ops of the first.
        let tensor = |found: &Found| match (&found.weight, found.quantized) {
            (Some(weight), _) => Some(weight.tensor),
            (None, Quantized::Yes(tensor)) => tensor,
            (None, Quantized::No) => None,
        };
        let tensors: Vec<_> = found.iter().map(tensor).collect();
        let alone = tensors.iter().all(Option::is_none) && !is_module;
        let key = (object, shown.clone(), tensors, alone.then_some(event.spot));
        let known = self.keys.get(&key).copied();
        let index = known.unwrap_or_else(|| {
            let op = Op {
                name: self.name(event, is_module, &found),
                op_type: shown,
                is_default: event.rule.default,
                object,
                weights: found.iter().map(|found| self.weight(event, found)).collect(),
                input: Edge::Absent,
                output: Edge::Absent,
            };
            self.ops.push(op);
            self.keys.insert(key, self.ops.len() - 1);
            self.ops.len() - 1
        });
        let spots: Vec<_> = found.iter().map(|found| self.weight_spots(event, found)).collect();
        let (input, output) = (input(event, &found), output(event));
        let Some(op) = self.ops.get_mut(index) else { return };
        for (weight, spots) in op.weights.iter_mut().zip(spots) {
            weight.spots.extend(spots);
        }
        merge(&mut op.input, input);
        merge(&mut op.output, output);
    }

    fn name(&mut self, event: &CallEvent, is_module: bool, found: &[Found]) -> String {
        let path = self.path_of(event.spot.object).to_owned();
        let call = last_atom(event.rule.call).trim_end_matches('_').trim_start_matches('_');
        let single = match found {
            [Found { weight: Some(weight), .. }] => Some(&weight.origin),
            _ => None,
        };
        let name = match single {
            _ if is_module => path,
            Some(Origin::Attribute(owner, name) | Origin::Element(owner, name, _)) => {
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
        let Some(weight) = &found.weight else {
            let text = event.arguments.get(found.argument).map_or("?", |(_, _, text)| text);
            let (tensor, blocked) = match found.quantized {
                Quantized::Yes(tensor) => {
                    (tensor, Reason::new("already-quantized", "the weight goes through a quantizer"))
                }
                Quantized::No => {
                    let text = format!("`{text}` is not a parameter but computed in the code");
                    (None, Reason::new("computed-weight", text))
                }
            };
            let name = tensor.and_then(|tensor| self.name_of(tensor)).unwrap_or_else(|| text.to_owned());
            return OpWeight { tensor, origin: None, name, axis: None, spots: Vec::new(), blocked: Some(blocked) };
        };
        let name = self.tensor_name(&weight.origin);
        OpWeight {
            tensor: Some(weight.tensor),
            origin: Some(weight.origin.clone()),
            blocked: self.unfit(weight.tensor, &name),
            name,
            axis: found.axis,
            spots: Vec::new(),
        }
    }

    fn tensor_name(&self, origin: &Origin) -> String {
        match origin {
            Origin::Attribute(owner, name) => join(self.path_of(*owner), name),
            Origin::Element(owner, name, index) => self
                .alias(*owner, name, *index)
                .unwrap_or_else(|| format!("{}[{index}]", join(self.path_of(*owner), name))),
            Origin::Constant(number) => format!("CONSTANTS.c{number}"),
        }
    }

    /// The first attribute or constant that is this tensor.
    fn name_of(&self, tensor: TensorId) -> Option<String> {
        let attributes = self.heap.objects.iter().flat_map(|object| object.attributes.iter().map(move |a| (object, a)));
        let mut named = attributes.filter(|(_, (_, item))| *item == Item::Tensor(tensor));
        let constant = || self.heap.constants.iter().position(|item| *item == Item::Tensor(tensor));
        let attribute = named.next().map(|(object, (name, _))| join(&object.path, name));
        attribute.or_else(|| Some(format!("CONSTANTS.c{}", constant()?)))
    }

    /// The attribute that holds the same tensor as a list's element.
    fn alias(&self, owner: ObjectId, list: &str, index: usize) -> Option<String> {
        let object = self.heap.object(owner)?;
        let Item::List(items) = object.attribute(list)? else { return None };
        let item = items.get(index)?;
        let (name, _) = object.attributes.iter().find(|(_, other)| other == item)?;
        Some(join(&object.path, name))
    }

    fn unfit(&self, tensor: TensorId, name: &str) -> Option<Reason> {
        let facts = self.heap.tensor(tensor)?;
        if facts.dtype.is_none() {
            return Some(Reason::new("dtype", format!("`{name}` has elements of type {}", facts.scalar)));
        }
        facts.shape.contains(&0).then(|| Reason::new("empty", format!("`{name}` has no elements")))
    }

    /// Where the weight stands in a method: the argument itself, or the argument of the call into free functions.
    fn weight_spots(&self, event: &CallEvent, found: &Found) -> Vec<WeightSpot> {
        let Some(weight) = &found.weight else { return Vec::new() };
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
    fn element_spot(&self, spot: Spot, call: crate::code::ExprId, element: Option<(usize, usize)>) -> WeightSpot {
        let function = self.program.function(spot.function);
        if let (Some((index, _)), Some(function)) = (element, function)
            && let Some(ExprKind::List(items)) = function.expr(spot.expr).map(|expr| &expr.kind)
            && let Some(item) = items.get(index)
        {
            return WeightSpot { spot: Spot { expr: *item, ..spot }, call, element: None };
        }
        WeightSpot { spot, call, element }
    }

    /// A fused op runs what other calls run too, with the raw weights: it becomes another place of their weights.
    fn fused(&mut self, event: &CallEvent) {
        let WeightRule::Fused(positions) = event.rule.weight else { return };
        for position in positions {
            let found = Arguments { heap: self.heap, event }.tensor(*position, 0);
            let Some(tensor) = found.weight.as_ref().map(|weight| weight.tensor) else { continue };
            let spots = self.weight_spots(event, &found);
            let mut weights = self.ops.iter_mut().flat_map(|op| &mut op.weights);
            if let Some(weight) = weights.find(|weight| weight.tensor == Some(tensor)) {
                weight.spots.extend(spots);
                continue;
            }
            let inside = Reason::new("fused", format!("it happens inside `{}`", event.rule.call));
            let op = Op {
                name: self.name(event, false, std::slice::from_ref(&found)),
                op_type: event.rule.op_type.to_owned(),
                is_default: event.rule.default,
                object: event.spot.object,
                weights: vec![OpWeight { spots, ..self.weight(event, &found) }],
                input: Edge::Blocked(inside.clone()),
                output: Edge::Blocked(inside),
            };
            self.ops.push(op);
        }
    }
}

fn input(event: &CallEvent, found: &[Found]) -> Edge {
    let positions: Vec<usize> = match event.rule.weight {
        WeightRule::Product { left, right } => {
            let weight = found.first().map_or(right, |found| found.argument);
            vec![if weight == right { left } else { right }]
        }
        _ => event.rule.inputs.to_vec(),
    };
    if positions.is_empty() {
        return Edge::Absent;
    }
    if event.anchor.is_some() {
        return Edge::Blocked(in_free_function(event.rule));
    }
    let arguments = || positions.iter().filter_map(|position| event.arguments.get(*position));
    if arguments().any(|(_, value, _)| matches!(value, Value::Quantized(_))) {
        return Edge::Blocked(Reason::new("already-quantized", "the input comes out of a quantizer"));
    }
    Edge::Spots(arguments().map(|(expr, ..)| Spot { expr: *expr, ..event.spot }).collect())
}

fn output(event: &CallEvent) -> Edge {
    if !event.rule.output {
        Edge::Absent
    } else if event.anchor.is_some() {
        Edge::Blocked(in_free_function(event.rule))
    } else if event.output_quantized {
        Edge::Blocked(Reason::new("already-quantized", "a quantizer takes the output"))
    } else {
        Edge::Spots(vec![event.spot])
    }
}

fn in_free_function(rule: &CallRule) -> Reason {
    let text = format!("`{}` stands in a free function, which has no module to keep a range in", rule.call);
    Reason::new("free-function", text)
}

/// A place that is met again and again stands once.
fn keep_first<T: Ord + Copy>(spots: &mut Vec<T>) {
    let mut seen = BTreeSet::new();
    spots.retain(|spot| seen.insert(*spot));
}

fn merge(edge: &mut Edge, other: Edge) {
    match (&mut *edge, other) {
        (Edge::Blocked(_), _) | (_, Edge::Absent) => {}
        (Edge::Spots(spots), Edge::Spots(more)) => spots.extend(more),
        (_, other) => *edge = other,
    }
}
