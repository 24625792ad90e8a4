//! Which entry decides about an op, found without asking every entry about every op.
//!
//! Types and names are looked up in maps; globs are matched all at once, in one pass over an op's name. So a plan costs what the ops
//! and the words of the config cost, not their product. The number of globs of a config has a limit, which bounds what that pass may cost.

use std::collections::{BTreeMap, BTreeSet};

use globset::{GlobSet, GlobSetBuilder};

use super::op_types::OP_TYPES;
use super::pattern::{NamePattern, TypePattern};
use super::select::{OpFacts, Selection};
use super::{ConfigList, Entry};
use crate::steps;

/// A word of `op_types`, whatever it is called: the number of its row in the table of types, or a number of its own.
pub(super) type TypeId = usize;

/// A [`ConfigList`] that is asked about many ops.
#[derive(Debug)]
pub struct Selector<'a> {
    entries: &'a [Entry],
    /// Types that the config names, in lower case and by each of their names.
    words: BTreeMap<String, TypeId>,
    /// The entries without `op_names` that have a type, in their order.
    by_type: BTreeMap<TypeId, Vec<usize>>,
    /// The types of an entry that has some.
    types: Vec<Option<BTreeSet<TypeId>>>,
    /// The entries that have a name, in their order; a glob is a name too.
    names: BTreeMap<&'a str, Vec<usize>>,
    globs: Vec<Glob<'a>>,
    /// All globs in one; `None` where that would be too large.
    together: Option<GlobSet>,
}

/// A glob of an entry.
#[derive(Debug)]
struct Glob<'a> {
    pattern: &'a NamePattern,
    entry: usize,
}

impl ConfigList {
    /// This config, ready to be asked about many ops.
    pub fn selector(&self) -> Selector<'_> {
        Selector::new(&self.entries)
    }
}

/// What of a config names an op.
pub(super) struct Named<'a> {
    /// The names that are the op's.
    pub(super) names: Vec<&'a str>,
    /// The globs that match it, counted through the config.
    pub(super) globs: Vec<usize>,
    /// The entries of both; one may stand here several times.
    pub(super) entries: Vec<usize>,
}

impl<'a> Selector<'a> {
    /// The word `default`, which no type is.
    pub(super) const DEFAULT: TypeId = usize::MAX;

    fn new(entries: &'a [Entry]) -> Self {
        let mut words = BTreeMap::new();
        let mut by_type: BTreeMap<TypeId, Vec<usize>> = BTreeMap::new();
        let mut types = Vec::with_capacity(entries.len());
        let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let (mut together, mut globs) = (GlobSetBuilder::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            let own: Option<BTreeSet<TypeId>> =
                entry.op_types.as_ref().map(|patterns| patterns.iter().map(|p| type_id(p, &mut words)).collect());
            if entry.op_names.is_none() {
                for id in own.iter().flatten() {
                    by_type.entry(*id).or_default().push(index);
                }
            }
            types.push(own);
            for pattern in entry.op_names.iter().flatten() {
                names.entry(pattern.text()).or_default().push(index);
                if let Some(glob) = pattern.glob() {
                    together.add(glob.clone());
                    globs.push(Glob { pattern, entry: index });
                }
            }
        }
        Self { entries, words, by_type, types, names, globs, together: together.build().ok() }
    }

    /// What [`ConfigList::select`] says.
    pub fn select(&self, op: &OpFacts<'_>) -> Selection<'a> {
        self.select_before(op, self.entries.len())
    }

    /// The same of the entries before `end` alone.
    pub(super) fn select_before(&self, op: &OpFacts<'_>, end: usize) -> Selection<'a> {
        let id = self.type_of(op.op_type);
        let before = |entries: &Vec<usize>| {
            let count = entries.partition_point(|entry| *entry < end);
            entries.get(..count).and_then(<[usize]>::last).copied()
        };
        let by_type = |id: Option<TypeId>| id.and_then(|id| self.by_type.get(&id)).and_then(before);
        let by_default = by_type(op.is_default.then_some(Self::DEFAULT));
        let named = self.named(op).entries.into_iter().filter(|entry| *entry < end);
        let by_name = named.filter(|entry| self.has_type(*entry, id, op.is_default)).max();
        match [by_type(id), by_default, by_name].into_iter().flatten().max() {
            None => Selection::NotSelected,
            Some(entry) => match self.entries.get(entry) {
                Some(config) if config.exclude => Selection::Excluded { entry },
                Some(config) => Selection::Selected { entry, config },
                None => Selection::NotSelected,
            },
        }
    }

    /// The type that the config calls by one of its names.
    pub(super) fn type_of(&self, op_type: &str) -> Option<TypeId> {
        if self.words.is_empty() {
            return None;
        }
        steps::count(1);
        self.words.get(&op_type.to_ascii_lowercase()).copied()
    }

    /// What names an op.
    pub(super) fn named(&self, op: &OpFacts<'_>) -> Named<'a> {
        let mut found = Named { names: Vec::new(), globs: Vec::new(), entries: Vec::new() };
        for name in op.names() {
            if let Some((name, entries)) = self.names.get_key_value(name) {
                found.names.push(name);
                found.entries.extend(entries);
            }
            let globs = self.globs_of(name);
            found.entries.extend(globs.iter().filter_map(|glob| self.globs.get(*glob)).map(|glob| glob.entry));
            found.globs.extend(globs);
        }
        steps::count(found.entries.len());
        found
    }

    /// The numbers of the globs that match a name.
    fn globs_of(&self, name: &str) -> Vec<usize> {
        if self.globs.is_empty() {
            return Vec::new();
        }
        if let Some(together) = &self.together {
            steps::count(1);
            return together.matches(name);
        }
        steps::count(self.globs.len());
        let each = self.globs.iter().enumerate();
        each.filter(|(_, glob)| glob.pattern.matches(name)).map(|(index, _)| index).collect()
    }

    /// Whether an entry has no `op_types`, or one that means the op.
    pub(super) fn has_type(&self, entry: usize, id: Option<TypeId>, is_default: bool) -> bool {
        match self.types.get(entry) {
            Some(Some(types)) => {
                id.is_some_and(|id| types.contains(&id)) || is_default && types.contains(&Self::DEFAULT)
            }
            Some(None) => true,
            None => false,
        }
    }

    /// The number of a word of the config.
    pub(super) fn word(&self, pattern: &TypePattern) -> TypeId {
        match pattern {
            TypePattern::Default => Self::DEFAULT,
            TypePattern::Named { text, .. } => {
                self.words.get(&text.to_ascii_lowercase()).copied().unwrap_or(Self::DEFAULT)
            }
        }
    }
}

/// The number of a type, whose names all become known.
fn type_id(pattern: &TypePattern, words: &mut BTreeMap<String, TypeId>) -> TypeId {
    let TypePattern::Named { text, row } = pattern else { return Selector::DEFAULT };
    let text = text.to_ascii_lowercase();
    if let Some(id) = words.get(&text) {
        return *id;
    }
    if let Some(id) = row.and_then(|row| OP_TYPES.iter().position(|other| other == row)) {
        let names = OP_TYPES.get(id).map_or(&[][..], |row| row.names);
        words.extend(names.iter().map(|name| (name.to_ascii_lowercase(), id)));
        id
    } else {
        let id = OP_TYPES.len() + words.len();
        words.insert(text, id);
        id
    }
}
