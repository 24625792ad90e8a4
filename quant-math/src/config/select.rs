//! Which entry decides about an op.

use super::pattern::{NamePattern, TypePattern};
use super::{ConfigList, Entry};

/// What an adapter knows about an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpFacts<'a> {
    /// The op's name (TensorFlow: the node; TorchScript: the module path).
    pub name: &'a str,
    /// Another name that `op_names` may select it by, which other ops may have too.
    pub other_name: Option<&'a str>,
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

impl<'a> OpFacts<'a> {
    /// The names that `op_names` may select it by.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        [Some(self.name), self.other_name].into_iter().flatten()
    }
}

impl Entry {
    /// Whether each of `op_types` and `op_names` that the entry has matches the op.
    pub fn matches(&self, op: &OpFacts<'_>) -> bool {
        let types = |patterns: &Vec<TypePattern>| patterns.iter().any(|p| p.matches(op.op_type, op.is_default));
        let names = |patterns: &Vec<NamePattern>| patterns.iter().any(|p| op.names().any(|name| p.matches(name)));
        let has_one = self.op_types.is_some() || self.op_names.is_some();
        has_one && self.op_types.as_ref().is_none_or(types) && self.op_names.as_ref().is_none_or(names)
    }
}

impl ConfigList {
    /// What to do with an op: the last matching entry decides alone; keys of earlier matches do not leak into it.
    ///
    /// Every entry is asked; a [`Selector`](super::Selector) says the same of many ops in less time.
    pub fn select(&self, op: &OpFacts<'_>) -> Selection<'_> {
        match self.entries.iter().enumerate().rev().find(|(_, config)| config.matches(op)) {
            None => Selection::NotSelected,
            Some((entry, config)) if config.exclude => Selection::Excluded { entry },
            Some((entry, config)) => Selection::Selected { entry, config },
        }
    }
}
