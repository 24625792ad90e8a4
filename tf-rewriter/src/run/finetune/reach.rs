//! Which weights a gradient reaches. TensorFlow's C API has gradients of some ops only; of a loop as TensorFlow 1 writes it, it has none, and
//! ends the process where it meets one.

use std::collections::{BTreeMap, BTreeSet};

use tensorflow::{Operation, Output};

use super::trainer::TrainedOutput;

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

/// What an output is computed from, by node name.
#[derive(Debug, Default)]
struct Sources {
    /// With a gradient all the way.
    free: BTreeSet<String>,
    /// Behind a node without gradient, which is named; it may be free by another way too.
    behind: BTreeMap<String, String>,
}

impl Sources {
    fn of(output: &Output, blocked: &BTreeSet<String>) -> Self {
        let mut found = Self::default();
        let mut open: Vec<(Operation, Option<String>)> = vec![(output.operation.clone(), None)];
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

/// Choose outputs and weights so that no way from a weight to an output leads through an op without gradient. Outputs without such ops come
/// first: what they train is not given up for another output.
pub(super) fn choose(outputs: &[TrainedOutput], weights: &[String], blocked: &BTreeSet<String>) -> Choice {
    let sources: Vec<Sources> = outputs.iter().map(|output| Sources::of(&output.output, blocked)).collect();
    let has_barrier = |sources: &Sources| weights.iter().any(|weight| sources.behind.contains_key(weight));
    let mut order: Vec<usize> = (0..outputs.len()).collect();
    order.sort_by_key(|at| sources.get(*at).is_some_and(has_barrier));
    let (mut reached, mut crossed) = (BTreeSet::new(), BTreeSet::new());
    let mut included = BTreeSet::new();
    let mut choice = Choice::default();
    for at in order {
        let (Some(output), Some(own)) = (outputs.get(at), sources.get(at)) else { continue };
        let behind: BTreeSet<&String> = weights.iter().filter(|weight| own.behind.contains_key(*weight)).collect();
        let new: BTreeSet<&String> =
            weights.iter().filter(|weight| own.free.contains(*weight) && !behind.contains(weight)).collect();
        if new.is_empty() || !behind.is_disjoint(&reached) || !new.is_disjoint(&crossed) {
            if let Some(by) = behind.iter().find_map(|weight| own.behind.get(*weight)) {
                choice.left_out.push((output.name.clone(), by.clone()));
            }
            continue;
        }
        included.insert(at);
        reached.extend(new);
        crossed.extend(behind);
    }
    choice.outputs =
        outputs.iter().enumerate().filter(|(at, _)| included.contains(at)).map(|(_, o)| o.clone()).collect();
    for (position, weight) in weights.iter().enumerate() {
        if reached.contains(weight) {
            choice.reached.push(position);
        } else {
            let by = sources.iter().find_map(|sources| sources.behind.get(weight).cloned());
            choice.others.push((position, by));
        }
    }
    choice
}
