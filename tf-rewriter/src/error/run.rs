//! What can go wrong where a graph is run.

use std::borrow::Cow;
use std::path::PathBuf;

use super::{At, Error};

/// An error of what executes a graph. [`RunError::code`] is stable; [`RunError::help`] says the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// TensorFlow's library was not found.
    #[error("TensorFlow's library was not found; looked at {looked}")]
    NoTensorFlow {
        /// The places, in the order in which they were looked at.
        looked: String,
    },
    /// A library that cannot be used.
    #[error("`{path}` is no library of TensorFlow that can be used: {message}")]
    Library {
        /// The library.
        path: PathBuf,
        /// What the loader said, or what it lacks.
        message: String,
    },
    /// TensorFlow refused or failed.
    #[error("TensorFlow {on}cannot {action}: {message}")]
    TensorFlow {
        /// What was asked of it.
        action: String,
        /// ``at `grpc://host:port` ``, where it is not in this process; else empty.
        on: String,
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
    /// Variables, whose values are not in the graph.
    #[error("the variable `{node}` ({op}){} has no value in a graph by itself, expected constants", and_more(*.others))]
    Variable {
        /// The graph's file, where it has one.
        path: Option<PathBuf>,
        /// The first variable that an output needs.
        node: String,
        /// Its kind.
        op: String,
        /// How many more there are.
        others: usize,
        /// Its place.
        at: Box<At>,
        /// What can be done.
        help: String,
    },
    /// The graph's file changed while it was read.
    #[error("{source}")]
    Changed {
        /// The graph's file, where it has one.
        path: Option<PathBuf>,
        /// What happened to it.
        r#source: model_file::Changed,
    },
    /// Values of the graph that stand in a checkpoint, and are not what was stored there.
    #[error(transparent)]
    Values(Box<Error>),
    /// The operating system refused.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Numbers without a range or a quantized form.
    #[error("tensor `{tensor}`: {source}")]
    Math {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        r#source: quant_math::MathError,
    },
}

fn and_more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(", and {others} more,") }
}

/// The one command that installs TensorFlow where this program finds it.
pub const INSTALL: &str = "python3 -m pip install tensorflow-cpu";

impl RunError {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTensorFlow { .. } => "E0801",
            Self::Library { .. } => "E0802",
            Self::TensorFlow { .. } => "E0803",
            Self::Data { .. } => "E0804",
            Self::Request { .. } => "E0805",
            Self::Resume { .. } => "E0806",
            Self::Io { .. } => "E0807",
            Self::Variable { .. } => "E0808",
            Self::Changed { .. } => "E0105",
            Self::Math { source, .. } => source.code(),
            Self::Values(error) => error.code(),
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::NoTensorFlow { .. } => Some(
                format!("install it with `{INSTALL}`, or name its folder with `--tensorflow-dir`; `tf-rewriter doctor` shows every place that is looked at").into(),
            ),
            Self::Library { .. } => Some(
                format!("name a folder with TensorFlow 2 for this processor with `--tensorflow-dir`, or install it with `{INSTALL}`").into(),
            ),
            Self::Data { help, .. } | Self::Request { help, .. } | Self::Variable { help, .. } => Some(help.clone().into()),
            Self::Resume { .. } => Some("run without `--resume` to begin anew".into()),
            Self::TensorFlow { on, .. } if !on.is_empty() => {
                Some("see whether the server still runs; with `--resume` the work goes on where it stopped".into())
            }
            Self::Math { source, .. } => source.help(),
            Self::Values(error) => error.help(),
            Self::Changed { source, .. } => Some(source.help().into()),
            Self::TensorFlow { .. } | Self::Io { .. } => None,
        }
    }

    /// The file at fault, for a line `--> …`.
    pub fn location(&self) -> Option<String> {
        match self {
            Self::Data { path, .. } | Self::Resume { path, .. } => Some(path.display().to_string()),
            Self::Changed { path, .. } => path.as_ref().map(|path| path.display().to_string()),
            Self::Values(error) => error.location(),
            Self::Variable { path, at, .. } => Some(match path {
                Some(path) => format!("{}, {at}", path.display()),
                None => at.to_string(),
            }),
            _ => None,
        }
    }
}
