//! A config as JSON again, with bits of their own for single ops.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::ConfigList;
use super::entry::{Entry, PerKind};
use super::pattern::NamePattern;
use super::per_channel::PerChannel;
use crate::plan::{QuantType, Quantizer};
use crate::quantizers::qat::DEFAULT_EMA_DECAY;
use crate::quantizers::table::StepSource;

/// The bits of an op's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpBits<'a> {
    /// The op's name.
    pub op: &'a str,
    /// The index of the entry that decides about it.
    pub entry: usize,
    /// Bits of a code; `None`: it stays float.
    pub bits: Option<u32>,
}

impl ConfigList {
    /// The config as JSON that [`ConfigList::parse`] reads, with its quantizer and what a preset has set, and behind its entries one for each number
    /// of bits that is another one than theirs: it names those of `ops` that have it, and says everything else of their weights and activations as
    /// the entry did that has decided.
    ///
    /// ```
    /// use quant_math::Quantizer;
    /// use quant_math::config::{ConfigList, OpBits};
    ///
    /// let config = ConfigList::default_for(Quantizer::Naive);
    /// let ops = [OpBits { op: "a", entry: 0, bits: Some(4) }, OpBits { op: "b", entry: 0, bits: None }];
    /// let written = config.with_bits(&ops);
    /// assert_eq!(written["config_list"][2], serde_json::json!({ "op_names": ["b"], "exclude": true }));
    /// assert_eq!(ConfigList::parse(&written.to_string(), None)?.entries.len(), 3);
    /// # Ok::<(), quant_math::config::ConfigErrors>(())
    /// ```
    pub fn with_bits(&self, ops: &[OpBits<'_>]) -> Value {
        let mut groups: BTreeMap<(usize, std::cmp::Reverse<Option<u32>>), Vec<String>> = BTreeMap::new();
        for OpBits { op, entry, bits } in ops {
            let own = self.entries.get(*entry).and_then(|entry| entry.bits.get(QuantType::Weight));
            if own != *bits {
                groups.entry((*entry, std::cmp::Reverse(*bits))).or_default().push(NamePattern::escaped(op));
            }
        }
        let own = self.entries.iter().map(|entry| entry.written(self.quantizer));
        let others = groups.into_iter().filter_map(|((entry, std::cmp::Reverse(bits)), names)| {
            let entry = self.entries.get(entry)?;
            Some(entry.written_for(self.quantizer, &names, bits))
        });
        json!({ "quantizer": self.quantizer, "config_list": own.chain(others).collect::<Vec<_>>() })
    }
}

impl Entry {
    fn written(&self, quantizer: Quantizer) -> Value {
        let mut keys = Map::new();
        let texts = |texts: Vec<&str>| Value::from(texts);
        if self.op_types.is_some() {
            keys.insert("op_types".to_owned(), texts(self.op_types().collect()));
        }
        if self.op_names.is_some() {
            keys.insert("op_names".to_owned(), texts(self.op_names().collect()));
        }
        self.how(quantizer, &self.quant_types, &self.bits, &mut keys);
        Value::Object(keys)
    }

    /// The same for these ops, whose weights have other bits.
    fn written_for(&self, quantizer: Quantizer, names: &[String], weight: Option<u32>) -> Value {
        let mut keys = Map::new();
        keys.insert("op_names".to_owned(), Value::from(names));
        let (mut kinds, mut bits) = (self.quant_types.clone(), self.bits);
        match weight {
            Some(weight) => bits.set(QuantType::Weight, weight),
            None => kinds.retain(|kind| *kind != QuantType::Weight),
        }
        if kinds.is_empty() {
            keys.insert("exclude".to_owned(), Value::Bool(true));
        } else {
            self.how(quantizer, &kinds, &bits, &mut keys);
        }
        Value::Object(keys)
    }

    /// Everything but which ops: the keys that have an effect.
    fn how(&self, quantizer: Quantizer, kinds: &[QuantType], bits: &PerKind<u32>, keys: &mut Map<String, Value>) {
        if self.exclude {
            keys.insert("exclude".to_owned(), Value::Bool(true));
            return;
        }
        let row = quantizer.row();
        let names = |kind: QuantType| kinds.contains(&kind);
        let activation = names(QuantType::Input) || names(QuantType::Output);
        let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
        put("quant_types", json!(kinds));
        put("quant_bits", of_kinds(kinds, |kind| bits.get(kind).map(Value::from)));
        if row.reads("symmetric") {
            let is_fixed = |kind: QuantType| kind == QuantType::Weight && row.steps == StepSource::Learnt;
            let symmetric =
                of_kinds(kinds, |kind| self.symmetric.get(kind).filter(|_| !is_fixed(kind)).map(Value::from));
            if symmetric.as_object().is_some_and(|symmetric| !symmetric.is_empty()) {
                put("symmetric", symmetric);
            }
        }
        if row.reads("per_channel") && names(QuantType::Weight) {
            let per_channel = match self.per_channel {
                PerChannel::Never => Value::Bool(false),
                PerChannel::Always => Value::Bool(true),
                PerChannel::Auto => Value::from("auto"),
            };
            put("per_channel", per_channel);
        }
        if row.reads("rounding") {
            put("rounding", json!(self.rounding));
        }
        if row.reads("quant_start_step") && self.quant_start_step > 0 {
            put("quant_start_step", Value::from(self.quant_start_step));
        }
        if row.reads("ema_decay") && activation && self.ema_decay.to_bits() != DEFAULT_EMA_DECAY.to_bits() {
            put("ema_decay", Value::from(self.ema_decay));
        }
        if let Some(observer) = self.observer.filter(|_| row.measures() && activation) {
            put("observer", json!(observer));
        }
        if names(QuantType::Gradient) && self.seed > 0 {
            put("seed", Value::from(self.seed));
        }
    }
}

/// A map from the kinds to what each has.
fn of_kinds(kinds: &[QuantType], of: impl Fn(QuantType) -> Option<Value>) -> Value {
    let pairs = kinds.iter().filter_map(|kind| Some((kind.to_string(), of(*kind)?)));
    Value::Object(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{OpFacts, Preset, Selection};

    /// What a config says of an op's tensor, but for the number of the entry.
    fn settings(config: &ConfigList, name: &str, op_type: &str, kind: QuantType) -> Option<crate::plan::Settings> {
        let op = OpFacts { name, other_name: None, op_type, is_default: op_type != "Relu6" };
        let Selection::Selected { entry, config: chosen } = config.select(&op) else { return None };
        let settings = chosen.settings(config.quantizer, kind, entry)?;
        Some(crate::plan::Settings { entry: 0, ..settings })
    }

    #[test]
    fn what_is_written_means_the_same_but_for_the_bits() {
        let cases: [(&str, Quantizer, Option<Preset>); 6] = [
            ("[{op_types: 'default', q_bits: 8}, {op_names: ['b*'], exclude: true}]", Quantizer::Naive, None),
            ("[{op_types: 'default'}, {op_names: ['c'], symmetric: false, per_channel: true}]", Quantizer::Naive, Some(Preset::Nni)),
            ("[{op_types: ['default', 'Relu6'], quant_types: ['weight', 'output'], quant_bits: {weight: 6, output: 8}, ema_decay: 0.5,
                quant_start_step: 7, symmetric: {output: true}, observer: 'mse', per_channel: false}]", Quantizer::Qat, None),
            ("[{op_types: 'default', quant_types: ['weight'], q_bits: 8, observer: 'ema', seed: 3}]", Quantizer::Qat, None),
            ("[{op_types: 'default', quant_types: ['weight', 'gradient', 'input'], q_bits: 8, seed: 3}]", Quantizer::DoReFa, None),
            ("[{op_types: 'default', quant_types: ['weight', 'input'], q_bits: 4, symmetric: false}]", Quantizer::Lsq, None),
        ];
        let names = ["a", "b1", "c", "[d]", "e{}*?\\"];
        let bits = [Some(8), Some(4), Some(3), None, Some(2)];
        for (text, quantizer, preset) in cases {
            let config = ConfigList::parse_on(text, Some(quantizer), preset).unwrap();
            let entry_of = |name: &str| {
                let op = OpFacts { name, other_name: None, op_type: "Conv2D", is_default: true };
                match config.select(&op) {
                    Selection::Selected { entry, .. } => Some(entry),
                    _ => None,
                }
            };
            let ops = names.iter().zip(bits).filter_map(|(op, bits)| Some(OpBits { op, entry: entry_of(op)?, bits }));
            let written = config.with_bits(&ops.collect::<Vec<_>>());
            let again = ConfigList::parse(&serde_json::to_string_pretty(&written).unwrap(), None).unwrap();
            assert_eq!(again.warnings(), [], "{written}");
            for (name, bits) in names.into_iter().zip(bits) {
                for kind in [QuantType::Weight, QuantType::Input, QuantType::Output, QuantType::Gradient] {
                    let mut expected = settings(&config, name, "Conv2D", kind);
                    if kind == QuantType::Weight {
                        expected =
                            expected.and_then(|expected| Some(crate::plan::Settings { bits: bits?, ..expected }));
                    }
                    assert_eq!(settings(&again, name, "Conv2D", kind), expected, "{name} {kind}: {written}");
                }
            }
            // What nobody has named stays as it was.
            for (name, op_type) in [("other", "Conv2D"), ("act", "Relu6"), ("b2", "MatMul")] {
                for kind in [QuantType::Weight, QuantType::Output] {
                    let expected = settings(&config, name, op_type, kind);
                    assert_eq!(settings(&again, name, op_type, kind), expected, "{name}: {written}");
                }
            }
            let same = config.with_bits(&[]);
            let same = ConfigList::parse(&same.to_string(), None).unwrap();
            let without = |config: &ConfigList| {
                let entries = config.entries.iter().cloned().map(|entry| Entry { warnings: Vec::new(), ..entry });
                entries
                    .map(|entry| (entry.op_types, entry.op_names, entry.exclude, entry.quant_types))
                    .collect::<Vec<_>>()
            };
            assert_eq!(without(&same), without(&config));
        }
    }
}
