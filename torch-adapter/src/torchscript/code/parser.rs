//! Classes, functions and statements.

use crate::torchscript::by_name::ByName;
use quant_math::Budget;

use super::ast::{
    Attribute, Class, ExprKind, Function, NameList, Parameter, SourceFile, Statement, StatementKind, Target,
};
use super::error::ParseError;
use super::expr::ExprReader;
use super::lexer::{TokenKind, tokenize};
use super::{Span, text_of, unquote};

/// Read a file of classes and functions.
///
/// Takes what the serializer of PyTorch 1.0 to 2.x writes, `op_version_set = 1` and `import` lines of old files, comments,
/// and either kind of line end. Anything else is an error with its place; no text makes it panic or recurse without limit.
///
/// # Errors
/// What it does not take, with its place.
pub fn parse(source: &str) -> Result<SourceFile, ParseError> {
    parse_within(source, &Budget::for_file(source.len() as u64))
}

/// The same for text out of a file that has a budget.
pub(crate) fn parse_within(source: &str, budget: &Budget) -> Result<SourceFile, ParseError> {
    let (tokens, counted) = tokenize(source, budget)?;
    let mut parser = Parser { reader: ExprReader::new(source, &tokens, budget) };
    let mut file = SourceFile::default();
    while let Some(token) = parser.reader.token() {
        if token.indent > 0 {
            return Err(parser.reader.error("a line without indentation"));
        }
        if parser.reader.is_word("class") {
            file.classes.push(parser.class()?);
        } else if parser.reader.is_word("def") {
            file.functions.push(parser.function()?);
        } else {
            // `op_version_set = 1`, `import …`, `from … import …`.
            parser.skip_line();
        }
    }
    budget.release(counted);
    Ok(file)
}

struct Parser<'a> {
    reader: ExprReader<'a>,
}

impl<'a> Parser<'a> {
    fn source(&self) -> &'a str {
        self.reader.source
    }

    fn skip_line(&mut self) {
        while self.reader.token().is_some_and(|token| token.kind != TokenKind::Newline) {
            self.reader.at += 1;
        }
        self.reader.at += 1;
    }

    fn end_line(&mut self) -> Result<(), ParseError> {
        match self.reader.token() {
            None => Ok(()),
            Some(token) if token.kind == TokenKind::Newline => {
                self.reader.at += 1;
                Ok(())
            }
            Some(_) => Err(self.reader.error("the end of the line")),
        }
    }

    fn name(&mut self) -> Result<Span, ParseError> {
        let span = self.reader.span();
        if self.reader.token().is_none_or(|token| token.kind != TokenKind::Name) {
            return Err(self.reader.error("a name"));
        }
        self.reader.at += 1;
        Ok(span)
    }

    fn owned(&self, span: &Span) -> String {
        text_of(self.source(), span).to_owned()
    }

    /// The indentation of the line that begins with the next token, if it is deeper than `outer`.
    fn block_indent(&self, outer: usize) -> Option<usize> {
        self.reader.token().map(|token| token.indent).filter(|indent| *indent > outer)
    }

    fn class(&mut self) -> Result<Class, ParseError> {
        let start = self.reader.span().start;
        let outer = self.reader.token().map_or(0, |token| token.indent);
        self.reader.at += 1;
        let name_span = self.name()?;
        self.reader.count::<Class>(1)?;
        let mut base = 0..0;
        if self.reader.take("(") {
            base = self.reader.span();
            while !self.reader.take(")") {
                if self.reader.token().is_none() {
                    return Err(self.reader.error(")"));
                }
                base.end = self.reader.span().end;
                self.reader.at += 1;
            }
        }
        self.reader.expect(":")?;
        self.end_line()?;
        let Some(indent) = self.block_indent(outer) else { return Err(self.reader.error("the body of the class")) };
        let mut class = Class {
            name: self.owned(&name_span),
            name_span,
            base: self.owned(&base),
            span: start..start,
            body_indent: indent,
            body_start: line_start(self.source(), self.reader.span().start),
            parameters: None,
            buffers: None,
            attributes: Vec::new(),
            has_hooks: false,
            methods: Vec::new(),
            attribute_order: ByName::default(),
            method_order: ByName::default(),
        };
        while self.block_indent(outer).is_some() {
            if self.reader.is_word("def") {
                class.methods.push(self.function()?);
            } else {
                self.declaration(&mut class)?;
            }
        }
        class.span.end = class.methods.last().map_or(0, |m| m.span.end).max(self.last_text_end());
        class.order();
        Ok(class)
    }

    fn last_text_end(&self) -> usize {
        let before = self.reader.tokens.get(..self.reader.at).unwrap_or_default();
        before.iter().rev().find(|token| token.kind != TokenKind::Newline).map_or(0, |token| token.span.end)
    }

    /// A line of a class body that is not a method.
    fn declaration(&mut self, class: &mut Class) -> Result<(), ParseError> {
        let start = self.reader.span().start;
        if self.reader.token().is_some_and(|token| token.kind == TokenKind::String) || self.reader.is_word("pass") {
            self.skip_line();
            return Ok(());
        }
        let name = self.name()?;
        let name = self.owned(&name);
        if name == "__annotations__" && self.reader.take("[") {
            let key = self.owned(&self.reader.span());
            let Some(key) = unquote(&key) else { return Err(self.reader.error("a quoted attribute name")) };
            self.reader.at += 1;
            self.reader.expect("]")?;
            self.reader.expect("=")?;
            return self.attribute(class, key, start);
        }
        if self.reader.take(":") {
            return self.attribute(class, name, start);
        }
        if self.reader.take("=") {
            match name.as_str() {
                "__parameters__" => class.parameters = Some(self.name_list()?),
                "__buffers__" => class.buffers = Some(self.name_list()?),
                "__forward_hooks__" | "__forward_pre_hooks__" => class.has_hooks |= self.has_items(),
                // Members of an Enum.
                _ => self.skip_line(),
            }
            return Ok(());
        }
        Err(self.reader.error("`:` or `=`"))
    }

    /// A type, perhaps `Final[…] = value`, up to the end of the line.
    fn attribute(&mut self, class: &mut Class, name: String, start: usize) -> Result<(), ParseError> {
        let ty = self.reader.span().start;
        let constant = self.reader.is_word("Final");
        let id = self.reader.expr()?;
        let end = self.reader.span_of(id).end;
        self.reader.exprs.clear();
        self.skip_line();
        self.reader.count::<Attribute>(1)?;
        class.attributes.push(Attribute { name, ty: ty..end, constant, span: start..self.last_text_end() });
        Ok(())
    }

    /// A list of strings, up to the end of the line.
    fn name_list(&mut self) -> Result<NameList, ParseError> {
        const EXPECTED: &str = "a list of quoted names";
        let mut list = NameList { names: Vec::new(), spans: Vec::new(), span: self.reader.span() };
        if !self.reader.take("[") {
            return Err(self.reader.error(EXPECTED));
        }
        while !self.reader.take("]") {
            let span = self.reader.span();
            let Some(name) = unquote(text_of(self.source(), &span)) else { return Err(self.reader.error(EXPECTED)) };
            list.names.push(name);
            list.spans.push(span);
            self.reader.at += 1;
            if !self.reader.take(",") && !self.reader.is("]") {
                return Err(self.reader.error("`,` or `]`"));
            }
        }
        list.span.end = self.reader.last_end();
        self.end_line()?;
        Ok(list)
    }

    /// Whether anything but brackets is in what is left of the line.
    fn has_items(&mut self) -> bool {
        let first = self.reader.at;
        self.skip_line();
        let tokens = self.reader.tokens.get(first..self.reader.at).unwrap_or_default();
        tokens.iter().any(|token| matches!(token.kind, TokenKind::String | TokenKind::Name | TokenKind::Number))
    }

    fn function(&mut self) -> Result<Function, ParseError> {
        let start = self.reader.span().start;
        let outer = self.reader.token().map_or(0, |token| token.indent);
        self.reader.at += 1;
        let name = self.name()?;
        let name = self.owned(&name);
        self.reader.count::<Function>(1)?;
        self.reader.expect("(")?;
        let (parameters, parameters_end) = self.parameters()?;
        let mut returns = None;
        if self.reader.take("->") {
            let ty = self.reader.expr()?;
            returns = Some(self.reader.span_of(ty));
        }
        self.reader.expect(":")?;
        self.reader.exprs.clear();
        let body = if self.reader.token().is_some_and(|token| token.kind == TokenKind::Newline) {
            self.reader.at += 1;
            self.body(outer)?
        } else {
            vec![self.statement(0)?]
        };
        let exprs = std::mem::take(&mut self.reader.exprs);
        Ok(Function { name, parameters, span: start..self.last_text_end(), parameters_end, returns, body, exprs })
    }

    fn parameters(&mut self) -> Result<(Vec<Parameter>, usize), ParseError> {
        let mut parameters = Vec::new();
        loop {
            let end = self.reader.span().start;
            if self.reader.take(")") {
                return Ok((parameters, end));
            }
            // `*` alone, before arguments that need their name.
            if !self.reader.take("*") {
                let name = self.name()?;
                let mut parameter = Parameter { name: self.owned(&name), ty: None };
                if self.reader.take(":") {
                    let ty = self.reader.expr()?;
                    parameter.ty = Some(self.reader.span_of(ty));
                }
                if self.reader.take("=") {
                    self.reader.expr()?;
                }
                self.reader.count::<Parameter>(1)?;
                parameters.push(parameter);
            }
            if !self.reader.is(")") {
                self.reader.expect(",")?;
            }
        }
    }

    fn body(&mut self, outer: usize) -> Result<Vec<Statement>, ParseError> {
        let mut statements = Vec::new();
        // The indentations of the blocks that are open, outermost first.
        let mut indents: Vec<usize> = Vec::new();
        while let Some(indent) = self.block_indent(outer) {
            while indents.last().is_some_and(|last| *last > indent) {
                indents.pop();
            }
            if indents.last().is_none_or(|last| *last < indent) {
                indents.push(indent);
            }
            self.reader.count::<Statement>(1)?;
            statements.push(self.statement(indents.len() - 1)?);
        }
        if statements.is_empty() { Err(self.reader.error("the body of the function")) } else { Ok(statements) }
    }

    fn statement(&mut self, depth: usize) -> Result<Statement, ParseError> {
        let start = self.reader.span().start;
        let kind = match self.reader.text() {
            "return" => {
                self.reader.at += 1;
                let value = if self.at_line_end() { None } else { Some(self.exprs_as_one()?) };
                StatementKind::Return(value)
            }
            "pass" | "break" | "continue" | "else" | "if" | "elif" | "while" | "for" | "with" | "assert" | "raise"
            | "del" | "def" | "global" | "import" | "from" | "try" | "except" | "finally" => self.other()?,
            _ => self.assignment_or_expr()?,
        };
        let span = start..self.reader.last_end().max(start);
        self.end_line()?;
        Ok(Statement { kind, span, depth })
    }

    fn at_line_end(&self) -> bool {
        self.reader.token().is_none_or(|token| token.kind == TokenKind::Newline)
    }

    /// `a` or, where commas follow, the tuple `a, b`.
    fn exprs_as_one(&mut self) -> Result<super::ExprId, ParseError> {
        let start = self.reader.span().start;
        let first = self.reader.expr()?;
        if !self.reader.is(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.reader.take(",") {
            if self.at_line_end() || self.reader.is("=") || self.reader.is(":") {
                break;
            }
            items.push(self.reader.expr()?);
        }
        self.reader.push(ExprKind::Tuple(items), start..self.reader.last_end())
    }

    fn assignment_or_expr(&mut self) -> Result<StatementKind, ParseError> {
        let target = self.exprs_as_one()?;
        if self.reader.take(":") {
            self.reader.expr()?;
        }
        if self.reader.take("=") {
            let value = self.exprs_as_one()?;
            let unpack = matches!(self.kind(target), Some(ExprKind::Tuple(_)));
            let items = match self.kind(target) {
                Some(ExprKind::Tuple(items)) => items.clone(),
                _ => vec![target],
            };
            let targets = items.into_iter().map(|id| self.target(id)).collect();
            return Ok(StatementKind::Assign { targets, unpack, value });
        }
        let augmented = ["+=", "-=", "*=", "/=", "**=", "//=", "<<=", ">>="];
        if augmented.iter().any(|mark| self.reader.take(mark)) {
            let value = self.reader.expr()?;
            let binds = match self.target(target) {
                Target::Name(span) => vec![span],
                Target::Place(_) => Vec::new(),
            };
            return Ok(StatementKind::Other { binds, exprs: vec![target, value] });
        }
        Ok(StatementKind::Expr(target))
    }

    fn kind(&self, id: super::ExprId) -> Option<&ExprKind> {
        self.reader.exprs.get(id.index()).map(|expr| &expr.kind)
    }

    fn target(&self, id: super::ExprId) -> Target {
        match self.kind(id) {
            Some(ExprKind::Name) => Target::Name(self.reader.span_of(id)),
            _ => Target::Place(id),
        }
    }

    /// A line that begins with a keyword: names between `for` and `in` or after `as` are bound, the rest is expressions.
    fn other(&mut self) -> Result<StatementKind, ParseError> {
        let mut binds = Vec::new();
        let mut exprs = Vec::new();
        let looping = self.reader.is_word("for");
        self.reader.at += 1;
        if looping {
            while !self.reader.is_word("in") {
                if self.at_line_end() {
                    return Err(self.reader.error("`in`"));
                }
                if self.reader.token().is_some_and(|token| token.kind == TokenKind::Name) {
                    binds.push(self.reader.span());
                }
                self.reader.at += 1;
            }
            self.reader.at += 1;
        }
        while !self.at_line_end() {
            if self.reader.is_word("as") {
                self.reader.at += 1;
                binds.push(self.name()?);
            } else if !(self.reader.take(":") || self.reader.take(",") || self.reader.take("->")) {
                exprs.push(self.reader.expr()?);
            }
        }
        Ok(StatementKind::Other { binds, exprs })
    }
}

fn line_start(source: &str, at: usize) -> usize {
    source.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}
