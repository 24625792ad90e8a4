//! What a `training` graph can learn: a range follows the batches of a training one by one, and keeps nothing of them but two ends.

use std::fmt;

use super::ConfigList;
use crate::plan::{Emit, Observer, QuantType};

/// An observer that a training cannot follow, and the entry that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotLearnable {
    /// The entry's index.
    pub entry: usize,
    /// The observer.
    pub observer: Observer,
}

impl NotLearnable {
    /// The way out.
    pub fn help(&self) -> &'static str {
        "leave `observer` out, or measure the ranges (`--calibrate` or `--ranges`) for `--emit inference`"
    }
}

impl fmt::Display for NotLearnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, observer } = self;
        write!(
            f,
            "learns ranges by a moving average (`ema`, where no observer is named) or by the smallest and largest value (`minmax`), but \
             config_list[{entry}].observer asks for `{observer}`, which needs the whole distribution"
        )
    }
}

impl ConfigList {
    /// The first entry whose `observer` a training cannot follow.
    pub fn not_learnable(&self) -> Option<NotLearnable> {
        let of = |entry: usize, kind| {
            let settings = self.entries.get(entry)?.settings_in(Emit::Training, self.quantizer, kind, entry)?;
            (!settings.observer.is_learnable()).then_some(NotLearnable { entry, observer: settings.observer })
        };
        (0..self.entries.len())
            .find_map(|entry| [QuantType::Input, QuantType::Output].into_iter().find_map(|kind| of(entry, kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quantizer;

    fn config(quantizer: Quantizer, keys: &str) -> ConfigList {
        let text =
            format!("[{{op_types: ['Relu'], quant_types: ['output'], quant_bits: 8}}, {{op_names: ['a'], {keys}}}]");
        ConfigList::parse(&text, Some(quantizer)).unwrap()
    }

    #[test]
    fn what_needs_a_histogram_is_not_learnable() {
        for (observer, learnable) in
            [("minmax", true), ("ema", true), ("percentile", false), ("entropy", false), ("mse", false)]
        {
            for kind in ["input", "output"] {
                let keys = format!("quant_types: ['{kind}'], quant_bits: 8, observer: '{observer}'");
                let found = config(Quantizer::Qat, &keys).not_learnable();
                assert_eq!(found.is_none(), learnable, "{keys}");
                assert!(found.is_none_or(|found| found.entry == 1 && found.observer.to_string() == observer), "{keys}");
            }
            // Where the key has no effect, it stands in nobody's way.
            let weight = format!("quant_types: ['weight'], quant_bits: 8, observer: '{observer}'");
            assert_eq!(config(Quantizer::Qat, &weight).not_learnable(), None);
            assert_eq!(
                config(Quantizer::DoReFa, &format!("quant_bits: 8, observer: '{observer}'")).not_learnable(),
                None
            );
        }
    }

    #[test]
    fn a_range_that_is_learnt_says_how() {
        let observer = |keys: &str, emit| {
            let config = config(Quantizer::Qat, &format!("quant_types: ['weight', 'output'], quant_bits: 8, {keys}"));
            let of = |kind| config.entries[1].settings_in(emit, Quantizer::Qat, kind, 1).unwrap().observer;
            (of(QuantType::Weight), of(QuantType::Output))
        };
        assert_eq!(observer("", Emit::Training), (Observer::MinMax, Observer::Ema));
        assert_eq!(observer("observer: 'minmax'", Emit::Training), (Observer::MinMax, Observer::MinMax));
        assert_eq!(observer("", Emit::Inference), (Observer::MinMax, Observer::MinMax));
        assert_eq!(observer("observer: 'mse'", Emit::Inference), (Observer::MinMax, Observer::Mse));
    }
}
