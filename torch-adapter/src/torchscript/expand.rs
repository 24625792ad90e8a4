//! How much memory the objects of a pickle take once names and texts are written out.
//!
//! In a pickle a long name or list costs two bytes each time it is used again. Objects own their names and paths, so that a small
//! pickle could ask for any amount of memory; this is added up before anything is made.

use std::collections::{BTreeSet, VecDeque};

use quant_math::Budget;

use crate::error::Error;
use crate::torchscript::pickle::{Object, Pickle, PickleFault, Slot, Value};

/// Bytes of one value beside its text.
const VALUE: u64 = 48;

/// The bytes of all objects under the root, their paths included, are within the budget.
pub(crate) fn check(pickle: &Pickle, budget: &Budget) -> Result<(), Error> {
    let add = |bytes: u64, at: usize| {
        let fault = |over: quant_math::OverBudget| PickleFault::Objects { limit: over.limit }.at(pickle.record(), at);
        budget.take(bytes, "the objects").map_err(fault)
    };
    let mut seen = BTreeSet::new();
    let root = pickle.object(pickle.root());
    let mut open: VecDeque<(Object<'_>, u64)> = root.into_iter().map(|root| (root, 0)).collect();
    seen.extend(open.iter().map(|(object, _)| object.identity()));
    while let Some((object, path)) = open.pop_front() {
        let at = object.span().start;
        add(path + object.class().len() as u64 + VALUE, at)?;
        for (name, slot) in object.attributes() {
            let name = name.len() as u64;
            add(name + cost(pickle, slot), at)?;
            if let Some(child) = pickle.object(slot).filter(|child| seen.insert(child.identity())) {
                open.push_back((child, path + name + 1));
            }
        }
    }
    for slot in pickle.items(pickle.root()).unwrap_or_default() {
        add(cost(pickle, *slot), slot.span().start)?;
    }
    Ok(())
}

/// A value with its items; those of lists in lists are never written out.
fn cost(pickle: &Pickle, slot: Slot) -> u64 {
    match pickle.value(slot) {
        Value::Str(text) => VALUE + text.len() as u64,
        Value::Tuple(items) | Value::List(items) | Value::Dict(items) => items.iter().fold(VALUE, |sum, item| {
            let text = if let Value::Str(text) = pickle.value(*item) { text.len() as u64 } else { 0 };
            sum.saturating_add(VALUE + text)
        }),
        _ => VALUE,
    }
}
