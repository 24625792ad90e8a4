//! What comes of a trained model: its sites as a plan for another form of output.

use crate::codes;
use crate::late::{self, Before};
use crate::plan::{Decision, Emit, Gradient, NoSuchForm, PLAN_VERSION, Plan, QuantType, Quantizer, Settings, Site};

/// Whether a trained model can take this form.
///
/// # Errors
/// `training` is what it has.
pub fn check_form(emit: Emit) -> Result<(), NoSuchForm> {
    if emit != Emit::Training {
        return Ok(());
    }
    let (why, help) = ("is what is frozen, not what comes out", "use `inference`, `baked` or `packed`");
    Err(NoSuchForm { emit, why: why.to_owned(), help: help.to_owned() })
}

/// What becomes of a tensor that was quantized while the model was trained.
pub fn decision(kind: QuantType, settings: Settings, emit: Emit) -> Decision {
    match emit.weights_only() {
        Some(reason) if kind != QuantType::Weight => Decision::Skip(reason),
        _ if kind == QuantType::Weight && emit.too_wide(&settings).is_some() => {
            Decision::skip(codes::BITS_PACKED, "codes of more than 8 bits do not fit; the weight is float now")
        }
        _ => Decision::Quantize(settings),
    }
}

/// The plan of these sites; `quantizer` is theirs, where they say so, and `before` are the start steps that have not come.
pub fn plan(
    quantizer: Option<Quantizer>,
    emit: Emit,
    sites: Vec<Site>,
    before: impl IntoIterator<Item = Before>,
) -> Plan {
    let warnings = late::warning(&sites, before).into_iter().collect();
    let quantizer = quantizer.unwrap_or(Quantizer::Qat);
    let (version, gradient) = (PLAN_VERSION, Gradient::default());
    let (prepared, folds) = (Vec::new(), Vec::new());
    Plan { version, quantizer, emit, gradient, sites, prepared, folds, warnings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_cannot_hold_is_float() {
        let settings = Settings::new(Quantizer::Qat, 16);
        let code = |kind, emit| match decision(kind, settings, emit) {
            Decision::Skip(reason) => Some(reason.code),
            Decision::Quantize(_) => None,
        };
        assert_eq!(code(QuantType::Weight, Emit::Packed).as_deref(), Some("bits-packed"));
        assert_eq!(code(QuantType::Weight, Emit::Baked), None);
        assert_eq!(code(QuantType::Output, Emit::Packed).as_deref(), Some("weights-only"));
        assert_eq!(code(QuantType::Output, Emit::Inference), None);
        assert!(check_form(Emit::Training).is_err() && check_form(Emit::Inference).is_ok());
    }
}
