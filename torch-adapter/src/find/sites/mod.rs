//! Where a model could be quantized: ops, their weights, inputs and outputs, with every place in the code.
//!
//! ```text
//! heap (objects, tensors)  ─┐
//! program (source files)   ─┴▶ walk (which call gets which tensor) ──▶ find (ops with names and places)
//! ```
//!
//! Nothing is run: `walk` follows assignments, attributes and calls from the root's methods.

mod arguments;
mod axes;
mod block;
mod builtin;
mod call;
mod edges;
mod events;
mod find;
mod flow;
mod frame;
mod in_place;
mod op;
mod place;
mod reason;
mod sign;
pub mod table;
mod value;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use flow::{Flow, Given, Met, What, asks};
pub(crate) use place::{Point, Run};

pub use events::{Arithmetic, Operand, QuantizerCall, QuantizerRead, Read, Step};
pub use op::{Edge, Op, OpWeight, WeightSpot};
pub use place::{Origin, Spot};

pub use crate::torchscript::heap;
pub use crate::torchscript::program::{ClassRef, CodeFile, FunctionRef, Program};

use crate::torchscript::heap::{Heap, ObjectId, Separated, TensorId};
use arguments::Arguments;
use value::Value;

use crate::torchscript::code::ExprKind;

/// What following the code has shown.
#[derive(Debug)]
pub struct Sites {
    /// Ops, in the order in which the code reaches them.
    pub ops: Vec<Op>,
    /// Every place where a tensor of the model is read.
    pub reads: BTreeSet<Read>,
    /// Tensors that training would change, with the arguments in methods that they are: weights and biases of calls.
    pub parameters: BTreeMap<TensorId, BTreeSet<Spot>>,
    /// Tensors that are read in other ways than as the weight of a call or the argument of a quantizer.
    pub others: BTreeSet<TensorId>,
    /// Methods of the root with which a pass begins.
    pub entries: Vec<FunctionRef>,
    /// Attributes that the code assigns.
    pub writes: BTreeSet<(ObjectId, String)>,
    /// Calls of quantizers that are there already.
    pub quantizers: BTreeSet<QuantizerCall>,
    /// Expressions whose value is one of them.
    pub quantizer_reads: BTreeSet<QuantizerRead>,
    /// How the code turns tensors of codes into values, step by step.
    pub decodings: BTreeMap<TensorId, Vec<Step>>,
    /// How the code separates codes that share bytes: the weight's shape and the rest of it.
    pub separated: BTreeMap<TensorId, (Vec<u64>, Separated)>,
    /// Dotted names that the code calls.
    pub called: BTreeSet<String>,
    /// Whether there is more code than is followed.
    pub cut: bool,
    /// How values go from call to call.
    pub(crate) flow: Flow,
}

/// Follow the code of `program` from the methods of the root object.
///
/// `is_quantizer` says of a class or function, named without `___torch_mangle_N`, whether it is a quantizer that is there already.
pub fn find(program: &Program, heap: &Heap, is_quantizer: &dyn Fn(&str) -> bool) -> Sites {
    let walk = walk::walk(program, heap, is_quantizer);
    let mut others = walk.others.clone();
    others.extend(walk.calls.iter().flat_map(|event| Arguments { heap, event }.others()));
    let (ops, of_calls) = find::ops(program, heap, &walk);
    Sites {
        ops,
        flow: Flow::of(&walk, &of_calls),
        called: walk.called.iter().map(ToString::to_string).collect(),
        parameters: parameters(program, &walk),
        others,
        entries: walk.entries,
        decodings: walk.decodings.into_iter().map(|(tensor, found)| (tensor, found.steps)).collect(),
        separated: walk.separated,
        reads: walk.reads,
        writes: walk.writes,
        quantizers: walk.quantizers,
        quantizer_reads: walk.quantizer_reads,
        cut: walk.cut,
    }
}

fn parameters(program: &Program, walk: &events::Walk) -> BTreeMap<TensorId, BTreeSet<Spot>> {
    let mut found: BTreeMap<TensorId, BTreeSet<Spot>> = BTreeMap::new();
    let mut add = |value: &Value, spot: Spot| {
        if let Value::Weight(weight) = value
            && weight.quantizer.is_none()
        {
            found.entry(weight.tensor).or_default().insert(spot);
        }
    };
    for event in walk.calls.iter().filter(|event| event.anchor.is_none()) {
        for position in table::parameters(event.rule) {
            let Some((expr, value, _)) = event.arguments.get(position) else { continue };
            let spot = Spot { expr: *expr, ..event.spot };
            let Value::List(items) = value else {
                add(value, spot);
                continue;
            };
            let written = program.function(spot.function).and_then(|function| function.expr(spot.expr));
            for (index, item) in items.iter().enumerate() {
                let expr = match written.map(|expr| &expr.kind) {
                    Some(ExprKind::List(exprs)) => exprs.get(index).copied(),
                    _ => None,
                };
                add(item, Spot { expr: expr.unwrap_or(spot.expr), ..spot });
            }
        }
    }
    found
}
