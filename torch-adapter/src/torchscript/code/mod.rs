//! TorchScript source: the text under `code/`, read as far as editing needs.
//!
//! The serializer (`torch/csrc/jit/serialization/python_print.cpp`) writes a small subset of Python: classes with attribute
//! declarations and methods, free functions, and in files of operator set 1 `import` lines. Everything here keeps byte
//! spans; a change is a [`Splice`] and the rest of the text stays as it is.
//!
//! ```text
//! text ──lexer──▶ tokens ──parser──▶ SourceFile { classes, functions }, statements and expressions with spans
//!                                            edits ──splice──▶ text
//! ```

mod ast;
mod error;
mod expr;
mod lexer;
mod parser;
mod splice;

pub use ast::{
    Argument, Attribute, Class, Expr, ExprId, ExprKind, Function, NameList, Parameter, SourceFile, Statement,
};
pub use ast::{StatementKind, Target};
pub use error::ParseError;
pub use lexer::{Token, TokenKind};
pub use parser::parse;
pub(crate) use parser::parse_within;
pub use splice::Splice;

/// Byte positions in a source text.
pub type Span = std::ops::Range<usize>;

/// The text of `span`; empty where the span does not lie in the text on character boundaries.
pub fn text_of<'a>(source: &'a str, span: &Span) -> &'a str {
    source.get(span.clone()).unwrap_or_default()
}

/// The value of a string literal with its quotes, escapes resolved; `None` where it is not one.
///
/// Escapes are those that the serializer writes (`c10::printQuotedString`): the letters of C and up to three octal digits,
/// which stand for a byte. Bytes that are no UTF-8 make the result `None`.
pub fn unquote(literal: &str) -> Option<String> {
    let quote = literal.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = literal.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            digit @ b'0'..=b'7' => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    let Some(next) = bytes.next_if(|b| (b'0'..=b'7').contains(b)) else { break };
                    value = value * 8 + u32::from(next - b'0');
                }
                out.push(u8::try_from(value).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_lose_quotes_and_escapes() {
        assert_eq!(unquote(r#""0""#).as_deref(), Some("0"));
        assert_eq!(unquote(r#""don\'t \"stop\"\n\101""#).as_deref(), Some("don't \"stop\"\nA"));
        assert_eq!(unquote("'a'").as_deref(), Some("a"));
        assert_eq!(unquote(r#""\377""#), None);
        assert_eq!(unquote("name"), None);
        assert_eq!(unquote("\""), None);
    }
}
