//! Text into tokens.

use crate::error::Error;

/// A token. Text is borrowed; a string still has its quotes and escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    /// A number without its sign.
    Number(&'a str),
    String(&'a [u8]),
    Symbol(u8),
    End,
}

impl Token<'_> {
    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(text) | Self::Number(text) => format!("`{}`", shortened(text)),
            Self::String(_) => "a string".to_owned(),
            Self::Symbol(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(*byte)),
            Self::Symbol(byte) => format!("byte {byte:#04x}"),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    text.get(..SHOWN).map_or_else(|| text.to_owned(), |start| format!("{start}…"))
}

/// Reads tokens, one ahead.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    /// Where the next token begins.
    start: usize,
    /// Where it ends.
    end: usize,
    next: Token<'a>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Error> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let end = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut lexer = Self { text, start: end, end, next: Token::End };
        lexer.advance()?;
        Ok(lexer)
    }

    /// The next token, which stays.
    pub(super) fn peek(&self) -> Token<'a> {
        self.next
    }

    /// Offset of the next token.
    pub(super) fn offset(&self) -> usize {
        self.start
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> Result<Token<'a>, Error> {
        let token = self.next;
        self.advance()?;
        Ok(token)
    }

    /// Takes the next token if it is this symbol.
    pub(super) fn take_symbol(&mut self, symbol: u8) -> Result<bool, Error> {
        let found = self.next == Token::Symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// The error that `expected` should stand where the next token is.
    pub(super) fn unexpected(&self, expected: &str) -> Error {
        self.error(self.start, format!("found {}, expected {expected}", self.next.describe()))
    }

    /// An error at an offset.
    pub(super) fn error(&self, offset: usize, message: impl Into<String>) -> Error {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.split(|byte| *byte == b'\n').count();
        let in_line = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default());
        Error::Text { line, column: in_line.chars().count() + 1, message: message.into() }
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.skip_blank();
        let rest = self.text.get(self.start..).unwrap_or_default();
        let while_true = |accept: fn(u8) -> bool| rest.iter().position(|byte| !accept(*byte)).unwrap_or(rest.len());
        let (token, length) = match rest {
            [] => (Token::End, 0),
            [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => {
                let length = while_true(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                (Token::Word(ascii(rest, length)), length)
            }
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => {
                let length = number_length(rest);
                (Token::Number(ascii(rest, length)), length)
            }
            [quote @ (b'"' | b'\''), ..] => {
                let length = self.string_length(rest, *quote)?;
                (Token::String(rest.get(..length).unwrap_or_default()), length)
            }
            [symbol, ..] => (Token::Symbol(*symbol), 1),
        };
        self.next = token;
        self.end = self.start + length;
        Ok(())
    }

    /// Moves `start` behind the last token and the blanks and comments after it.
    fn skip_blank(&mut self) {
        self.start = self.end;
        while let Some(byte) = self.text.get(self.start) {
            match byte {
                b' ' | b'\n' | b'\t' | b'\r' | 0x0b | 0x0c => self.start += 1,
                b'#' => {
                    let rest = self.text.get(self.start..).unwrap_or_default();
                    self.start += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                }
                _ => break,
            }
        }
    }

    /// The length of a string with its quotes.
    fn string_length(&self, rest: &[u8], quote: u8) -> Result<usize, Error> {
        let mut at = 1;
        loop {
            match rest.get(at) {
                Some(b'\\') => at += 2,
                Some(b'\n') | None => {
                    return Err(self.error(self.start, "found a string without an end, expected its closing quote"));
                }
                Some(byte) if *byte == quote => return Ok(at + 1),
                Some(_) => at += 1,
            }
        }
    }
}

/// Digits, letters, points and underscores, and a sign after an exponent. The reader of the number judges it.
fn number_length(rest: &[u8]) -> usize {
    let hex = matches!(rest, [b'0', b'x' | b'X', ..]);
    let mut previous = 0;
    rest.iter()
        .position(|byte| {
            let exponent = !hex && matches!(previous, b'e' | b'E');
            previous = *byte;
            !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || exponent && matches!(byte, b'+' | b'-'))
        })
        .unwrap_or(rest.len())
}

fn ascii(rest: &[u8], length: usize) -> &str {
    rest.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}
