//! What can go wrong with a SavedModel, a MetaGraph and their variables.

use std::borrow::Cow;

/// A model that is made of several parts, of which one is missing, is not chosen, or cannot be frozen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// No model of the kind that is read.
    #[error("this is {found}")]
    NoModel {
        /// What it is.
        found: Cow<'static, str>,
        /// What to do.
        help: Cow<'static, str>,
    },
    /// No meta graph is for what was asked, or several are for different things.
    #[error("{message}")]
    Tags {
        /// What was asked, and what is there.
        message: String,
        /// What to do.
        help: String,
    },
    /// No signature is the one that was asked for, or several could be meant.
    #[error("{message}")]
    Signature {
        /// What was asked, and what is there.
        message: String,
        /// What to do.
        help: String,
    },
    /// A node that means nothing, or something else, where variables are constants.
    #[error("`{node}` ({op}) cannot be frozen: {why}")]
    Freeze {
        /// The node, with its function in front.
        node: String,
        /// Its op.
        op: String,
        /// What it does.
        why: String,
        /// What to do.
        help: Cow<'static, str>,
    },
    /// A function that calls itself, or calls too deep.
    #[error("the function `{function}` {what}")]
    Calls {
        /// Its name.
        function: String,
        /// What it calls.
        what: String,
    },
}

impl ContainerError {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoModel { .. } => "E0901",
            Self::Tags { .. } => "E0902",
            Self::Signature { .. } => "E0903",
            Self::Freeze { .. } => "E0904",
            Self::Calls { .. } => "E0905",
        }
    }

    /// The way out.
    pub fn help(&self) -> Cow<'static, str> {
        match self {
            Self::NoModel { help, .. } | Self::Freeze { help, .. } => help.clone(),
            Self::Tags { help, .. } | Self::Signature { help, .. } => help.clone().into(),
            Self::Calls { .. } => {
                "TensorFlow does not run such a function either: make the model again without it".into()
            }
        }
    }
}
