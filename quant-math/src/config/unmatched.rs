//! What of a config matches none of a model's ops.

use std::collections::{BTreeMap, BTreeSet};

use super::nearest::nearest;
use super::op_types;
use super::pattern::TypePattern;
use super::select::OpFacts;
use super::selector::{Selector, TypeId};
use super::{ConfigList, Entry};
use crate::codes;
use crate::plan::Reason;

impl ConfigList {
    /// What of the config matches none of a model's ops: whole entries, single names, and types that neither the model nor the
    /// table of types knows.
    ///
    /// A known type beside others that do match is no mistake: one config serves many models. Where no entry at all matches, the last
    /// reason says so, with the code [`codes::NO_ENTRY_MATCHES`].
    pub fn unmatched(&self, ops: &[OpFacts<'_>]) -> Vec<Reason> {
        let nothing = Reason::new(codes::NO_ENTRY_MATCHES, "config_list: no entry matches an op of this model");
        if self.entries.is_empty() {
            return vec![Reason::new(codes::UNMATCHED, "config_list: is empty and selects nothing"), nothing];
        }
        let selector = self.selector();
        let seen = Seen::new(&selector, ops);
        let mut told = Told { selector: &selector, seen, hints: Hints::new(ops), globs: 0, matched: 0 };
        let entries = self.entries.iter().enumerate();
        let mut reasons: Vec<Reason> = entries.flat_map(|(index, entry)| told.of(index, entry)).collect();
        reasons.extend((told.matched == 0).then_some(nothing));
        reasons
    }
}

/// What a pass over a model's ops found of the config.
struct Seen<'a> {
    types: BTreeSet<TypeId>,
    names: BTreeSet<&'a str>,
    globs: BTreeSet<usize>,
    /// Entries with `op_names` that match an op.
    entries: BTreeSet<usize>,
}

impl<'a> Seen<'a> {
    fn new(selector: &Selector<'a>, ops: &[OpFacts<'_>]) -> Self {
        let mut seen =
            Self { types: BTreeSet::new(), names: BTreeSet::new(), globs: BTreeSet::new(), entries: BTreeSet::new() };
        for op in ops {
            let id = selector.type_of(op.op_type);
            seen.types.extend(id);
            seen.types.extend(op.is_default.then_some(Selector::DEFAULT));
            let named = selector.named(op);
            seen.names.extend(named.names);
            seen.globs.extend(named.globs);
            seen.entries.extend(named.entries.into_iter().filter(|entry| selector.has_type(*entry, id, op.is_default)));
        }
        seen
    }
}

/// Tells about one entry after the other.
struct Told<'a> {
    selector: &'a Selector<'a>,
    seen: Seen<'a>,
    hints: Hints<'a>,
    /// Globs of the entries that were told about.
    globs: usize,
    /// Entries that match an op, of the same.
    matched: usize,
}

impl Told<'_> {
    fn of(&mut self, index: usize, entry: &Entry) -> Vec<Reason> {
        let type_seen = |seen: &Seen<'_>, pattern| seen.types.contains(&self.selector.word(pattern));
        let matches = if entry.op_names.is_some() {
            self.seen.entries.contains(&index)
        } else {
            entry.op_types.iter().flatten().any(|pattern| type_seen(&self.seen, pattern))
        };
        self.matched += usize::from(matches);
        let mut reasons = Vec::new();
        for pattern in entry.op_types.iter().flatten() {
            let known =
                matches && (matches!(pattern, TypePattern::Default) || op_types::find(pattern.text()).is_some());
            if !known && !type_seen(&self.seen, pattern) {
                let hint = self.hints.of_type(pattern.text());
                reasons.push(reason(&format!("config_list[{index}].op_types"), pattern.text(), &hint));
            }
        }
        for pattern in entry.op_names.iter().flatten() {
            let glob = pattern.glob().map(|_| self.globs);
            self.globs += usize::from(glob.is_some());
            let by_glob = glob.is_some_and(|glob| self.seen.globs.contains(&glob));
            if !by_glob && !self.seen.names.contains(pattern.text()) {
                let hint = self.hints.of_name(pattern.text());
                reasons.push(reason(&format!("config_list[{index}].op_names"), pattern.text(), &hint));
            }
        }
        if !matches && reasons.is_empty() {
            let text = format!(
                "config_list[{index}]: no op in this model has one of its `op_types` and one of its `op_names`"
            );
            reasons.push(Reason::new(codes::UNMATCHED, text));
        }
        reasons
    }
}

/// "Did you mean …?", for the first few words only: many that match nothing are no slips of the pen, the config is for another model,
/// and a hint looks at every op of this one.
struct Hints<'a> {
    ops: &'a [OpFacts<'a>],
    /// The ops of a model, counted by type.
    types: BTreeMap<&'a str, usize>,
    left: usize,
}

impl<'a> Hints<'a> {
    const MOST: usize = 16;

    fn new(ops: &'a [OpFacts<'a>]) -> Self {
        let mut types = BTreeMap::new();
        for op in ops {
            *types.entry(op.op_type).or_insert(0) += 1;
        }
        Self { ops, types, left: Self::MOST }
    }

    /// Whether one more word may be compared with the model's.
    fn take(&mut self) -> bool {
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }

    fn of_type(&mut self, text: &str) -> String {
        if !self.take() {
            return String::new();
        }
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

    fn of_name(&mut self, text: &str) -> String {
        if !self.take() {
            return String::new();
        }
        match nearest(text, self.ops.iter().map(|op| op.name)) {
            Some(name) => format!("; did you mean `{name}`?"),
            None => String::new(),
        }
    }
}

fn reason(path: &str, text: &str, hint: &str) -> Reason {
    Reason::new(codes::UNMATCHED, format!("{path}: `{text}` matches no op in this model{hint}"))
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigList, OpFacts, Selection};
    use crate::{Quantizer, steps};

    /// The steps that planning `ops` ops with `config` takes, all hints included.
    fn steps(config: &ConfigList, names: &[String]) -> usize {
        let ops: Vec<OpFacts<'_>> =
            names.iter().map(|name| OpFacts { name, other_name: None, op_type: "Conv2D", is_default: true }).collect();
        steps::counted(|| {
            let selector = config.selector();
            let found = ops.iter().filter(|op| selector.select(op) != Selection::NotSelected).count();
            let told = config.unmatched(&ops).len();
            assert!(found + told > 0, "the work is done");
        })
    }

    fn names(count: usize, stem: &str) -> Vec<String> {
        (0..count).map(|i| format!("{stem}{i:06}")).collect()
    }

    /// A config whose words are as many as the ops, in each of the shapes that could make a product of both.
    #[test]
    fn planning_grows_with_ops_and_words_not_with_their_product() {
        let stem = "x".repeat(194);
        let quoted = |names: &[String]| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(",");
        let shapes: [(&str, &dyn Fn(usize) -> String); 5] = [
            ("names of another model", &|n| format!("[{{op_names: [{}]}}]", quoted(&names(n, &"y".repeat(194))))),
            ("names that differ in more letters", &|n| {
                format!("[{{op_names: [{}]}}]", quoted(&names(n, &format!("{}yyyyy", "x".repeat(189)))))
            }),
            ("types of another model", &|n| format!("[{{op_types: [{}]}}]", quoted(&names(n, "Conv2D")))),
            ("entries with a name", &|n| {
                let entries = names(n, &stem)
                    .iter()
                    .map(|name| format!("{{op_names: ['{name}'], op_types: 'Conv2d'}}"))
                    .collect::<Vec<_>>();
                format!("[{}]", entries.join(","))
            }),
            ("entries with a type", &|n| format!("[{}]", "{op_types: 'Conv2d'},".repeat(n))),
        ];
        for (what, text) in shapes {
            let counts = [128, 256, 512].map(|n| {
                let config = ConfigList::parse(&text(n), Some(Quantizer::Naive)).unwrap();
                steps(&config, &names(n, &stem))
            });
            let [first, second, third] = counts;
            assert!(first >= 128, "{what}: {counts:?}");
            assert!(second <= first * 5 / 2 && third <= second * 5 / 2, "{what}: {counts:?}");
        }
    }

    /// All globs are matched in one pass over a name.
    #[test]
    fn globs_cost_one_pass_over_each_name() {
        let counts = [100, 200, 400].map(|n| {
            let globs = (0..n).map(|i| format!("'*a{i}*b'")).collect::<Vec<_>>().join(",");
            let config = ConfigList::parse(&format!("[{{op_names: ['*', {globs}]}}]"), Some(Quantizer::Naive)).unwrap();
            steps(&config, &names(n, "op"))
        });
        let [first, second, third] = counts;
        assert!(first >= 100 && second <= first * 5 / 2 && third <= second * 5 / 2, "{counts:?}");
    }
}
