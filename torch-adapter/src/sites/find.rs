//! From calls that were met to ops with names.

use std::collections::BTreeMap;

use quant_math::plan::Reason;

use super::heap::{Heap, Item, ObjectId, TensorId, join, last_atom};
use super::op::{Edge, Op, OpWeight, WeightSpot};
use super::program::Program;
use super::table::{self, CallRule, WeightRule};
use super::value::{Axes, Origin, Value, Weight};
use super::walk::{CallEvent, Spot, Walk};
use crate::code::ExprKind;

/// The ops of a model, in the order in which its code reaches them; then modules that nothing runs.
pub(super) fn ops(program: &Program, heap: &Heap, walk: &Walk) -> Vec<Op> {
    let mut finder = Finder { program, heap, ops: Vec::new(), keys: BTreeMap::new(), names: BTreeMap::new() };
    let (fused, plain): (Vec<_>, Vec<_>) =
        walk.calls.iter().partition(|event| matches!(event.rule.weight, WeightRule::Fused(_)));
    plain.iter().for_each(|event| finder.event(event));
    fused.iter().for_each(|event| finder.fused(event));
    finder.block_shared_text();
    finder.dead_modules(walk);
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

/// A weight argument of one event.
struct Found {
    weight: Option<Weight>,
    axis: Option<usize>,
    /// Position of the argument, and of the element in a list with the list's length.
    argument: usize,
    element: Option<(usize, usize)>,
    /// The tensor behind a quantizer, where that is known.
    quantized: Option<Option<TensorId>>,
}

impl Finder<'_> {
    fn class_of(&self, object: ObjectId) -> &str {
        self.heap.object(object).map_or("", |object| last_atom(&object.class))
    }

    fn path_of(&self, object: ObjectId) -> &str {
        self.heap.object(object).map_or("", |object| &object.path)
    }

    fn rank(&self, tensor: TensorId) -> usize {
        self.heap.tensor(tensor).map_or(0, |tensor| tensor.shape.len())
    }

    fn event(&mut self, event: &CallEvent) {
        let Some(found) = self.weights(event) else { return };
        let op_type = self.op_type(event, &found);
        let object = event.spot.object;
        let class = self.class_of(object).to_owned();
        let is_module = table::module_is(&class, &op_type);
        let shown = if is_module && class != "NonDynamicallyQuantizableLinear" { class } else { op_type };
        let tensors: Vec<_> = found.iter().map(|found| found.weight.as_ref().map(|weight| weight.tensor)).collect();
        let alone = tensors.iter().all(Option::is_none) && !is_module;
        let key = (object, shown.clone(), tensors, alone.then_some(event.spot));
        let index = match self.keys.get(&key) {
            Some(index) => *index,
            None => {
                let name = self.name(event, is_module, &found);
                let op = Op {
                    name,
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
            }
        };
        let spots: Vec<_> = found.iter().map(|found| self.weight_spots(event, found)).collect();
        let (input, output) = (self.input(event, &found), output(event));
        let Some(op) = self.ops.get_mut(index) else { return };
        for (weight, spots) in op.weights.iter_mut().zip(spots) {
            for spot in spots {
                if !weight.spots.contains(&spot) {
                    weight.spots.push(spot);
                }
            }
        }
        merge(&mut op.input, input);
        merge(&mut op.output, output);
    }

    /// The weights that a call gets; `None` where it is no op, as a product of two activations.
    fn weights(&self, event: &CallEvent) -> Option<Vec<Found>> {
        match event.rule.weight {
            WeightRule::None | WeightRule::Fused(_) => Some(Vec::new()),
            WeightRule::Tensor { argument, axis } => Some(vec![self.tensor(event, argument, axis)]),
            WeightRule::Convolution { transposed } => {
                let flag = event.arguments.get(transposed).is_some_and(|(_, _, text)| text == "True");
                Some(vec![self.tensor(event, 1, usize::from(flag))])
            }
            WeightRule::Product { left, right } => {
                let is_weight = |argument: usize| {
                    let value = event.arguments.get(argument).map(|(_, value, _)| value);
                    match value {
                        Some(Value::Weight(weight)) => self.rank(weight.tensor) >= 2,
                        Some(Value::Quantized(tensor)) => tensor.is_some_and(|tensor| self.rank(tensor) >= 2),
                        _ => false,
                    }
                };
                // Written as a linear layer's: the output channels of a right factor run along its columns.
                if is_weight(right) {
                    Some(vec![self.tensor(event, right, 1)])
                } else if is_weight(left) {
                    Some(vec![self.tensor(event, left, 0)])
                } else {
                    None
                }
            }
            WeightRule::List { argument } => {
                let lists = [argument, argument + 1];
                let list = lists.into_iter().find_map(|at| match event.arguments.get(at) {
                    Some((_, Value::List(items), _)) if items.iter().any(|i| matches!(i, Value::Weight(_))) => {
                        Some((at, items))
                    }
                    _ => None,
                });
                let Some((argument, items)) = list else {
                    return Some(vec![Found { weight: None, axis: None, argument, element: None, quantized: None }]);
                };
                let matrices = items.iter().enumerate().filter_map(|(index, item)| match item {
                    Value::Weight(weight) if self.rank(weight.tensor) >= 2 => Some(Found {
                        weight: Some(weight.clone()),
                        axis: self.axis(weight, 0),
                        argument,
                        element: Some((index, items.len())),
                        quantized: None,
                    }),
                    _ => None,
                });
                Some(matrices.collect())
            }
        }
    }

    fn tensor(&self, event: &CallEvent, argument: usize, axis: usize) -> Found {
        let value = event.arguments.get(argument).map_or(&Value::Unknown, |(_, value, _)| value);
        let weight = match value {
            Value::Weight(weight) => Some(weight.clone()),
            _ => None,
        };
        let quantized = match value {
            Value::Quantized(tensor) => Some(*tensor),
            _ => None,
        };
        let axis = weight.as_ref().and_then(|weight| self.axis(weight, axis));
        Found { weight, axis, argument, element: None, quantized }
    }

    /// The axis of the tensor itself that is `axis` where it is used.
    fn axis(&self, weight: &Weight, axis: usize) -> Option<usize> {
        let rank = self.rank(weight.tensor);
        match weight.axes {
            Axes::Same => (axis < rank).then_some(axis),
            Axes::Transposed => (rank == 2 && axis < 2).then(|| 1 - axis),
            Axes::Other => None,
        }
    }

    fn op_type(&self, event: &CallEvent, found: &[Found]) -> String {
        let text = |argument: usize| event.arguments.get(argument).map_or("", |(_, _, text)| text);
        let rule = event.rule;
        if rule.op_type == "Hardtanh" && matches!((text(1), text(2)), ("0." | "0", "6." | "6")) {
            return "ReLU6".to_owned();
        }
        if !rule.op_type.contains('#') {
            return rule.op_type.to_owned();
        }
        let rank = found.first().and_then(|found| found.weight.as_ref()).map(|weight| self.rank(weight.tensor));
        // A stride has one number per dimension, where the weight is not known.
        let dimensions = rank.map_or_else(|| text(3).split(',').count(), |rank| rank.saturating_sub(2));
        let transposed = matches!(rule.weight, WeightRule::Convolution { transposed } if text(transposed) == "True");
        format!("Conv{}{dimensions}d", if transposed { "Transpose" } else { "" })
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
        let name = if name.is_empty() { call.to_owned() } else { name };
        self.unique(name)
    }

    fn unique(&mut self, name: String) -> String {
        let mut candidate = name.clone();
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
                Some(tensor) => (tensor, Reason::new("already-quantized", "the weight goes through a quantizer")),
                None => {
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
        let direct = anchor.arguments.iter().filter_map(|(expr, value)| match value {
            Value::Weight(other) if other.tensor == weight.tensor => Some((*expr, None)),
            Value::List(items) => {
                let same = |item: &Value| matches!(item, Value::Weight(other) if other.tensor == weight.tensor);
                items.iter().position(same).map(|index| (*expr, Some((index, items.len()))))
            }
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

    fn input(&self, event: &CallEvent, found: &[Found]) -> Edge {
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

    /// A fused op runs what other calls run too, with the raw weights: it becomes another place of their weights.
    fn fused(&mut self, event: &CallEvent) {
        let WeightRule::Fused(positions) = event.rule.weight else { return };
        for position in positions {
            let found = self.tensor(event, *position, 0);
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

    /// A place in the text that stands for different tensors of one module cannot be given one quantizer.
    fn block_shared_text(&mut self) {
        let mut owners: BTreeMap<WeightSpot, (TensorId, bool)> = BTreeMap::new();
        for weight in self.ops.iter().flat_map(|op| &op.weights) {
            let Some(tensor) = weight.tensor else { continue };
            for spot in &weight.spots {
                owners.entry(*spot).and_modify(|(first, clash)| *clash |= *first != tensor).or_insert((tensor, false));
            }
        }
        let mut edges: BTreeMap<Spot, usize> = BTreeMap::new();
        for edge in self.ops.iter().flat_map(|op| [&op.input, &op.output]) {
            if let Edge::Spots(spots) = edge {
                spots.iter().for_each(|spot| *edges.entry(*spot).or_insert(0) += 1);
            }
        }
        let shared = || Reason::new("shared-text", "one line of code runs it with several weights");
        for op in &mut self.ops {
            for weight in &mut op.weights {
                let clash = |spot: &WeightSpot| owners.get(spot).is_some_and(|(_, clash)| *clash);
                if weight.blocked.is_none() && weight.spots.iter().any(clash) {
                    weight.blocked = Some(shared());
                }
            }
            for edge in [&mut op.input, &mut op.output] {
                // An input of one op can be the output of another: two different expressions at most share a place once each.
                let clash = |spot: &Spot| edges.get(spot).is_some_and(|count| *count > 2);
                if matches!(edge, Edge::Spots(spots) if spots.iter().any(clash)) {
                    *edge = Edge::Blocked(shared());
                }
            }
        }
    }

    /// Modules of a default type whose weight no op has: nothing runs them, or nothing that is known.
    fn dead_modules(&mut self, walk: &Walk) {
        let used: Vec<TensorId> =
            self.ops.iter().flat_map(|op| &op.weights).filter_map(|weight| weight.tensor).collect();
        for (index, object) in self.heap.objects.iter().enumerate() {
            let class = last_atom(&object.class);
            let Some(op_type) = table::default_module(class).filter(|_| object.class.contains(".torch.nn.")) else {
                continue;
            };
            let Some(Item::Tensor(tensor)) = object.attribute("weight") else { continue };
            if used.contains(tensor) {
                continue;
            }
            let id = ObjectId(index);
            let reason = if walk.visited.contains(&id) {
                Reason::new("unknown-call", format!("`{}` uses its weight in no call that is known", object.path))
            } else {
                Reason::new("never-runs", format!("no method of the root runs `{}`", object.path))
            };
            let origin = Origin::Attribute(id, "weight".into());
            let name = self.unique(object.path.clone());
            self.ops.push(Op {
                name,
                op_type: op_type.to_owned(),
                is_default: true,
                object: id,
                weights: vec![OpWeight {
                    tensor: Some(*tensor),
                    name: self.tensor_name(&origin),
                    origin: Some(origin),
                    axis: None,
                    spots: Vec::new(),
                    blocked: Some(reason),
                }],
                input: Edge::Absent,
                output: Edge::Absent,
            });
        }
    }
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

fn merge(edge: &mut Edge, other: Edge) {
    match (&mut *edge, other) {
        (Edge::Blocked(_), _) | (_, Edge::Absent) => {}
        (Edge::Spots(spots), Edge::Spots(more)) => {
            for spot in more {
                if !spots.contains(&spot) {
                    spots.push(spot);
                }
            }
        }
        (_, other) => *edge = other,
    }
}
