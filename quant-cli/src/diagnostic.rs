//! Errors and warnings as a person or a program reads them.

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use quant_math::MathError;
use quant_math::config::{ConfigError, ConfigErrors};
use quant_math::plan::{PlanFault, Reason};
use serde::Serialize;

use crate::printable::printable;
use model_file::atomic::AtomicError;

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What was asked for was not done.
    Error,
    /// It was done, and there is something to know.
    Warning,
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How grave it is.
    pub level: Level,
    /// A stable code.
    pub code: String,
    /// What was found and what was expected.
    pub message: String,
    /// File, node or record, byte offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The errors underneath, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

/// An error of one of the project's libraries.
pub trait Coded: Error {
    /// A stable code.
    fn code(&self) -> &str;
    /// The way out.
    fn help(&self) -> Option<Cow<'_, str>>;
    /// File, node or record, byte offset, where they are not in the message.
    fn location(&self) -> Option<String> {
        None
    }
}

impl Coded for AtomicError {
    fn code(&self) -> &str {
        self.code()
    }

    fn help(&self) -> Option<Cow<'_, str>> {
        self.help().map(Cow::Borrowed)
    }
}

impl Coded for MathError {
    fn code(&self) -> &str {
        self.code()
    }

    fn help(&self) -> Option<Cow<'_, str>> {
        self.help()
    }
}

impl Coded for ConfigError {
    fn code(&self) -> &str {
        self.code()
    }

    fn help(&self) -> Option<Cow<'_, str>> {
        self.help().map(Cow::Borrowed)
    }
}

impl Coded for PlanFault {
    fn code(&self) -> &str {
        self.kind.code()
    }

    fn help(&self) -> Option<Cow<'_, str>> {
        Some(self.kind.help().into())
    }
}

impl Diagnostic {
    /// An error from its code and message.
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Error, code, message.into())
    }

    /// A warning from its code and message.
    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, code, message.into())
    }

    fn new(level: Level, code: &str, message: String) -> Self {
        Self { level, code: code.to_owned(), message, location: None, help: None, causes: Vec::new() }
    }

    /// A library's error with the errors underneath it.
    pub fn from_error(error: &impl Coded) -> Self {
        let mut diagnostic = Self::error(error.code(), error.to_string());
        diagnostic.help = error.help().map(Cow::into_owned);
        diagnostic.location = error.location();
        diagnostic.with_causes_of(error)
    }

    /// Every error of a config, each with the config's file.
    pub fn from_config(errors: &ConfigErrors, file: Option<&str>) -> Vec<Self> {
        let one = |error| {
            let diagnostic = Self::from_error(error);
            match file {
                Some(file) => diagnostic.at(file),
                None => diagnostic,
            }
        };
        errors.iter().map(one).collect()
    }

    /// A warning that a plan, report or config carries.
    pub fn from_reason(reason: &Reason) -> Self {
        Self::warning(&reason.code, reason.text.clone())
    }

    /// With a location.
    #[must_use]
    pub fn at(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// With a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With the errors below `error`. One that says no more than the error above it is left out: some libraries give their source's text
    /// as their own.
    #[must_use]
    pub fn with_causes_of(mut self, error: &dyn Error) -> Self {
        let mut above = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if text != above {
                self.causes.push(text.clone());
            }
            above = text;
            source = cause.source();
        }
        self
    }

    /// With `error` and the errors below it as causes.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn Error) -> Self {
        self.causes.push(error.to_string());
        self.with_causes_of(error)
    }

    /// Write it for a person, with colours; a stream that strips them is the caller's.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let (word, colour) = match self.level {
            Level::Error => ("error", AnsiColor::Red),
            Level::Warning => ("warning", AnsiColor::Yellow),
        };
        let head = Style::new().bold().fg_color(Some(colour.into()));
        let mark = Style::new().bold().fg_color(Some(AnsiColor::Blue.into()));
        let helping = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
        let strong = Style::new().bold();
        writeln!(out, "{head}{word}[{}]{head:#}{strong}: {strong:#}{}", printable(&self.code), lines(&self.message))?;
        if let Some(location) = &self.location {
            writeln!(out, "  {mark}-->{mark:#} {}", lines(location))?;
        }
        for cause in &self.causes {
            writeln!(out, "  {strong}caused by:{strong:#} {}", lines(cause))?;
        }
        if let Some(help) = &self.help {
            writeln!(out, "  {helping}help:{helping:#} {}", lines(help))?;
        }
        Ok(())
    }

    /// Write it for a program: one JSON object on a line.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)
    }
}

/// Further lines stand under the first.
fn lines(text: &str) -> String {
    printable(text).replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Diagnostic {
        Diagnostic::error("E0203", "node `block1/conv/Conv2D` reads `block1/w:0`, which is not in the graph")
            .at("model.pb, node 118, offset 0x1f40")
            .help("is this a function body? try `--function NAME`")
    }

    fn text(diagnostic: &Diagnostic) -> String {
        let mut stream = anstream::StripStream::new(Vec::new());
        diagnostic.write_text(&mut stream).unwrap();
        String::from_utf8(stream.into_inner()).unwrap()
    }

    #[test]
    fn people_read_this_form() {
        assert_eq!(
            text(&example()),
            "error[E0203]: node `block1/conv/Conv2D` reads `block1/w:0`, which is not in the graph\n\
             \x20 --> model.pb, node 118, offset 0x1f40\n\
             \x20 help: is this a function body? try `--function NAME`\n"
        );
    }

    #[test]
    fn causes_and_further_lines_are_indented() {
        let cause = io::Error::other(AtomicError::Path { path: "x".into() });
        let diagnostic = Diagnostic::warning("W0001", "first\nsecond").caused_by(&cause);
        assert_eq!(
            text(&diagnostic),
            "warning[W0001]: first\n    second\n  caused by: `x` is not the path of a file\n"
        );
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Foreign(#[source] io::Error);
        let read = crate::side::read(std::path::Path::new("nosuch.json"), 1, false).unwrap_err();
        let below =
            Foreign(io::Error::other(AtomicError::Write { path: "x".into(), source: io::ErrorKind::NotFound.into() }));
        let causes = |error: &dyn Error| Diagnostic::error("E1", "cannot").caused_by(error).causes;
        assert_eq!(causes(&read), ["No such file or directory (os error 2)"]);
        assert_eq!(causes(&below), ["cannot write `x`", "entity not found"]);
        let in_file = model_file::InFile { path: "x".into(), error: Box::new(below) };
        assert_eq!(causes(&in_file), ["cannot write `x`", "entity not found"]);
    }

    #[test]
    fn programs_read_one_object_a_line() {
        let mut out = Vec::new();
        example().write_json(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"level":"error","code":"E0203","message":"node `block1/conv/Conv2D` reads `block1/w:0`, which is not in the graph","location":"model.pb, node 118, offset 0x1f40","help":"is this a function body? try `--function NAME`"}
"#
        );
    }

    #[test]
    fn a_hostile_name_cannot_steer_the_terminal() {
        let diagnostic = Diagnostic::error("E1", "node `\u{1b}]0;pwned\u{7}`");
        assert_eq!(text(&diagnostic), "error[E1]: node `\\u{1b}]0;pwned\\u{7}`\n");
    }
}
