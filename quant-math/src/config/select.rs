//! Which entry decides about an op, and which entries decide about none.

use std::collections::BTreeMap;

use super::nearest::nearest;
use super::op_types;
use super::pattern::{NamePattern, TypePattern};
use super::{ConfigList, Entry};
use crate::plan::Reason;

/// The code of the reasons that [`ConfigList::unmatched`] gives.
const UNMATCHED: &str = "C0107";

/// What an adapter knows about an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpFacts<'a> {
    /// The op's name (TensorFlow: the node; TorchScript: the module path).
    pub name: &'a str,
    /// The op's type, as the model says it.
    pub op_type: &'a str,
    /// Whether the op belongs to `default`.
    pub is_default: bool,
}

/// What a `config_list` says about an op.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selection<'a> {
    /// No entry matches.
    NotSelected,
    /// The last entry that matches excludes.
    Excluded {
        /// The entry's index.
        entry: usize,
    },
    /// The last entry that matches.
    Selected {
        /// The entry's index.
        entry: usize,
        /// The entry.
        config: &'a Entry,
    },
}

impl Entry {
    /// Whether each of `op_types` and `op_names` that the entry has matches the op.
    pub fn matches(&self, op: &OpFacts<'_>) -> bool {
        let types = |patterns: &Vec<TypePattern>| patterns.iter().any(|p| p.matches(op.op_type, op.is_default));
        let names = |patterns: &Vec<NamePattern>| patterns.iter().any(|p| p.matches(op.name));
        let has_one = self.op_types.is_some() || self.op_names.is_some();
        has_one && self.op_types.as_ref().is_none_or(types) && self.op_names.as_ref().is_none_or(names)
    }
}

impl ConfigList {
    /// What to do with an op: the last matching entry decides alone; keys of earlier matches do not leak into it.
    pub fn select(&self, op: &OpFacts<'_>) -> Selection<'_> {
        match self.entries.iter().enumerate().rev().find(|(_, config)| config.matches(op)) {
            None => Selection::NotSelected,
            Some((entry, config)) if config.exclude => Selection::Excluded { entry },
            Some((entry, config)) => Selection::Selected { entry, config },
        }
    }

    /// What of the config matches none of a model's ops: whole entries, single names, and types that neither the model nor the
    /// table of types knows.
    ///
    /// A known type beside others that do match is no mistake: one config serves many models.
    pub fn unmatched(&self, ops: &[OpFacts<'_>]) -> Vec<Reason> {
        if self.entries.is_empty() {
            return vec![Reason::new(UNMATCHED, "config_list: is empty and selects nothing")];
        }
        let model = Model::new(ops);
        self.entries.iter().enumerate().flat_map(|(index, entry)| model.unmatched(index, entry)).collect()
    }
}

/// The ops of a model, counted by type.
struct Model<'a> {
    ops: &'a [OpFacts<'a>],
    types: BTreeMap<&'a str, usize>,
}

impl<'a> Model<'a> {
    fn new(ops: &'a [OpFacts<'a>]) -> Self {
        let mut types = BTreeMap::new();
        for op in ops {
            *types.entry(op.op_type).or_insert(0) += 1;
        }
        Self { ops, types }
    }

    fn unmatched(&self, index: usize, entry: &Entry) -> Vec<Reason> {
        let matches = self.ops.iter().any(|op| entry.matches(op));
        let mut reasons = Vec::new();
        for pattern in entry.op_types.iter().flatten() {
            let known =
                matches && (matches!(pattern, TypePattern::Default) || op_types::find(pattern.text()).is_some());
            if !known && !self.ops.iter().any(|op| pattern.matches(op.op_type, op.is_default)) {
                let hint = self.nearest_type(pattern.text());
                reasons.push(reason(&format!("config_list[{index}].op_types"), pattern.text(), &hint));
            }
        }
        for pattern in entry.op_names.iter().flatten() {
            if !self.ops.iter().any(|op| pattern.matches(op.name)) {
                let hint = self.nearest_name(pattern.text());
                reasons.push(reason(&format!("config_list[{index}].op_names"), pattern.text(), &hint));
            }
        }
        if !matches && reasons.is_empty() {
            let text = format!(
                "config_list[{index}]: no op in this model has one of its `op_types` and one of its `op_names`"
            );
            reasons.push(Reason::new(UNMATCHED, text));
        }
        reasons
    }

    fn nearest_type(&self, text: &str) -> String {
        // A misspelt name of the other framework (`Conv2dd`, `Linaer`) leads to the model's own name for it.
        let names = op_types::OP_TYPES.iter().flat_map(|row| row.names).copied();
        let own = nearest(text, self.types.keys().copied());
        let own = own.or_else(|| {
            let known = nearest(text, names)?;
            self.types.keys().copied().find(|op_type| op_types::same(known, op_type))
        });
        match own.and_then(|op_type| self.types.get_key_value(op_type)) {
            Some((op_type, 1)) => format!("; did you mean `{op_type}` (1 op)?"),
            Some((op_type, count)) => format!("; did you mean `{op_type}` ({count} ops)?"),
            None => String::new(),
        }
    }

    fn nearest_name(&self, text: &str) -> String {
        match nearest(text, self.ops.iter().map(|op| op.name)) {
            Some(name) => format!("; did you mean `{name}`?"),
            None => String::new(),
        }
    }
}

fn reason(path: &str, text: &str, hint: &str) -> Reason {
    Reason::new(UNMATCHED, format!("{path}: `{text}` matches no op in this model{hint}"))
}
