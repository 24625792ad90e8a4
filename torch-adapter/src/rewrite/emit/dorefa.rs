//! DoReFa-Net in TorchScript. It has no state: `training` and `inference` compute the same.

use quant_math::plan::Settings;

use crate::find::injected::{Class, Function};
use crate::find::mark::TrainingSite;
use crate::rewrite::edit::editor::Wrap;
use crate::rewrite::edit::value::NewValue;

/// `training`, weights.
pub(crate) fn training_weight(site: TrainingSite) -> Wrap {
    let bits = site.settings.bits;
    if bits == 1 {
        return Wrap::module(Class::DoReFaSign, Vec::new(), site);
    }
    Wrap::module(Class::DoReFaWeight, vec![NewValue::Int(levels(bits))], site)
}

/// `training`, activations.
pub(crate) fn training_activation(site: TrainingSite) -> Wrap {
    Wrap::module(Class::DoReFaActivation, vec![NewValue::Int(levels(site.settings.bits))], site)
}

/// `inference`, weights.
pub(crate) fn inference_weight(settings: &Settings) -> (Wrap, Option<Function>) {
    if settings.bits == 1 { call(Function::Sign, None) } else { call(Function::Weight, Some(settings.bits)) }
}

/// `inference`, activations.
pub(crate) fn inference_activation(settings: &Settings) -> (Wrap, Option<Function>) {
    call(Function::Activation, Some(settings.bits))
}

fn call(function: Function, bits: Option<u32>) -> (Wrap, Option<Function>) {
    let levels = bits.map_or_else(String::new, |bits| format!("{}, ", levels(bits)));
    let wrap =
        Wrap::Call { before: format!("{}(", function.qualified()), after: format!(", {levels})"), tensors: Vec::new() };
    (wrap, Some(function))
}

/// `n = 2^k − 1`.
fn levels(bits: u32) -> i64 {
    (1 << bits.min(8)) - 1
}
