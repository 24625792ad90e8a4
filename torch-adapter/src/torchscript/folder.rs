//! The two halves of an archive that hold tensors.

/// Which pickle a tensor stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Folder {
    /// `data.pkl` and `data/`.
    Data,
    /// `constants.pkl` and `constants/`.
    Constants,
}

impl Folder {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Constants => "constants",
        }
    }
}
