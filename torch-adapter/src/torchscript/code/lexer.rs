//! Tokens of TorchScript source.

use quant_math::Budget;

use super::Span;
use super::error::ParseError;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An identifier or a keyword.
    Name,
    /// A number, sign not included.
    Number,
    /// A string with its quotes.
    String,
    /// One of the three kinds of brackets, opening.
    Open,
    /// A closing bracket.
    Close,
    /// Any other mark: `,`, `=`, `->`, `.`, operators.
    Mark,
    /// The end of a logical line.
    Newline,
}

/// A token and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it is.
    pub span: Span,
    /// Columns of white space before the first token of its line; tabs count up to the next multiple of 8, as Python has it.
    pub indent: usize,
}

/// Marks of more than one character, longest first.
const LONG_MARKS: [&str; 18] =
    ["**=", "//=", "<<=", ">>=", "->", "==", "!=", "<=", ">=", "**", "//", "<<", ">>", "+=", "-=", "*=", "/=", ":="];

/// Cut `source` into tokens. Line ends inside brackets do not count; blank lines and comments leave no token.
/// Gives what was counted for the tokens too, to be released with them.
pub(super) fn tokenize(source: &str, budget: &Budget) -> Result<(Vec<Token>, u64), ParseError> {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new(), open: Vec::new(), indent: 0 };
    let mut counted = 0;
    lexer.line_start();
    while let Some(byte) = lexer.peek() {
        // The next token may make the vector grow to twice its length, and both are there while it is copied.
        if lexer.tokens.len() == lexer.tokens.capacity() {
            let more = (lexer.tokens.len().max(4) * 2 * size_of::<Token>()) as u64;
            budget.take(more, "the words of the code").map_err(|over| ParseError::over(lexer.at, over))?;
            counted += more;
        }
        lexer.step(byte)?;
    }
    if let Some((bracket, offset)) = lexer.open.last() {
        return Err(ParseError::new(*offset, format!("`{bracket}` without its partner"), "a closing bracket"));
    }
    lexer.newline();
    Ok((lexer.tokens, counted))
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
    open: Vec<(char, usize)>,
    indent: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: TokenKind, len: usize) {
        self.tokens.push(Token { kind, span: self.at..self.at + len, indent: self.indent });
        self.at += len;
    }

    fn newline(&mut self) {
        if self.tokens.last().is_some_and(|last| last.kind != TokenKind::Newline) {
            self.push(TokenKind::Newline, 0);
        }
    }

    /// Measure the indentation of the line that begins here.
    fn line_start(&mut self) {
        self.indent = 0;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' => self.indent += 1,
                b'\t' => self.indent = (self.indent / 8 + 1) * 8,
                _ => break,
            }
            self.at += 1;
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), ParseError> {
        match byte {
            b'\n' => {
                if self.open.is_empty() {
                    self.newline();
                    self.at += 1;
                    self.line_start();
                } else {
                    self.at += 1;
                }
            }
            b' ' | b'\t' | b'\r' | 0x0c => self.at += 1,
            b'#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
            b'\\' if self.rest().starts_with("\\\n") || self.rest().starts_with("\\\r\n") => {
                self.at += self.rest().find('\n').map_or(1, |n| n + 1);
            }
            b'"' | b'\'' => self.string(byte)?,
            b'0'..=b'9' => self.number(),
            b'.' if self.source.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit) => self.number(),
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | 0x80.. => self.name(),
            b'(' | b'[' | b'{' => {
                self.open.push((char::from(byte), self.at));
                self.push(TokenKind::Open, 1);
            }
            b')' | b']' | b'}' => self.close(byte)?,
            0..=31 | 127 => {
                return Err(ParseError::new(self.at, format!("byte {byte:#04x}"), "TorchScript source"));
            }
            _ => {
                let len = LONG_MARKS.iter().find(|mark| self.rest().starts_with(**mark)).map_or(1, |mark| mark.len());
                self.push(TokenKind::Mark, len);
            }
        }
        Ok(())
    }

    fn close(&mut self, byte: u8) -> Result<(), ParseError> {
        let partner = match byte {
            b')' => '(',
            b']' => '[',
            _ => '{',
        };
        match self.open.pop() {
            Some((bracket, _)) if bracket == partner => self.push(TokenKind::Close, 1),
            Some((bracket, offset)) => {
                let found = format!("`{}` closing the `{bracket}` at {offset}", char::from(byte));
                return Err(ParseError::new(self.at, found, "the partner of the open bracket"));
            }
            None => {
                let found = format!("`{}` without an open bracket", char::from(byte));
                return Err(ParseError::new(self.at, found, "an expression"));
            }
        }
        Ok(())
    }

    fn string(&mut self, quote: u8) -> Result<(), ParseError> {
        let bytes = self.source.as_bytes().get(self.at + 1..).unwrap_or_default();
        let mut escaped = false;
        for (index, &byte) in bytes.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'\n' => break,
                _ if byte == quote => {
                    self.push(TokenKind::String, index + 2);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(ParseError::new(self.at, "a string without its end".to_owned(), "a closing quote on the same line"))
    }

    /// Digits, point, exponent; letters behind them belong to the number (`0x1f`, `1j`).
    fn number(&mut self) {
        let bytes = self.rest().as_bytes();
        let mut len = 0;
        while let Some(byte) = bytes.get(len) {
            let sign = matches!(byte, b'+' | b'-') && matches!(bytes.get(len.wrapping_sub(1)), Some(b'e' | b'E'));
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || sign) {
                break;
            }
            len += 1;
        }
        self.push(TokenKind::Number, len);
    }

    fn name(&mut self) {
        let len = self.rest().bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80).count();
        self.push(TokenKind::Name, len);
    }
}
