//! Weights that cannot be quantized because of how the code uses them, or does not.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::plan::Reason;

use super::events::Walk;
use super::op::{Edge, Op, OpWeight, WeightSpot};
use super::place::{Origin, Spot};
use super::table;
use crate::codes;
use crate::torchscript::heap::{Heap, Item, ObjectId, TensorId, join, last_atom};

/// A place in the text that stands for different tensors of one module cannot be given one quantizer.
pub(super) fn shared_text(ops: &mut [Op]) {
    let mut owners: BTreeMap<WeightSpot, (TensorId, bool)> = BTreeMap::new();
    for weight in ops.iter().flat_map(|op| &op.weights) {
        let Some(tensor) = weight.tensor else { continue };
        for spot in &weight.spots {
            owners.entry(*spot).and_modify(|(first, clash)| *clash |= *first != tensor).or_insert((tensor, false));
        }
    }
    let mut edges: BTreeMap<Spot, usize> = BTreeMap::new();
    for edge in ops.iter().flat_map(|op| op.inputs.iter().chain([&op.output])) {
        if let Edge::Spots { spots, .. } = edge {
            for spot in spots {
                *edges.entry(*spot).or_insert(0) += 1;
            }
        }
    }
    let shared = || Reason::new(codes::SHARED_TEXT, "one line of code runs it with several weights");
    for op in ops {
        for weight in &mut op.weights {
            let clash = |spot: &WeightSpot| owners.get(spot).is_some_and(|(_, clash)| *clash);
            if weight.spots.iter().any(clash) {
                weight.no_text = Some(shared());
            }
        }
        for edge in op.edges_mut() {
            // An input of one op can be the output of another: two different expressions at most share a place once each.
            let clash = |spot: &Spot| edges.get(spot).is_some_and(|count| *count > 2);
            if matches!(edge, Edge::Spots { spots, .. } if spots.iter().any(clash)) {
                *edge = Edge::Blocked(shared());
            }
        }
    }
}

/// Modules of a default type whose weight no op has: nothing runs them, or nothing that is known.
///
/// `parts` are tensors of which others are computed.
pub(super) fn dead_modules(heap: &Heap, walk: &Walk, ops: &[Op], parts: &BTreeSet<TensorId>) -> Vec<Op> {
    let mut dead = Vec::new();
    let mut used = parts.clone();
    used.extend(ops.iter().flat_map(|op| &op.weights).filter_map(|weight| weight.tensor));
    for (index, object) in heap.objects.iter().enumerate() {
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
            Reason::new(codes::UNKNOWN_CALL, format!("`{}` uses its weight in no call that is known", object.path))
        } else if walk.unresolved {
            let text = format!("`{}` may run in a call of something that shows only when the model runs", object.path);
            Reason::new(codes::UNKNOWN_CALL, text)
        } else {
            Reason::new(codes::NEVER_RUNS, format!("no method of the root runs `{}`", object.path))
        };
        let origin = Origin::Attribute(id, "weight".into());
        dead.push(Op {
            name: object.path.clone(),
            op_type: op_type.to_owned(),
            is_default: true,
            object: id,
            weights: vec![OpWeight {
                tensor: Some(*tensor),
                name: join(&object.path, "weight"),
                origin: Some(origin),
                axis: None,
                spots: Vec::new(),
                biases: BTreeSet::new(),
                beside: BTreeMap::new(),
                quantizer: None,
                blocked: Some(reason),
                no_text: None,
            }],
            inputs: Vec::new(),
            output: Edge::Absent,
        });
    }
    dead
}
