//! Why there is no plan for what was asked.

use std::borrow::Cow;

use super::{NoSuchForm, PlanFaults, Quantizer, Reason};

/// Why no plan comes of a request and a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// The form of output does not exist for the request.
    #[error(transparent)]
    Form(#[from] NoSuchForm),
    /// The config is for another quantizer than the one that was called.
    #[error("the config_list is for {found}, expected {expected}")]
    Quantizer {
        /// The config's quantizer.
        found: Quantizer,
        /// The one that was called.
        expected: Quantizer,
    },
    /// The ranges are of another model.
    #[error("ranges file: {0}")]
    Ranges(String),
    /// Activations, as `op (kind)`, that need a range and have none.
    #[error("{} activation site(s) have no range: {}", .0.len(), first_names(.0))]
    MissingRanges(Vec<String>),
    /// Parts of the config match nothing, where that is forbidden.
    #[error("{}", .0.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("\n"))]
    Unmatched(Vec<Reason>),
    /// The plan that was written down is wrong, or does not fit the model.
    #[error(transparent)]
    Written(#[from] PlanFaults),
}

impl NoPlan {
    /// The way out; how ranges are got is for the adapter to say.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Form(no) => Some(no.help.clone().into()),
            Self::Ranges(_) => Some("ranges belong to one model: measure them on this one".into()),
            Self::Unmatched(_) => Some("without `--strict` this is a warning".into()),
            Self::Written(faults) => Some(faults.help().into()),
            Self::Quantizer { .. } | Self::MissingRanges(_) => None,
        }
    }

    /// Whether the request is wrong, whatever the model is; else the files do not fit together.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Ranges(_))
    }
}

/// A list of names that may be long.
pub fn first_names(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..7).map(|number| format!("`n{number}` (input)")).collect();
        assert_eq!(
            NoPlan::MissingRanges(names.clone()).to_string(),
            "7 activation site(s) have no range: `n0` (input), `n1` (input), `n2` (input), `n3` (input), `n4` (input), and 2 more"
        );
        assert_eq!(first_names(&names[..1]), "`n0` (input)");
    }
}
