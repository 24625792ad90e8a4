//! Why a weight cannot be quantized, in words.

use std::collections::BTreeSet;

use quant_math::plan::Reason;

use super::table::Keeper;
use super::value::How;
use crate::codes;

/// It stands in an object whose state only its own code understands.
pub(super) fn in_opaque(path: &str) -> Reason {
    let name = if path.is_empty() { "the model" } else { path };
    let text = format!("`{name}` packs its state in its own `__getstate__`, and what is in there is left as it is");
    Reason::new(codes::OPAQUE_STATE, text)
}

/// Which tensor it is shows when the model runs.
pub(super) fn chosen() -> Reason {
    Reason::new(
        codes::SHARED_TEXT,
        "one line of code runs it with several weights: which one shows when the model runs",
    )
}

/// It is in a form that torch keeps to itself.
pub(super) fn packed(call: &str, keeper: Keeper) -> Reason {
    match keeper {
        Keeper::Prepacked => Reason::new(
            codes::PREPACKED,
            format!(
                "`{call}` keeps its weight in a form of XNNPACK's own: quantize the archive from before `optimize_for_mobile`"
            ),
        ),
        Keeper::Quantized => {
            Reason::new(codes::ALREADY_QUANTIZED, format!("`{call}` is one of torch's integer kernels"))
        }
    }
}

/// It is computed of `names`, mostly of `first`.
pub(super) fn made(text: &str, how: &How, first: &str, names: &BTreeSet<String>) -> Reason {
    let others: Vec<String> = names.iter().filter(|name| *name != first).map(|name| format!("`{name}`")).collect();
    let others = others.join(" and ");
    match how {
        How::LowRankSum => Reason::new(
            codes::LOW_RANK_SUM,
            format!(
                "`{first}` plus a product of {others}, as LoRA adds it, is computed anew in every pass: add it into the weight and \
                 save the model again, or freeze it with `torch.jit.freeze`"
            ),
        ),
        How::Product | How::Call(_) => {
            let by = match how {
                How::Call(name) => format!("by `torch.{name}`"),
                _ => "as a product".to_owned(),
            };
            let with = if others.is_empty() { String::new() } else { format!(" and {others}") };
            let text = format!(
                "`{text}` is no parameter but computed in the code, {by}, of `{first}`{with}; `torch.jit.freeze` would compute it once"
            );
            Reason::new(codes::COMPUTED_WEIGHT, text)
        }
    }
}
