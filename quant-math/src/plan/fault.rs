//! What can be wrong with a plan that was written down.

use std::fmt;

/// The sort of a [`PlanFault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PlanFaultKind {
    /// Not JSON of this form, or a key that does not exist.
    Form,
    /// A later or unknown version.
    Version,
    /// A value that the quantizer or the form of output does not know.
    Value,
    /// A site that the model does not have.
    UnknownSite,
    /// A site that cannot be quantized as the plan says.
    Impossible,
    /// Two decisions about one tensor.
    Contradiction,
}

impl PlanFaultKind {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(self) -> &'static str {
        match self {
            Self::Form => "P0101",
            Self::Version => "P0102",
            Self::Value => "P0103",
            Self::UnknownSite => "P0104",
            Self::Impossible => "P0105",
            Self::Contradiction => "P0106",
        }
    }

    /// The way out.
    pub fn help(self) -> &'static str {
        match self {
            Self::Form | Self::Version => "`plan MODEL --json` writes one, which can be edited",
            Self::Value => "`schema` says what the settings mean and which values they have",
            Self::UnknownSite => "`plan MODEL --json` lists the sites of the model, with the names to use",
            Self::Impossible => "change its settings, or leave it in float: `{\"skip\": {\"code\": …, \"text\": …}}`",
            Self::Contradiction => "leave one of them",
        }
    }
}

/// One thing that is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct PlanFault {
    /// The sort.
    pub kind: PlanFaultKind,
    /// Where: the path of the key (``sites[3].decision.quantize.bits``), with the site's name.
    pub place: String,
    /// What was found and what was expected.
    pub message: String,
}

impl PlanFault {
    pub(super) fn new(kind: PlanFaultKind, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, place: place.into(), message: message.into() }
    }
}

/// Everything that is wrong with a plan; at least one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFaults {
    first: PlanFault,
    rest: Vec<PlanFault>,
}

impl PlanFaults {
    /// `Err` if there is a fault among `faults`.
    pub(super) fn check(faults: Vec<PlanFault>) -> Result<(), Self> {
        let mut faults = faults.into_iter();
        match faults.next() {
            Some(first) => Err(Self { first, rest: faults.collect() }),
            None => Ok(()),
        }
    }

    /// `last` behind all of `before`.
    pub(super) fn ending(before: Vec<PlanFault>, last: PlanFault) -> Self {
        let mut faults = before.into_iter();
        match faults.next() {
            Some(first) => Self { first, rest: faults.chain([last]).collect() },
            None => last.into(),
        }
    }

    /// The faults, in the plan's order.
    pub fn iter(&self) -> impl Iterator<Item = &PlanFault> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The code of the first one.
    pub fn code(&self) -> &'static str {
        self.first.kind.code()
    }

    /// The first one's way out.
    pub fn help(&self) -> &'static str {
        self.first.kind.help()
    }
}

impl From<PlanFault> for PlanFaults {
    fn from(first: PlanFault) -> Self {
        Self { first, rest: Vec::new() }
    }
}

impl fmt::Display for PlanFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plan: {}", self.first)?;
        self.rest.iter().try_for_each(|fault| write!(f, "\nplan: {fault}"))
    }
}

impl std::error::Error for PlanFaults {}
