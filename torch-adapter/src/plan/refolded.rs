//! Ranges that were measured while other batch normalizations were in the layers before them: what is between such a pair was another tensor then.

use std::collections::BTreeSet;

use quant_math::QuantType;
use quant_math::fold::{Folded, layers};
use quant_math::ranges::{Ranges, SiteRange};

/// The ranges without those of tensors that are others now. `None` where none is.
pub(super) fn still_true(ranges: &Ranges, folds: &[Folded]) -> Option<Ranges> {
    let own: BTreeSet<&str> = layers(folds).collect();
    let then: BTreeSet<&str> = ranges.folded.iter().map(String::as_str).collect();
    let differing: BTreeSet<&str> = own.symmetric_difference(&then).copied().collect();
    if differing.is_empty() {
        return None;
    }
    let behind = folds.iter().filter(|fold| fold.layer.as_deref().is_some_and(|layer| differing.contains(layer)));
    let norms: BTreeSet<&str> = behind.map(|fold| fold.norm.as_str()).collect();
    let is_between = |entry: &SiteRange| match entry.kind {
        QuantType::Output => differing.contains(entry.site.as_str()),
        QuantType::Input => norms.contains(entry.site.as_str()),
        QuantType::Weight | QuantType::Gradient => false,
    };
    let mut ranges = ranges.clone();
    ranges.ranges.retain(|entry| !is_between(entry));
    Some(ranges)
}
