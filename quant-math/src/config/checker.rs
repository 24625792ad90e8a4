//! Reading single values: their types, ranges and words.

use std::collections::BTreeSet;

use super::entry::PerKind;
use super::error::{ConfigError, ConfigErrorKind as Kind};
use super::nearest::{nearest, one_of};
use super::pattern::{NamePattern, TypePattern};
use super::per_channel::PerChannel;
use super::preset::Preset;
use super::value::Value;
use crate::plan::{Observer, QuantType, Quantizer, Rounding};

const KINDS: [QuantType; 4] = [QuantType::Weight, QuantType::Input, QuantType::Output, QuantType::Gradient];

const KIND_WORDS: [&str; 4] = ["weight", "input", "output", "gradient"];

/// A map's pairs.
pub(super) type Pairs = [(String, Value)];

pub(super) const OBSERVERS: [(&str, Observer); 5] = [
    ("minmax", Observer::MinMax),
    ("ema", Observer::Ema),
    ("percentile", Observer::Percentile),
    ("entropy", Observer::Entropy),
    ("mse", Observer::Mse),
];

pub(super) const ROUNDINGS: [(&str, Rounding); 3] =
    [("nearest", Rounding::Nearest), ("truncate", Rounding::Truncate), ("reconstruct", Rounding::Reconstruct)];

/// Collects what is wrong.
pub(super) struct Checker {
    pub(super) errors: Vec<ConfigError>,
    pub(super) quantizer: Quantizer,
    pub(super) preset: Option<Preset>,
    /// Globs so far, in all entries.
    pub(super) globs: usize,
}

impl Checker {
    pub(super) fn push(&mut self, kind: Kind, path: &str, message: impl Into<String>) {
        self.errors.push(ConfigError::new(kind, path, message));
    }

    pub(super) fn push_help(&mut self, kind: Kind, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(ConfigError::new(kind, path, message).with_help(help));
    }

    pub(super) fn wrong(&mut self, path: &str, found: &Value, expected: &str) {
        self.push(Kind::WrongValue, path, format!("found {}, expected {expected}", found.describe()));
    }

    /// A word that is not one of `words`.
    fn wrong_word(&mut self, path: &str, found: &Value, words: &[&str]) {
        let near = if let Value::Text(text) = found { nearest(text, words.iter().copied()) } else { None };
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let message = format!("found {}, expected {}{hint}", found.describe(), one_of(words));
        self.push(Kind::WrongValue, path, message);
    }

    /// Something else where a list is expected; a single word only lacks its brackets.
    fn wrong_list(&mut self, path: &str, found: &Value, expected: &str) {
        let message = format!("found {}, expected {expected}", found.describe());
        match found {
            Value::Text(_) => self.push_help(Kind::WrongValue, path, message, format!("write [{}]", found.describe())),
            _ => self.push(Kind::WrongValue, path, message),
        }
    }

    pub(super) fn duplicates(&mut self, path: &str, pairs: &Pairs) {
        let mut seen = BTreeSet::new();
        for (key, _) in pairs {
            if !seen.insert(key) {
                self.push(Kind::Conflict, &join(path, key), "the key stands here twice");
            }
        }
    }

    pub(super) fn op_types(&mut self, path: &str, value: &Value) -> Vec<TypePattern> {
        let expected = "\"default\", an op type, or a list of them";
        match value {
            Value::Text(text) => vec![TypePattern::new(text)],
            Value::List(items) if !items.is_empty() => {
                let texts = self.texts(path, items, "an op type");
                texts.into_iter().map(TypePattern::new).collect()
            }
            other => {
                self.wrong(path, other, expected);
                Vec::new()
            }
        }
    }

    pub(super) fn op_names(&mut self, path: &str, value: &Value) -> Vec<NamePattern> {
        let Value::List(items) = value else {
            self.wrong_list(path, value, "a list of names or globs");
            return Vec::new();
        };
        if items.is_empty() {
            self.wrong(path, value, "at least one name or glob");
        }
        let texts: Vec<(usize, &str)> = items
            .iter()
            .enumerate()
            .filter_map(|(i, item)| Some((i, self.text(path, i, item, "a name or glob")?)))
            .collect();
        let mut patterns = Vec::new();
        for (index, text) in texts {
            match NamePattern::new(text) {
                Ok(pattern) => {
                    self.count_globs(&format!("{path}[{index}]"), &pattern);
                    patterns.push(pattern);
                }
                Err(message) => {
                    let help = "write `\\` before a character that stands for itself";
                    self.push_help(Kind::Glob, &format!("{path}[{index}]"), message, help);
                }
            }
        }
        patterns
    }

    fn count_globs(&mut self, path: &str, pattern: &NamePattern) {
        self.globs += usize::from(pattern.glob().is_some());
        if self.globs == NamePattern::MOST_GLOBS + 1 && pattern.glob().is_some() {
            let message = format!("a config has at most {} globs", NamePattern::MOST_GLOBS);
            self.push_help(
                Kind::Glob,
                path,
                message,
                "exact names may be as many as you like; a wider glob takes several in",
            );
        }
    }

    fn text<'a>(&mut self, path: &str, index: usize, item: &'a Value, expected: &str) -> Option<&'a str> {
        match item {
            Value::Text(text) => Some(text),
            other => {
                self.wrong(&format!("{path}[{index}]"), other, expected);
                None
            }
        }
    }

    fn texts<'a>(&mut self, path: &str, items: &'a [Value], expected: &str) -> Vec<&'a str> {
        items.iter().enumerate().filter_map(|(index, item)| self.text(path, index, item, expected)).collect()
    }

    /// `Err` if the kinds could not be read, and that was reported.
    pub(super) fn quant_types(&mut self, path: &str, value: &Value) -> Result<Vec<QuantType>, ()> {
        let Value::List(items) = value else {
            self.wrong_list(path, value, &format!("a list of {}", one_of(&KIND_WORDS)));
            return Err(());
        };
        if items.is_empty() {
            self.wrong(path, value, &format!("at least one of {}", one_of(&KIND_WORDS)));
        }
        let before = self.errors.len();
        let mut kinds = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{path}[{index}]");
            let kind = self.text(path, index, item, "a quant_type").and_then(|text| self.kind(&at, text));
            kinds.extend(kind.filter(|kind| !kinds.contains(kind)));
        }
        if self.errors.len() == before { Ok(kinds) } else { Err(()) }
    }

    fn kind(&mut self, path: &str, text: &str) -> Option<QuantType> {
        let found = KINDS.into_iter().find(|kind| kind.to_string() == text);
        if found.is_none() && text == "bias" {
            let message = format!("found \"bias\", expected {}", one_of(&KIND_WORDS));
            self.push_help(Kind::WrongValue, path, message, "a bias stays in float");
        } else if found.is_none() {
            self.wrong_word(path, &Value::Text(text.to_owned()), &KIND_WORDS);
        }
        found
    }

    pub(super) fn boolean(&mut self, path: &str, value: &Value) -> Option<bool> {
        match value {
            Value::Bool(value) => Some(*value),
            other => {
                self.wrong(path, other, "true or false");
                None
            }
        }
    }

    /// One value for all kinds, or a map.
    pub(super) fn per_kind<T: Copy>(
        &mut self,
        path: &str,
        value: &Value,
        expected: &str,
        read: impl Fn(&mut Self, &str, &Value) -> Option<T>,
    ) -> PerKind<T> {
        match value {
            Value::Map(pairs) => {
                self.duplicates(path, pairs);
                let mut values = PerKind::none();
                for (key, value) in pairs {
                    let at = join(path, key);
                    if let (Some(kind), Some(value)) = (self.kind(&at, key), read(self, &at, value)) {
                        values.set(kind, value);
                    }
                }
                values
            }
            Value::List(_) | Value::Null | Value::Text(_) => {
                self.wrong(path, value, expected);
                PerKind::none()
            }
            single => read(self, path, single).map_or(PerKind::none(), PerKind::all),
        }
    }

    /// The bits that the quantizer knows.
    pub(super) fn bits(&mut self, path: &str, value: &Value) -> Option<u32> {
        let Value::Int(number) = value else {
            self.wrong(path, value, "an integer");
            return None;
        };
        let known = self.quantizer.row().bits;
        let bits = u32::try_from(*number).ok().filter(|bits| known.contains(*bits));
        if bits.is_none() {
            let expected = known.words;
            self.push(Kind::OutOfRange, path, format!("{number} is out of range, expected {expected}"));
        }
        bits
    }

    pub(super) fn count(&mut self, path: &str, value: &Value) -> u64 {
        match value {
            Value::Int(number) => u64::try_from(*number).unwrap_or_else(|_| {
                self.push(Kind::OutOfRange, path, format!("{number} is out of range, expected 0 or more"));
                0
            }),
            other => {
                self.wrong(path, other, "an integer, 0 or more");
                0
            }
        }
    }

    pub(super) fn decay(&mut self, path: &str, value: &Value) -> f64 {
        let number = match value {
            Value::Float(number) => *number,
            // 0 and 1 are out of range like every other integer.
            Value::Int(number) if *number > 0 => f64::INFINITY,
            Value::Int(_) => f64::NEG_INFINITY,
            other => {
                self.wrong(path, other, "a number between 0 and 1");
                return 0.5;
            }
        };
        if !(number > 0.0 && number < 1.0) {
            let found = value.describe();
            self.push(Kind::OutOfRange, path, format!("{found} is out of range, expected more than 0 and less than 1"));
        }
        number
    }

    pub(super) fn word<T: Copy + Default>(&mut self, path: &str, value: &Value, words: &[(&str, T)]) -> T {
        self.one_word(path, value, words).unwrap_or_default()
    }

    pub(super) fn one_word<T: Copy>(&mut self, path: &str, value: &Value, words: &[(&str, T)]) -> Option<T> {
        if let Value::Text(text) = value
            && let Some((_, found)) = words.iter().find(|(word, _)| word == text)
        {
            return Some(*found);
        }
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.wrong_word(path, value, &names);
        None
    }

    pub(super) fn per_channel(&mut self, path: &str, value: &Value) -> PerChannel {
        match value {
            Value::Bool(false) => PerChannel::Never,
            Value::Bool(true) => PerChannel::Always,
            Value::Text(text) if text == "auto" => PerChannel::Auto,
            other => {
                self.wrong(path, other, "true, false or \"auto\"");
                PerChannel::default()
            }
        }
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
