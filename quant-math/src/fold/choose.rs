//! Which of the batch normalizations that can be folded `auto` folds.

use crate::codes;
use crate::config::OpFacts;
use crate::plan::{Chooser, Chosen, QuantType, Reason};

/// Why the batch normalization behind a layer stays where it is by `auto`, if it does: the layer's weight `tensor` gets no scale for each
/// channel, which `has_scales` says of what is chosen for it.
pub fn refuses(
    chooser: &Chooser<'_>,
    layer: OpFacts<'_>,
    tensor: &str,
    has_scales: impl FnOnce(&Chosen) -> bool,
) -> Option<Reason> {
    let name = layer.name;
    let float =
        |why: &str| Some(Reason::new(codes::NORM_NOT_QUANTIZED, format!("the weight of `{name}` stays float: {why}")));
    let chosen = match chooser.about(layer).of(QuantType::Weight, tensor) {
        Ok(chosen) => chosen,
        Err(reason) => return float(&reason.text),
    };
    if let Some(reason) = chosen.settings.no_change(QuantType::Weight) {
        return float(&reason.text);
    }
    if has_scales(&chosen) {
        return None;
    }
    let text = format!("the weight of `{name}` has one scale for all channels, which fits a folded weight worse");
    Some(Reason::new(codes::NORM_PER_TENSOR, text))
}
