//! The quantizers as a table: what a command line, a config, a plan and the documents say of each is read from its row.

use crate::plan::{Emit, QuantType, Quantizer, Rounding};

use Emit::{Baked, Inference, Packed, Training};
use QuantType::{Gradient, Input, Output, Weight};

/// A quantizer, as everything but its formula knows it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Row {
    /// The quantizer.
    pub quantizer: Quantizer,
    /// Its name on the command line and in JSON.
    pub name: &'static str,
    /// Its name in texts and tables.
    pub title: &'static str,
    /// The kinds of tensors that it quantizes.
    pub kinds: &'static [QuantType],
    /// What an entry of a config quantizes that has no `quant_types`; empty where every entry must name them.
    pub default_kinds: &'static [QuantType],
    /// The bits of its codes.
    pub bits: Bits,
    /// The bits of an entry that gives none; `None` where every entry must.
    pub default_bits: Option<u32>,
    /// Of the keys that not every quantizer reads, those that it does.
    pub keys: &'static [&'static str],
    /// What makes the steps of its weights.
    pub steps: StepSource,
    /// The forms of output that it has for a float model.
    pub forms: &'static [Emit],
    /// The form where none is asked for.
    pub default_form: DefaultForm,
    /// Why it lacks a form, and the way out; empty where it has all of them.
    pub lacks: (&'static str, &'static str),
}

/// Bits from `least` to `most`, and perhaps one number `beside` them, with which tensors stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    /// The fewest.
    pub least: u32,
    /// The most.
    pub most: u32,
    /// One more number.
    pub beside: Option<u32>,
    /// The same in words.
    pub words: &'static str,
}

/// What makes the steps between the values of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepSource {
    /// Its range, or that of each channel.
    Range,
    /// Training: they are variables or parameters of the model.
    Learnt,
    /// There are none: weights are mapped to fixed levels, of the tensor as a whole.
    Levels,
}

/// Which form of output a quantizer has where none is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultForm {
    /// Always this one.
    Always(Emit),
    /// `inference` where the ranges of all activations are known, else `training`.
    ByRanges,
}

/// 2 to 16 bits, which are the widths of TensorFlow's fake-quant ops.
const WIDE: Bits = Bits { least: 2, most: 16, beside: None, words: "2 to 16" };

/// Every quantizer, in the order of its variants.
static TABLE: [Row; 4] = [
    Row {
        quantizer: Quantizer::Naive,
        name: "naive",
        title: "Naive",
        kinds: &[Weight],
        default_kinds: &[Weight],
        bits: WIDE,
        default_bits: Some(8),
        keys: &["symmetric", "per_channel", "rounding"],
        steps: StepSource::Range,
        forms: &[Inference, Baked, Packed],
        default_form: DefaultForm::Always(Baked),
        lacks: (
            "does not exist for the naive quantizer, which quantizes after training",
            "train with `--quantizer qat`, or use `baked`, `packed` or `inference`",
        ),
    },
    Row {
        quantizer: Quantizer::Qat,
        name: "qat",
        title: "QAT",
        kinds: &[Weight, Input, Output],
        default_kinds: &[],
        bits: WIDE,
        default_bits: None,
        keys: &["quant_start_step", "symmetric", "per_channel", "ema_decay", "observer", "rounding"],
        steps: StepSource::Range,
        forms: &[Training, Inference, Baked, Packed],
        default_form: DefaultForm::ByRanges,
        lacks: ("", ""),
    },
    Row {
        quantizer: Quantizer::DoReFa,
        name: "dorefa",
        title: "DoReFa",
        kinds: &[Weight, Input, Output, Gradient],
        default_kinds: &[Weight],
        bits: Bits { least: 1, most: 8, beside: Some(32), words: "1 to 8, or 32" },
        default_bits: None,
        keys: &["seed"],
        steps: StepSource::Levels,
        forms: &[Training, Inference, Baked, Packed],
        default_form: DefaultForm::Always(Training),
        lacks: ("", ""),
    },
    Row {
        quantizer: Quantizer::Lsq,
        name: "lsq",
        title: "LSQ",
        kinds: &[Weight, Input, Output],
        default_kinds: &[],
        bits: Bits { least: 2, most: 8, beside: None, words: "2 to 8" },
        default_bits: None,
        keys: &["symmetric", "per_channel"],
        steps: StepSource::Learnt,
        forms: &[Training],
        default_form: DefaultForm::Always(Training),
        lacks: (
            "does not exist for the lsq quantizer before it is trained, since its steps are learnt",
            "train what `--emit training` writes, and `freeze` makes this form of it",
        ),
    },
];

impl Bits {
    /// Whether there are codes of so many bits.
    pub fn contains(self, bits: u32) -> bool {
        (self.least..=self.most).contains(&bits) || self.beside == Some(bits)
    }
}

impl Row {
    /// Whether it quantizes tensors of this kind.
    pub fn quantizes(&self, kind: QuantType) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether it has this form of output.
    pub fn has(&self, form: Emit) -> bool {
        self.forms.contains(&form)
    }

    /// Whether it reads a key that not every quantizer reads.
    pub fn reads(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }

    /// Why its weights cannot be rounded so. Every quantizer rounds to nearest.
    pub fn cannot_round(&self, rounding: Rounding) -> Option<String> {
        let name = self.name;
        match rounding {
            Rounding::Truncate if self.quantizer != Quantizer::Naive => {
                Some(format!("only naive truncates, {name} rounds to nearest"))
            }
            Rounding::Reconstruct if self.steps != StepSource::Range => {
                Some(format!("only naive and qat have the grids that reconstruction needs, {name} rounds to nearest"))
            }
            _ => None,
        }
    }

    /// Whether activations have ranges that can be measured.
    pub fn measures(&self) -> bool {
        self.reads("observer")
    }
}

impl Quantizer {
    /// Every quantizer.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + Clone {
        TABLE.iter().map(|row| row.quantizer)
    }

    /// Their names.
    pub fn names() -> Vec<&'static str> {
        TABLE.iter().map(|row| row.name).collect()
    }

    /// Those that have a form of output.
    pub fn with(form: Emit) -> impl Iterator<Item = Self> + Clone {
        TABLE.iter().filter(move |row| row.has(form)).map(|row| row.quantizer)
    }

    /// Those that quantize tensors of a kind.
    pub fn of(kind: QuantType) -> impl Iterator<Item = Self> + Clone {
        TABLE.iter().filter(move |row| row.quantizes(kind)).map(|row| row.quantizer)
    }

    /// What the table says of it.
    #[expect(clippy::indexing_slicing, reason = "the rows stand in the order of the variants, as a test shows")]
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// By its name, or by the name of NNI's class (`QAT_Quantizer`), in any case.
    pub fn named(text: &str) -> Option<Self> {
        let folded = text.to_ascii_lowercase().replace('_', "");
        let name = folded.strip_suffix("quantizer").unwrap_or(&folded);
        TABLE.iter().find(|row| row.name == name).map(|row| row.quantizer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_row_is_of_its_variant_and_fits_together() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.quantizer as usize, index, "{}", row.name);
            assert_eq!(serde_json::to_value(row.quantizer).unwrap(), row.name);
            assert_eq!(Quantizer::named(row.name), Some(row.quantizer));
            assert!(row.default_kinds.iter().all(|kind| row.quantizes(*kind)), "{}", row.name);
            assert!(row.default_bits.is_none_or(|bits| row.bits.contains(bits)), "{}", row.name);
            assert_eq!(row.forms.len() == 4, row.lacks.0.is_empty(), "{}", row.name);
            if let DefaultForm::Always(form) = row.default_form {
                assert!(row.has(form), "{}", row.name);
            }
            let words = BTreeSet::from([row.bits.least.to_string(), row.bits.most.to_string()]);
            assert!(words.iter().all(|word| row.bits.words.contains(word)), "{}", row.name);
        }
    }

    #[test]
    fn the_names_of_nni_are_known() {
        for (name, quantizer) in [
            ("NaiveQuantizer", Some(Quantizer::Naive)),
            ("QAT_Quantizer", Some(Quantizer::Qat)),
            ("DoReFaQuantizer", Some(Quantizer::DoReFa)),
            ("quantizer", None),
            ("BNNQuantizer", None),
        ] {
            assert_eq!(Quantizer::named(name), quantizer, "{name}");
        }
    }
}
