//! Which weights a gradient reaches. TensorFlow's C API has gradients of some ops only; of a loop as TensorFlow 1 writes it, it has none, and
//! ends the process where it meets one.

use std::collections::{BTreeMap, BTreeSet};

use tensorflow::{Operation, Output};

use super::goals::TrainedOutput;

/// Types of ops through which no gradient passes. A loop is left through its `Exit`.
pub(super) fn without_gradient() -> BTreeSet<String> {
    ["Exit", "RefExit"].into_iter().map(str::to_owned).collect()
}

/// The op that TensorFlow says it has no gradient for.
pub(super) fn named_in(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("No gradient defined for op: ")?;
    let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// What outputs are computed from, by node name.
#[derive(Debug, Default)]
struct Sources {
    /// With a gradient all the way.
    free: BTreeSet<String>,
    /// Behind a node without gradient, which is named; it may be free by another way too.
    behind: BTreeMap<String, String>,
}

impl Sources {
    fn of<'o>(outputs: impl IntoIterator<Item = &'o Output>, blocked: &BTreeSet<String>) -> Self {
        let mut found = Self::default();
        let mut open: Vec<(Operation, Option<String>)> =
            outputs.into_iter().map(|output| (output.operation.clone(), None)).collect();
        while let Some((operation, behind)) = open.pop() {
            let Ok(name) = operation.name() else { continue };
            let is_new = match &behind {
                None => found.free.insert(name.clone()),
                Some(_) if found.behind.contains_key(&name) => false,
                Some(by) => found.behind.insert(name.clone(), by.clone()).is_none(),
            };
            if !is_new {
                continue;
            }
            let kind = operation.op_type().unwrap_or_default();
            let behind = behind.or_else(|| blocked.contains(&kind).then(|| format!("`{name}` ({kind})")));
            open.extend((0..operation.num_inputs()).map(|position| (operation.input(position).0, behind.clone())));
        }
        found
    }
}

/// What is trained.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The outputs that the loss is made of.
    pub(super) outputs: Vec<TrainedOutput>,
    /// Outputs that are left out, each with the node that no gradient passes.
    pub(super) left_out: Vec<(String, String)>,
    /// Positions of the weights that a gradient reaches.
    pub(super) reached: Vec<usize>,
    /// Positions of the others, each with the node that stands in between, where one does.
    pub(super) others: Vec<(usize, Option<String>)>,
}

/// Outputs behind ops without gradient that are looked at one by one. Models have few outputs, and fewer of such.
const MOST: usize = 64;

/// How weights reach what an op makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ways {
    /// Some weight with a gradient all the way.
    free: bool,
    /// Some weight through an op without gradient.
    behind: bool,
}

/// The ways to all ops to which there are some, by node name.
fn ways(weights: &[Output], blocked: &BTreeSet<String>) -> BTreeMap<String, Ways> {
    let mut found: BTreeMap<String, Ways> = BTreeMap::new();
    let free = Ways { free: true, behind: false };
    let mut open: Vec<(Operation, Ways)> = weights.iter().map(|weight| (weight.operation.clone(), free)).collect();
    while let Some((operation, here)) = open.pop() {
        let Ok(name) = operation.name() else { continue };
        let is_blocked = operation.op_type().is_ok_and(|kind| blocked.contains(&kind));
        let here = if is_blocked { Ways { free: false, behind: true } } else { here };
        let known = found.entry(name).or_default();
        let both = Ways { free: known.free || here.free, behind: known.behind || here.behind };
        if both == *known {
            continue;
        }
        *known = both;
        for output in 0..operation.num_outputs() {
            open.extend(operation.output_consumers(output).into_iter().map(|(reader, _)| (reader, both)));
        }
    }
    found
}

/// Choose outputs and weights so that no way from a weight to an output leads through an op without gradient. Outputs without such ops come
/// first: what they train is not given up for another output.
pub(super) fn choose(outputs: &[TrainedOutput], handles: &[Output], blocked: &BTreeSet<String>) -> Choice {
    let weights: Vec<String> = handles.iter().map(|handle| handle.operation.name().unwrap_or_default()).collect();
    let ways = ways(handles, blocked);
    let way = |output: &TrainedOutput| {
        output.output.operation.name().ok().and_then(|name| ways.get(&name).copied()).unwrap_or_default()
    };
    let mut choice = Choice::default();
    let mut included = BTreeSet::new();
    let plain = outputs.iter().enumerate().filter(|(_, output)| way(output) == Ways { free: true, behind: false });
    let plain: Vec<&TrainedOutput> = plain.map(|(at, output)| (included.insert(at), output).1).collect();
    let sources = Sources::of(plain.iter().map(|output| &output.output), blocked);
    let mut reached: BTreeSet<&String> = weights.iter().filter(|weight| sources.free.contains(*weight)).collect();
    let (mut crossed, mut barriers) = (BTreeSet::new(), BTreeMap::new());
    for (number, (at, output)) in outputs.iter().enumerate().filter(|(_, output)| way(output).behind).enumerate() {
        if number >= MOST {
            choice.left_out.push((output.name.clone(), "an op without gradient".to_owned()));
            continue;
        }
        let own = Sources::of([&output.output], blocked);
        let behind: BTreeSet<&String> = weights.iter().filter(|weight| own.behind.contains_key(*weight)).collect();
        let new: BTreeSet<&String> =
            weights.iter().filter(|weight| own.free.contains(*weight) && !behind.contains(weight)).collect();
        if new.is_empty() || !behind.is_disjoint(&reached) || !new.is_disjoint(&crossed) {
            if let Some(by) = behind.iter().find_map(|weight| own.behind.get(*weight)) {
                choice.left_out.push((output.name.clone(), by.clone()));
            }
        } else {
            included.insert(at);
            reached.extend(new);
            crossed.extend(behind.iter().copied());
        }
        for weight in behind {
            if let Some(by) = own.behind.get(weight) {
                barriers.entry(weight).or_insert_with(|| by.clone());
            }
        }
    }
    choice.outputs =
        outputs.iter().enumerate().filter(|(at, _)| included.contains(at)).map(|(_, o)| o.clone()).collect();
    for (position, weight) in weights.iter().enumerate() {
        if reached.contains(weight) {
            choice.reached.push(position);
        } else {
            choice.others.push((position, barriers.get(weight).cloned()));
        }
    }
    choice
}
