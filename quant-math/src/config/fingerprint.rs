//! A short text for what of a config decides calibration.

use serde_json::{Value, json};

use super::ConfigList;
use crate::plan::QuantType;
use crate::ranges::fingerprint;

impl ConfigList {
    /// `crc32c:<8 hex digits>:<bytes>` of the parts of this config that decide which activations are calibrated and how, as JSON
    /// without spaces: which ops each entry matches, and bits, symmetry, observer and decay of its inputs and outputs.
    ///
    /// Two configs with the same fingerprint give the same ranges on the same model and data; what they do with weights, and how
    /// their text was written, does not matter.
    pub fn calibration_fingerprint(&self) -> String {
        let text = Value::Array(self.entries.iter().map(|entry| self.part_of(entry)).collect()).to_string();
        fingerprint(crc32c::crc32c(text.as_bytes()), text.len() as u64)
    }

    fn part_of(&self, entry: &super::Entry) -> Value {
        let tensor = |kind| {
            let settings = entry.settings(self.quantizer, kind, 0)?;
            Some(json!([settings.bits, settings.symmetric, settings.observer, settings.ema_decay]))
        };
        let words = |key: Option<Vec<&str>>| json!(key);
        json!([
            words(entry.op_types.as_ref().map(|_| entry.op_types().collect())),
            words(entry.op_names.as_ref().map(|_| entry.op_names().collect())),
            entry.exclude,
            self.quantizer,
            tensor(QuantType::Input),
            tensor(QuantType::Output),
        ])
    }
}

#[cfg(test)]
mod tests {
    use crate::Quantizer;
    use crate::config::ConfigList;

    fn of(text: &str) -> String {
        ConfigList::parse(text, Some(Quantizer::Qat)).unwrap().calibration_fingerprint()
    }

    #[test]
    fn what_calibration_does_not_see_does_not_count() {
        let first = of("[{'quant_types': ['weight', 'output'], 'quant_bits': 8, 'op_types': ['Relu6']}]");
        let same = of("[{quant_types: ['output', 'weight'], quant_bits: {weight: 4, output: 8}, op_types: ['Relu6']}]");
        assert_eq!(first, same);
        for other in [
            "[{quant_types: ['weight', 'output'], quant_bits: 4, op_types: ['Relu6']}]",
            "[{quant_types: ['weight', 'input'], quant_bits: 8, op_types: ['Relu6']}]",
            "[{quant_types: ['weight', 'output'], quant_bits: 8, op_types: ['Relu']}]",
            "[{quant_types: ['weight', 'output'], quant_bits: 8, op_names: ['Relu6']}]",
            "[{quant_types: ['weight', 'output'], quant_bits: 8, op_types: ['Relu6'], observer: 'mse'}]",
            "[{quant_types: ['weight', 'output'], quant_bits: 8, op_types: ['Relu6'], symmetric: {output: true}}]",
            "[{quant_types: ['weight', 'output'], quant_bits: 8, op_types: ['Relu6'], ema_decay: 0.5}]",
            "[{quant_types: ['weight', 'output'], quant_bits: 8, op_types: ['Relu6']}, {op_names: ['a'], exclude: true}]",
        ] {
            assert_ne!(of(other), first, "{other}");
        }
    }
}
