//! What can go wrong where an archive is run.

use std::borrow::Cow;
use std::path::PathBuf;

/// An error of what runs an archive in PyTorch. [`RunError::code`] is stable; [`RunError::help`] says the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No Python with PyTorch was found.
    #[error("no Python with PyTorch was found; looked at {looked}")]
    NoTorch {
        /// The places, in the order in which they were looked at.
        looked: String,
    },
    /// Python ended before it was done.
    #[error("`{python}` ended before it was done: {message}")]
    Ended {
        /// The interpreter.
        python: PathBuf,
        /// Its last words.
        message: String,
    },
    /// PyTorch refused or failed.
    #[error("PyTorch cannot {action}: {message}")]
    Torch {
        /// What was asked of it.
        action: String,
        /// Its answer.
        message: String,
    },
    /// A data file that cannot be read, or is something else.
    #[error("data: {message}")]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
        /// What was expected.
        help: String,
    },
    /// Data and model, or options, do not fit together.
    #[error("{message}")]
    Request {
        /// What does not fit.
        message: String,
        /// What can be done.
        help: String,
    },
    /// Interrupted work that cannot be taken up.
    #[error("cannot resume: {message}")]
    Resume {
        /// What differs, or is missing.
        message: String,
        /// The file with the state.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} `{path}`: {message}")]
    Io {
        /// What was tried.
        action: String,
        /// With which file.
        path: PathBuf,
        /// The system's answer.
        message: String,
    },
    /// Numbers that are not finite came up while the archive ran.
    #[error("tensor `{tensor}` has a NaN or an infinity")]
    Infinite {
        /// The tensor, with the samples.
        tensor: String,
    },
    /// Numbers without a range.
    #[error("tensor `{tensor}`: {source}")]
    Math {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        r#source: quant_math::MathError,
    },
}

/// The one command that installs PyTorch where this program finds it.
pub const INSTALL: &str = "python3 -m pip install torch numpy";

impl RunError {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTorch { .. } => "T0801",
            Self::Ended { .. } => "T0802",
            Self::Torch { .. } => "T0803",
            Self::Data { .. } => "T0804",
            Self::Request { .. } => "T0805",
            Self::Resume { .. } => "T0806",
            Self::Io { .. } => "T0807",
            Self::Infinite { .. } => "T0808",
            Self::Math { source, .. } => source.code(),
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NoTorch { .. } => Some(
                format!(
                    "install it with `{INSTALL}`, or name an interpreter that has it with `--python`; `torch-adapter doctor` shows every \
                     place that is looked at; without PyTorch here, `calibrate --emit observe` writes an archive that measures wherever it is run"
                )
                .into(),
            ),
            Self::Data { help, .. } | Self::Request { help, .. } => Some(help.clone().into()),
            Self::Resume { .. } => Some("run without `--resume` to begin anew".into()),
            Self::Infinite { .. } => Some(
                "leave those samples out, or the op, with `exclude: true`; with `--resume` the work goes on where its state was last kept".into(),
            ),
            Self::Ended { .. } => Some("`calibrate` goes on with `--resume` where its state was last kept".into()),
            Self::Math { source, .. } => source.help(),
            Self::Torch { .. } => Some(
                "what it was given stands before its answer: give data of the shape and type that the model takes; `torch.jit.load` in Python says the same of the archive alone".into(),
            ),
            Self::Io { .. } => None,
        }
    }

    /// The file at fault, for a line `--> …`.
    pub fn location(&self) -> Option<String> {
        match self {
            Self::Data { path, .. } | Self::Resume { path, .. } => Some(path.display().to_string()),
            _ => None,
        }
    }
}
