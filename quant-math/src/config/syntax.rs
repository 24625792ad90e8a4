//! From text to values: JSON5, and what Python adds to it.
//!
//! A pass over the characters turns Python's additions into JSON5 of the same length, so that lines and columns of later errors
//! are those of the text as it was written. The pass also bounds the nesting, since the JSON5 reader recurses.

use std::iter::Peekable;
use std::str::CharIndices;

use json5::ErrorCode as Code;

use super::error::{ConfigError, ConfigErrorKind};
use super::value::Value;

/// A config needs four levels; more than this is no config.
const DEEPEST: usize = 32;

/// Read a value.
pub(super) fn read(text: &str) -> Result<Value, ConfigError> {
    let json5 = Scanner::new(text).run()?;
    if json5.trim().is_empty() {
        let error = error(Place { line: 1, column: 1 }, "the config is empty, expected a list of entries");
        return Err(error.with_help("for the weights of every default op at 8 bits, leave `--config` out"));
    }
    json5::from_str(&json5).map_err(|error| translate(&json5, &error))
}

/// A position in the text; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

fn error(place: Place, message: impl Into<String>) -> ConfigError {
    let path = format!("line {}, column {}", place.line, place.column);
    ConfigError::new(ConfigErrorKind::Syntax, path, message)
}

struct Scanner<'a> {
    chars: Peekable<CharIndices<'a>>,
    text: &'a str,
    out: String,
    place: Place,
    open: Vec<(char, Place)>,
    /// Nothing but blanks and comments so far.
    leading: bool,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            chars: text.char_indices().peekable(),
            text,
            out: String::with_capacity(text.len()),
            place: Place { line: 1, column: 1 },
            open: Vec::new(),
            leading: true,
        }
    }

    fn run(mut self) -> Result<String, ConfigError> {
        while let Some((offset, c)) = self.peek() {
            let leading = self.leading;
            self.leading = leading && is_blank(c);
            match c {
                '"' | '\'' => self.string(c)?,
                '#' => {
                    self.line_comment();
                    self.leading = leading;
                }
                '/' => {
                    self.slash()?;
                    self.leading = leading;
                }
                '[' | '{' => self.opening(c)?,
                ']' | '}' => self.closing(c)?,
                '(' | ')' => {
                    let error = error(self.place, format!("found `{c}`: Python calls and tuples are not read"));
                    return Err(error.with_help("keep the list alone, and write a tuple as a list `[…]`"));
                }
                _ if c.is_alphabetic() || c == '_' => self.word(offset, leading),
                _ => {
                    self.copy();
                }
            }
        }
        match self.open.pop() {
            Some((c, place)) => Err(error(place, format!("`{c}` is never closed"))),
            None => Ok(self.out),
        }
    }

    fn peek(&mut self) -> Option<(usize, char)> {
        self.chars.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let (_, c) = self.chars.next()?;
        if is_line_end(c) && !(c == '\r' && self.peek().is_some_and(|(_, next)| next == '\n')) {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else if c != '\r' {
            self.place.column += 1;
        }
        Some(c)
    }

    /// One character as it is.
    fn copy(&mut self) -> Option<char> {
        let c = self.next()?;
        self.out.push(c);
        Some(c)
    }

    /// One character as a blank.
    fn blank(&mut self) -> Option<char> {
        let c = self.next()?;
        self.out.push(if is_line_end(c) { c } else { ' ' });
        Some(c)
    }

    fn string(&mut self, quote: char) -> Result<(), ConfigError> {
        let start = self.place;
        self.copy();
        loop {
            match self.peek() {
                None | Some((_, '\n' | '\r')) => {
                    return Err(error(start, "the string is not closed before the end of its line"));
                }
                Some((_, c)) if c == quote => {
                    self.copy();
                    return Ok(());
                }
                Some((_, '\\')) => {
                    self.copy();
                    self.copy();
                }
                Some(_) => {
                    self.copy();
                }
            }
        }
    }

    fn line_comment(&mut self) {
        while self.peek().is_some_and(|(_, c)| !is_line_end(c)) {
            self.blank();
        }
    }

    /// `//` and `/* */`; anything else is for the JSON5 reader to refuse.
    fn slash(&mut self) -> Result<(), ConfigError> {
        let start = self.place;
        let mut ahead = self.chars.clone();
        ahead.next();
        match ahead.next() {
            Some((_, '/')) => {
                self.line_comment();
                Ok(())
            }
            Some((_, '*')) => {
                self.blank();
                self.blank();
                while let Some(c) = self.blank() {
                    if c == '*' && self.peek().is_some_and(|(_, next)| next == '/') {
                        self.blank();
                        return Ok(());
                    }
                }
                Err(error(start, "the comment is never closed"))
            }
            _ => {
                self.copy();
                Ok(())
            }
        }
    }

    fn opening(&mut self, c: char) -> Result<(), ConfigError> {
        if self.open.len() == DEEPEST {
            return Err(error(self.place, format!("more than {DEEPEST} levels of brackets")));
        }
        self.open.push((c, self.place));
        self.copy();
        Ok(())
    }

    fn closing(&mut self, c: char) -> Result<(), ConfigError> {
        let partner = if c == ']' { '[' } else { '{' };
        match self.open.pop() {
            Some((open, _)) if open == partner => {
                self.copy();
                Ok(())
            }
            Some((open, Place { line, column })) => {
                let message = format!("found `{c}`, but the `{open}` of line {line}, column {column} is still open");
                Err(error(self.place, message))
            }
            None => Err(error(self.place, format!("found `{c}`, but nothing is open"))),
        }
    }

    /// Python's words, and the assignment in front of everything.
    fn word(&mut self, start: usize, leading: bool) {
        let mut end = self.text.len();
        for (offset, c) in self.chars.clone() {
            if !(c.is_alphanumeric() || c == '_') {
                end = offset;
                break;
            }
        }
        let word = self.text.get(start..end).unwrap_or_default();
        let rest = self.text.get(end..).unwrap_or_default().trim_start_matches([' ', '\t']);
        let assignment = leading && rest.starts_with('=') && !rest.starts_with("==");
        let replacement = match word {
            "True" => Some("true"),
            "False" => Some("false"),
            "None" => Some("null"),
            _ => None,
        };
        for _ in word.chars() {
            if assignment {
                self.blank();
            } else if replacement.is_some() {
                self.next();
            } else {
                self.copy();
            }
        }
        if assignment {
            while self.blank().is_some_and(|c| c != '=') {}
        } else if let Some(replacement) = replacement {
            self.out.push_str(replacement);
        }
    }
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// The JSON5 reader's error in our words.
fn translate(text: &str, found: &json5::Error) -> ConfigError {
    let place = found.position().map(|at| Place { line: at.line + 1, column: at.column + 1 });
    let Some(code) = found.code() else {
        let message = found.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        return error(place.unwrap_or_else(|| end_of(text)), message.to_lowercase());
    };
    let expected = match code {
        Code::ExpectedComma => "expected a comma",
        Code::ExpectedColon => "expected a colon",
        Code::ExpectedValue => "expected a value",
        Code::ExpectedClosingBrace => "expected `}`",
        Code::ExpectedClosingBracket => "expected `]`",
        Code::ExpectedIdentifier => "expected a key",
        Code::ExpectedNull => "expected `null`",
        Code::ExpectedBool => "expected `true` or `false`",
        Code::ExpectedNumber => "expected a number",
        Code::InvalidEscapeSequence => "unknown escape sequence",
        Code::LeadingZero => "a number must not begin with a 0",
        Code::OverflowParsingNumber => "the number is too large",
        Code::TrailingCharacters => "expected the end",
        _ if place.is_none() => "the text ends too early",
        _ => "not JSON5",
    };
    let Some(place) = place else { return error(end_of(text), expected) };
    match char_at(text, place) {
        Some(c) if !c.is_control() => error(place, format!("found `{c}`, {expected}")),
        _ => error(place, expected),
    }
}

fn end_of(text: &str) -> Place {
    let mut scanner = Scanner::new(text);
    while scanner.next().is_some() {}
    scanner.place
}

fn char_at(text: &str, place: Place) -> Option<char> {
    let mut scanner = Scanner::new(text);
    while scanner.place != place {
        scanner.next()?;
    }
    scanner.peek().map(|(_, c)| c)
}
