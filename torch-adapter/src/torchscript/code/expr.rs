//! Expressions: calls, attributes, literals; operators only as far as finding their operands.

use quant_math::Budget;

use super::ast::{Argument, Expr, ExprId, ExprKind};
use super::error::ParseError;
use super::lexer::{Token, TokenKind};
use super::{Span, text_of};

/// Brackets inside brackets; the serializer breaks expressions up long before.
const MAX_NESTING: usize = 200;

/// Reads expressions from tokens into an arena, children before parents.
#[derive(Debug)]
pub(super) struct ExprReader<'a> {
    pub(super) source: &'a str,
    pub(super) tokens: &'a [Token],
    /// The next token.
    pub(super) at: usize,
    /// The expressions of the function that is being read.
    pub(super) exprs: Vec<Expr>,
    nesting: usize,
    budget: &'a Budget,
}

impl<'a> ExprReader<'a> {
    pub(super) fn new(source: &'a str, tokens: &'a [Token], budget: &'a Budget) -> Self {
        Self { source, tokens, at: 0, exprs: Vec::new(), nesting: 0, budget }
    }

    /// Count values of one type, which a vector holds while it grows.
    pub(super) fn count<T>(&self, values: usize) -> Result<(), ParseError> {
        let over = |over| ParseError::over(self.span().start, over);
        self.budget.take_all::<T>(2 * values, "the expressions of the code").map_err(over)
    }

    pub(super) fn token(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn text(&self) -> &'a str {
        self.token().map_or("", |token| text_of(self.source, &token.span))
    }

    /// Whether the next token is the mark or bracket `text`.
    pub(super) fn is(&self, text: &str) -> bool {
        let marks = [TokenKind::Mark, TokenKind::Open, TokenKind::Close];
        self.token().is_some_and(|token| marks.contains(&token.kind)) && self.text() == text
    }

    /// Whether the next token is the word `text`.
    pub(super) fn is_word(&self, text: &str) -> bool {
        self.token().is_some_and(|token| token.kind == TokenKind::Name) && self.text() == text
    }

    pub(super) fn take(&mut self, text: &str) -> bool {
        let found = self.is(text);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, text: &'static str) -> Result<Span, ParseError> {
        let span = self.span();
        if self.take(text) { Ok(span) } else { Err(self.error(text)) }
    }

    /// Where the next token is; at the end, the end.
    pub(super) fn span(&self) -> Span {
        self.token().map_or(self.source.len()..self.source.len(), |token| token.span.clone())
    }

    pub(super) fn error(&self, expected: &'static str) -> ParseError {
        let found = match self.token() {
            None => "the end of the file".to_owned(),
            Some(token) if token.kind == TokenKind::Newline => "the end of the line".to_owned(),
            Some(_) => format!("`{}`", self.text().chars().take(40).collect::<String>()),
        };
        ParseError::new(self.span().start, found, expected)
    }

    /// The end of the last token that was read.
    pub(super) fn last_end(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.span.end)
    }

    pub(super) fn push(&mut self, kind: ExprKind, span: Span) -> Result<ExprId, ParseError> {
        let id = u32::try_from(self.exprs.len())
            .map_err(|_| ParseError::new(span.start, "too many expressions".to_owned(), "at most 4,294,967,295"))?;
        self.count::<Expr>(1)?;
        self.exprs.push(Expr { kind, span });
        Ok(ExprId(id))
    }

    pub(super) fn span_of(&self, id: ExprId) -> Span {
        self.exprs.get(id.index()).map_or(0..0, |expr| expr.span.clone())
    }

    /// One expression; a comma ends it.
    pub(super) fn expr(&mut self) -> Result<ExprId, ParseError> {
        // Its number stands in a list of the expression around it, which has room for four at least.
        self.count::<ExprId>(4)?;
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(ParseError::new(self.span().start, "deeper nesting".to_owned(), "at most 200 open brackets"));
        }
        let start = self.span().start;
        let mut operands = vec![self.operand()?];
        while self.operator() {
            // `not in` and `is not` are two words.
            while self.operator() {}
            operands.push(self.operand()?);
        }
        self.nesting -= 1;
        match operands.as_slice() {
            [only] => Ok(*only),
            _ => self.push(ExprKind::Operation(operands), start..self.last_end()),
        }
    }

    /// Expressions up to the closing bracket, which is read too; whether there was a comma.
    fn items(&mut self, close: &'static str) -> Result<(Vec<ExprId>, bool), ParseError> {
        let mut items = Vec::new();
        let mut comma = false;
        while !self.take(close) {
            items.push(self.expr()?);
            if !self.is(close) {
                self.expect(",")?;
                comma = true;
            }
        }
        Ok((items, comma))
    }

    fn operator(&mut self) -> bool {
        const MARKS: [&str; 20] = [
            "+", "-", "*", "/", "%", "@", "&", "|", "^", "~", "<", ">", "<<", ">>", "==", "!=", "<=", ">=", "**", "//",
        ];
        const WORDS: [&str; 7] = ["and", "or", "not", "in", "is", "if", "else"];
        let found = match self.token().map(|token| token.kind) {
            Some(TokenKind::Mark) => MARKS.contains(&self.text()),
            Some(TokenKind::Name) => WORDS.contains(&self.text()),
            _ => false,
        };
        self.at += usize::from(found);
        found
    }

    fn operand(&mut self) -> Result<ExprId, ParseError> {
        let start = self.span().start;
        let signed = self.is("-") || self.is("+") || self.is("~") || self.is_word("not");
        while self.is("-") || self.is("+") || self.is("~") || self.is_word("not") {
            self.at += 1;
        }
        let atom = self.atom()?;
        let operand = self.postfix(atom)?;
        if !signed {
            return Ok(operand);
        }
        let span = start..self.span_of(operand).end;
        let number = matches!(self.exprs.get(operand.index()), Some(Expr { kind: ExprKind::Number, .. }));
        self.push(if number { ExprKind::Number } else { ExprKind::Operation(vec![operand]) }, span)
    }

    fn atom(&mut self) -> Result<ExprId, ParseError> {
        let Some(token) = self.token() else { return Err(self.error("an expression")) };
        let span = token.span.clone();
        match token.kind {
            TokenKind::Name => {
                self.at += 1;
                self.push(ExprKind::Name, span)
            }
            TokenKind::Number => {
                self.at += 1;
                self.push(ExprKind::Number, span)
            }
            TokenKind::String => {
                // Neighbouring literals are one string.
                while self.token().is_some_and(|token| token.kind == TokenKind::String) {
                    self.at += 1;
                }
                self.push(ExprKind::String, span.start..self.last_end())
            }
            TokenKind::Open => self.bracketed(span.start),
            TokenKind::Close | TokenKind::Mark | TokenKind::Newline => Err(self.error("an expression")),
        }
    }

    fn bracketed(&mut self, start: usize) -> Result<ExprId, ParseError> {
        if self.take("(") {
            let (items, comma) = self.items(")")?;
            let kind = match items.as_slice() {
                [only] if !comma => ExprKind::Group(*only),
                _ => ExprKind::Tuple(items),
            };
            self.push(kind, start..self.last_end())
        } else if self.take("[") {
            let (items, _) = self.items("]")?;
            self.push(ExprKind::List(items), start..self.last_end())
        } else {
            self.expect("{")?;
            let mut items = Vec::new();
            while !self.take("}") {
                items.push(self.expr()?);
                if self.take(":") {
                    items.push(self.expr()?);
                }
                if !self.is("}") {
                    self.expect(",")?;
                }
            }
            self.push(ExprKind::Dict(items), start..self.last_end())
        }
    }

    fn postfix(&mut self, mut base: ExprId) -> Result<ExprId, ParseError> {
        let start = self.span_of(base).start;
        loop {
            if self.take(".") {
                let name = self.span();
                if self.token().is_none_or(|token| token.kind != TokenKind::Name) {
                    return Err(self.error("a name after the point"));
                }
                self.at += 1;
                base = self.push(ExprKind::Attribute { base, name }, start..self.last_end())?;
            } else if self.take("(") {
                let (arguments, close) = self.arguments()?;
                base = self.push(ExprKind::Call { callee: base, arguments, close }, start..self.last_end())?;
            } else if self.take("[") {
                let index = self.index()?;
                base = self.push(ExprKind::Subscript { base, index }, start..self.last_end())?;
            } else {
                return Ok(base);
            }
        }
    }

    fn arguments(&mut self) -> Result<(Vec<Argument>, usize), ParseError> {
        let mut arguments = Vec::new();
        loop {
            let close = self.span().start;
            if self.take(")") {
                return Ok((arguments, close));
            }
            let named = self.token().is_some_and(|token| token.kind == TokenKind::Name)
                && self.tokens.get(self.at + 1).is_some_and(|next| text_of(self.source, &next.span) == "=");
            let keyword = named.then(|| self.span());
            self.at += if named { 2 } else { 0 };
            let value = self.expr()?;
            self.count::<Argument>(if arguments.is_empty() { 4 } else { 1 })?;
            arguments.push(Argument { keyword, value });
            if !self.is(")") {
                self.expect(",")?;
            }
        }
    }

    /// What stands between the brackets of `base[…]`: expressions, with `:` as another separator.
    fn index(&mut self) -> Result<Vec<ExprId>, ParseError> {
        let mut index = Vec::new();
        while !self.take("]") {
            if self.take(":") || self.take(",") {
                continue;
            }
            index.push(self.expr()?);
        }
        Ok(index)
    }
}
