//! Why a tensor stays in float, where the reason is the same in both frameworks.

use super::{Decision, Emit, QuantType, Quantizer, Reason, Rounding, Settings, Site};
use crate::codes::{self, Code};
use crate::config::OpFacts;
use crate::quantizers::table::StepSource;

impl Decision {
    /// Leave it in float.
    pub fn skip(code: &Code, text: impl Into<String>) -> Self {
        Self::Skip(Reason::new(code, text))
    }
}

impl Site {
    /// A tensor of an op, with what is decided about it.
    pub fn new(op: &OpFacts<'_>, kind: QuantType, tensor: impl Into<String>, decision: Decision) -> Self {
        Self {
            op: op.name.to_owned(),
            op_type: op.op_type.to_owned(),
            kind,
            tensor: tensor.into(),
            dtype: None,
            shape: None,
            decision,
            range: None,
            steps: None,
        }
    }
}

impl Emit {
    /// Why this form leaves everything in float that is no weight.
    pub fn weights_only(self) -> Option<Reason> {
        let text = || format!("`--emit {self}` quantizes weights only");
        matches!(self, Self::Baked | Self::Packed).then(|| Reason::new(codes::WEIGHTS_ONLY, text()))
    }

    /// Why this form, which has ops for it, cannot round a weight as it should be.
    pub fn cannot_round(self, settings: &Settings) -> Option<Reason> {
        let by_ops = matches!(self, Self::Inference | Self::Training);
        let text = "fake-quant ops round to nearest; `--emit baked` and `--emit packed` can truncate";
        (by_ops && settings.rounding == Rounding::Truncate).then(|| Reason::new(codes::ROUNDING_NEEDS_VALUES, text))
    }
}

impl Settings {
    /// Why a tensor of this kind stays as it is with so many bits.
    pub fn no_change(&self, kind: QuantType) -> Option<Reason> {
        let what = match kind {
            QuantType::Weight => "weight",
            QuantType::Input | QuantType::Output => "activation",
            QuantType::Gradient => "gradient",
        };
        self.changes_nothing().then(|| Reason::new(codes::BITS_32, format!("32 bits leave the {what} as it is")))
    }
}

/// Why an op has no site of kind `weight`.
pub fn no_weight(op_type: &str) -> Reason {
    Reason::new(codes::NO_WEIGHT, format!("ops of type `{op_type}` have no weight"))
}

/// Why an op has no site of kind `input`.
pub fn no_activation(op_type: &str) -> Reason {
    Reason::new(codes::NO_ACTIVATION, format!("ops of type `{op_type}` read no activation"))
}

/// Why nothing of a model can be measured by a config of this quantizer, and the way out; `unmatched` is what of it matches none of its ops.
pub fn nothing_to_measure(quantizer: Quantizer, unmatched: &[Reason]) -> (String, &'static str) {
    let without = "leave the calibration out: no form of this quantizer takes ranges";
    match quantizer.row().steps {
        StepSource::Levels => ("DoReFa's activations need no ranges: they are clipped to [0, 1]".to_owned(), without),
        StepSource::Learnt => ("LSQ's activations need no ranges: training learns their steps".to_owned(), without),
        StepSource::Range => {
            // A misspelt name is the likeliest cause, and what is nearest to it the way out.
            let why = unmatched.first().map(|reason| format!(": {}", reason.text)).unwrap_or_default();
            let message = format!("the config names no activation of this model that can be measured{why}");
            (message, "name `input` or `output` in the config's `quant_types`; `plan MODEL --config C` shows the sites")
        }
    }
}
