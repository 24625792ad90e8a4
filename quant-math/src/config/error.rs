//! What can be wrong with a config.

use std::fmt;

/// The sort of a [`ConfigError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// The text is not JSON5, Python's additions included.
    Syntax,
    /// A key that does not exist.
    UnknownKey,
    /// A value of the wrong type, or a word that is not one of those expected.
    WrongValue,
    /// A number outside its range.
    OutOfRange,
    /// Something that must be there and is not.
    Missing,
    /// Two things that exclude each other.
    Conflict,
    /// A glob that cannot be read.
    Glob,
}

impl ConfigErrorKind {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(self) -> &'static str {
        match self {
            Self::Syntax => "C0101",
            Self::UnknownKey => "C0102",
            Self::WrongValue => "C0103",
            Self::OutOfRange => "C0104",
            Self::Missing => "C0105",
            Self::Conflict => "C0106",
            // C0107, C0109 and C0110 are warnings: `codes`.
            Self::Glob => "C0108",
        }
    }
}

/// One thing that is wrong with a config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ConfigError {
    /// The sort of error.
    pub kind: ConfigErrorKind,
    /// Where: the path of the key (`config_list[1].quant_bits.output`), or line and column for a syntax error.
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
    /// The way out, where there is one.
    pub help: Option<String>,
}

impl ConfigError {
    pub(super) fn new(kind: ConfigErrorKind, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, path: path.into(), message: message.into(), help: None }
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A stable code for scripts.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// Everything that is wrong with a config; at least one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    first: ConfigError,
    rest: Vec<ConfigError>,
}

impl ConfigErrors {
    /// `Err` if there is an error among `errors`.
    pub(super) fn check(errors: Vec<ConfigError>) -> Result<(), Self> {
        let mut errors = errors.into_iter();
        match errors.next() {
            Some(first) => Err(Self { first, rest: errors.collect() }),
            None => Ok(()),
        }
    }

    /// The errors, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The first error.
    pub fn first(&self) -> &ConfigError {
        &self.first
    }

    /// The code of the first error.
    pub fn code(&self) -> &'static str {
        self.first.code()
    }

    /// The first error's way out.
    pub fn help(&self) -> Option<&str> {
        self.first.help()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(first: ConfigError) -> Self {
        Self { first, rest: Vec::new() }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.rest.iter().try_for_each(|error| write!(f, "\n{error}"))
    }
}

impl std::error::Error for ConfigErrors {}
