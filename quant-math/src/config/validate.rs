//! From values to entries: every key, its type, its range, and what must not stand together.

use super::ConfigList;
use super::checker::{Checker, OBSERVERS, Pairs, ROUNDINGS, join};
use super::entry::{DEFAULT_BITS, Entry, PerKind};
use super::error::{ConfigError, ConfigErrorKind as Kind, ConfigErrors};
use super::nearest::{nearest, one_of};
use super::per_channel::PerChannel;
use super::preset::{PRESETS, Preset};
use super::value::Value;
use crate::codes;
use crate::plan::{QuantType, Quantizer, Reason};
use crate::quantizers::table::StepSource;

/// The keys of an entry.
pub(super) const KEYS: [&str; 13] = [
    "op_types",
    "op_names",
    "exclude",
    "quant_types",
    "quant_bits",
    "q_bits",
    "quant_start_step",
    "symmetric",
    "per_channel",
    "ema_decay",
    "observer",
    "rounding",
    "seed",
];

/// The whole config: a list, or `{ quantizer, preset, config_list }`.
pub(super) fn config(
    value: &Value,
    quantizer: Option<Quantizer>,
    preset: Option<Preset>,
) -> Result<ConfigList, ConfigErrors> {
    let mut check = Checker { errors: Vec::new(), quantizer: quantizer.unwrap_or(Quantizer::Naive), preset, globs: 0 };
    let Wrapper { list, quantizer: named, preset: own } = match value {
        Value::List(_) => Wrapper { list: Some(value), ..Wrapper::default() },
        Value::Map(pairs) => check.wrapper(pairs),
        other => {
            check.wrong("config_list", other, "a list of entries, or a map with `quantizer` and `config_list`");
            Wrapper::default()
        }
    };
    match (preset, own) {
        (Some(given), Some(own)) if given != own => {
            let message = format!("the config has preset `{own}`, but `{given}` was asked for");
            check.push(Kind::Conflict, "preset", message);
        }
        (None, own) => check.preset = own,
        _ => {}
    }
    match (quantizer, named) {
        (Some(given), Some(named)) if given != named => {
            let message = format!("the config is for `{named}`, but `{given}` was asked for");
            check.push(Kind::Conflict, "quantizer", message);
        }
        (None, Some(named)) => check.quantizer = named,
        (None, None) if check.errors.is_empty() => {
            let error = ConfigError::new(Kind::Missing, "quantizer", "no quantizer is named");
            let words = Quantizer::names().join("|");
            let help = format!("give `--quantizer {words}`, or write {{ quantizer: …, config_list: […] }}");
            check.errors.push(error.with_help(help));
            // Without it no entry can be judged.
            ConfigErrors::check(check.errors)?;
            return Ok(ConfigList::default_for(Quantizer::Naive));
        }
        _ => {}
    }
    let items = match list {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    let entries = items.iter().enumerate().map(|(index, item)| check.entry(&format!("config_list[{index}]"), item));
    let entries = entries.collect();
    let quantizer = check.quantizer;
    ConfigErrors::check(check.errors)?;
    Ok(ConfigList { quantizer, entries })
}

/// What stands around the entries.
#[derive(Default)]
struct Wrapper<'a> {
    list: Option<&'a Value>,
    quantizer: Option<Quantizer>,
    preset: Option<Preset>,
}

impl Checker {
    /// `{ quantizer, preset, config_list }`.
    fn wrapper<'a>(&mut self, pairs: &'a Pairs) -> Wrapper<'a> {
        self.duplicates("", pairs);
        let Wrapper { mut list, mut quantizer, mut preset } = Wrapper::default();
        for (key, value) in pairs {
            match (key.as_str(), value) {
                ("config_list" | "configure_list", Value::List(_)) => list = Some(value),
                ("config_list" | "configure_list", other) => self.wrong("config_list", other, "a list of entries"),
                ("quantizer", value) => {
                    quantizer = if let Value::Text(text) = value { Quantizer::named(text) } else { None };
                    if quantizer.is_none() {
                        self.wrong("quantizer", value, &one_of(&Quantizer::names()));
                    }
                }
                ("preset", value) => preset = self.one_word("preset", value, &PRESETS),
                (key, _) if KEYS.contains(&key) => {
                    let message = "a key of an entry, outside of a list";
                    self.push_help(Kind::UnknownKey, key, message, "put the entry into a list: [ { … } ]");
                }
                (key, _) => self.unknown(key, key, &["quantizer", "preset", "config_list"]),
            }
        }
        if list.is_none() && self.errors.is_empty() {
            self.push(Kind::Missing, "config_list", "is missing, expected a list of entries");
        }
        Wrapper { list, quantizer, preset }
    }

    fn unknown(&mut self, path: &str, key: &str, known: &[&str]) {
        match (foreign_key(key), nearest(key, known.iter().copied())) {
            (Some(help), _) => self.push_help(Kind::UnknownKey, path, "unknown key", help),
            (None, Some(near)) => self.push(Kind::UnknownKey, path, format!("unknown key; did you mean `{near}`?")),
            (None, None) => {
                let help = format!("the keys are {}", known.join(", "));
                self.push_help(Kind::UnknownKey, path, "unknown key", help);
            }
        }
    }

    fn entry(&mut self, path: &str, value: &Value) -> Entry {
        let mut entry = Entry::empty(self.quantizer, self.preset);
        let Value::Map(pairs) = value else {
            self.wrong(path, value, "a map such as { op_types: \"default\", quant_bits: 8 }");
            return entry;
        };
        self.duplicates(path, pairs);
        let mut given = Given::default();
        for (key, value) in pairs {
            let at = join(path, key);
            match key.as_str() {
                "op_types" => entry.op_types = Some(self.op_types(&at, value)),
                "op_names" => entry.op_names = Some(self.op_names(&at, value)),
                "exclude" => entry.exclude = self.boolean(&at, value).unwrap_or_default(),
                "quant_types" => {
                    given.kinds = Some(self.quant_types(&at, value));
                }
                "quant_bits" => {
                    given.quant_bits = true;
                    let before = self.errors.len();
                    entry.bits = self.per_kind(&at, value, "an integer, or a map per quant_type", Self::bits);
                    given.broken_bits = self.errors.len() > before;
                }
                "q_bits" => {
                    given.q_bits = true;
                    if let Some(bits) = self.bits(&at, value) {
                        entry.bits = PerKind::all(bits);
                    }
                }
                "quant_start_step" => entry.quant_start_step = self.count(&at, value),
                "symmetric" => {
                    entry.symmetric = self.per_kind(&at, value, "true, false, or a map per quant_type", Self::boolean);
                }
                "per_channel" => entry.per_channel = self.per_channel(&at, value),
                "ema_decay" => entry.ema_decay = self.decay(&at, value),
                "observer" => entry.observer = Some(self.word(&at, value, &OBSERVERS)),
                "rounding" => entry.rounding = self.word(&at, value, &ROUNDINGS),
                "seed" => entry.seed = self.count(&at, value),
                _ => self.unknown(&at, key, &KEYS),
            }
        }
        self.together(path, pairs, &mut entry, given);
        entry
    }

    /// What depends on more than one key.
    fn together(&mut self, path: &str, pairs: &Pairs, entry: &mut Entry, given: Given) {
        // A misspelt key was told already; that the right one is missing would be noise.
        let has = |key: &str| pairs.iter().any(|(given, _)| given == key || misspelt(given) == Some(key));
        if !has("op_types") && !has("op_names") {
            let help = "for every default op write op_types: \"default\"";
            self.push_help(Kind::Missing, path, "neither `op_types` nor `op_names` is given", help);
        }
        if given.q_bits && given.quant_bits {
            let message = "`quant_bits` is given too, and both mean the same";
            self.push(Kind::Conflict, &join(path, "q_bits"), message);
        }
        let quantizer = self.quantizer;
        let row = quantizer.row();
        if entry.exclude {
            if let Some(Ok(kinds)) = given.kinds {
                entry.quant_types = kinds;
            }
            return;
        }
        match given.kinds {
            Some(Ok(kinds)) => entry.quant_types = kinds,
            // Reported already; nothing more can be said about the kinds.
            Some(Err(())) => return,
            None if has("quant_types") => return,
            None if row.default_kinds.is_empty() => {
                let help = "for example quant_types: [\"weight\", \"output\"]";
                let message = format!("`quant_types` is missing, and {quantizer} has no default for it");
                self.push_help(Kind::Missing, path, message, help);
                return;
            }
            None => {}
        }
        for &kind in &entry.quant_types {
            self.kind_of_quantizer(path, kind);
        }
        if given.q_bits || given.quant_bits {
            let is_map = pairs.iter().any(|(key, value)| key == "quant_bits" && matches!(value, Value::Map(_)));
            for &kind in entry.quant_types.iter().filter(|_| is_map && !given.broken_bits) {
                if entry.bits.get(kind).is_none() {
                    self.push(Kind::Missing, &join(path, "quant_bits"), format!("no bits for quant_type `{kind}`"));
                }
            }
        } else if let Some(bits) = row.default_bits {
            entry.bits = PerKind::all(bits);
        } else if has("quant_bits") || has("q_bits") {
            entry.bits = PerKind::all(DEFAULT_BITS);
        } else {
            let help = "for example quant_bits: 8, or quant_bits: { weight: 4, output: 8 }";
            self.push_help(
                Kind::Missing,
                path,
                format!("`quant_bits` is missing, and {quantizer} has no default for it"),
                help,
            );
        }
        if !row.reads("per_channel") && entry.per_channel == PerChannel::Always {
            let message = format!("{quantizer} scales a tensor as a whole, expected false");
            self.push(Kind::Conflict, &join(path, "per_channel"), message);
        }
        // What channels save is known of ranges alone.
        if row.steps != StepSource::Range && entry.per_channel == PerChannel::Auto {
            entry.per_channel = PerChannel::Never;
        }
        if let Some(message) = row.cannot_round(entry.rounding) {
            self.push(Kind::Conflict, &join(path, "rounding"), message);
        }
        entry.warnings = no_effect(path, pairs, quantizer, entry);
    }

    fn kind_of_quantizer(&mut self, path: &str, kind: QuantType) {
        let row = self.quantizer.row();
        if row.quantizes(kind) {
            return;
        }
        let message = match row.kinds {
            [QuantType::Weight] => format!("{} quantizes weights alone, found `{kind}`", row.name),
            _ => format!("{} does not quantize {kind}s, found `{kind}`", row.name),
        };
        let names: Vec<_> = Quantizer::of(kind).map(|other| other.row().name).collect();
        let help = match (kind, names.as_slice()) {
            (QuantType::Gradient, [only]) => format!("{only} quantizes gradients"),
            (_, [first @ .., last]) => format!("{} and {last} quantize activations", first.join(", ")),
            (_, []) => String::new(),
        };
        self.push_help(Kind::Conflict, &join(path, "quant_types"), message, help);
    }
}

/// What was given, where the entry itself no longer says it.
#[derive(Default)]
struct Given {
    kinds: Option<Result<Vec<QuantType>, ()>>,
    quant_bits: bool,
    /// `quant_bits` could not be read, and that was reported.
    broken_bits: bool,
    q_bits: bool,
}

/// Keys of NNI's other versions, and what says the same here.
fn foreign_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "quant_dtype" => "the grid follows from `symmetric`: true is signed, false is unsigned",
        "quant_scheme" => "say it with `symmetric: true` or `false`, and `per_channel: true`",
        "granularity" => "say it with `per_channel: true`",
        "op_names_re" => "`op_names` takes globs, for example \"block_*/conv\"",
        "exclude_op_names" | "exclude_op_names_re" | "exclude_op_types" => "write a later entry with `exclude: true`",
        "target_names" | "target_settings" => "name the tensors with `quant_types`",
        "sparsity" | "total_sparsity" | "op_partial_names" => "this key belongs to NNI's pruners",
        _ => return None,
    })
}

/// The key that an unknown one was meant to be.
fn misspelt(key: &str) -> Option<&'static str> {
    if KEYS.contains(&key) || foreign_key(key).is_some() { None } else { nearest(key, KEYS) }
}

/// Warnings for keys that are right, but change nothing here.
fn no_effect(path: &str, pairs: &Pairs, quantizer: Quantizer, entry: &Entry) -> Vec<Reason> {
    let names = |kind: QuantType| entry.quant_types.contains(&kind);
    let activation = names(QuantType::Input) || names(QuantType::Output);
    let mut warnings = Vec::new();
    let mut warn = |key: &str, why: String| {
        warnings.push(Reason::new(codes::NO_EFFECT, format!("{}: has no effect, {why}", join(path, key))));
    };
    for (key, value) in pairs {
        match (key.as_str(), value) {
            ("quant_start_step" | "ema_decay" | "observer" | "symmetric", _) if !quantizer.row().reads(key) => {
                warn(key, format!("{quantizer} has no use for it"));
            }
            ("ema_decay" | "observer", _) if !activation => warn(key, "no input or output is quantized".to_owned()),
            ("symmetric", _)
                if quantizer.row().steps == StepSource::Learnt
                    && names(QuantType::Weight)
                    && entry.symmetric.get(QuantType::Weight) == Some(false) =>
            {
                warn(key, format!("the weights of {quantizer} are on the signed grid"));
            }
            ("seed", _) if !names(QuantType::Gradient) => warn(key, "no gradient is quantized".to_owned()),
            ("per_channel", Value::Bool(true)) if !names(QuantType::Weight) => {
                warn(key, "no weight is quantized".to_owned());
            }
            ("quant_bits" | "symmetric", Value::Map(kinds)) => {
                for (kind, _) in
                    kinds.iter().filter(|(kind, _)| !entry.quant_types.iter().any(|k| k.to_string() == *kind))
                {
                    warn(&format!("{key}.{kind}"), format!("`{kind}` is not among the quant_types"));
                }
            }
            _ => {}
        }
    }
    warnings
}
