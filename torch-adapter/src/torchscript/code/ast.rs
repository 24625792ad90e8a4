//! What the parser finds: classes, functions, statements, expressions, each with its place in the text.

use super::Span;
use crate::torchscript::by_name::ByName;

/// One file under `code/`.
#[derive(Debug, Clone, Default)]
pub struct SourceFile {
    /// Classes, in the order of the file.
    pub classes: Vec<Class>,
    /// Functions outside classes.
    pub functions: Vec<Function>,
}

/// A class.
#[derive(Debug, Clone)]
pub struct Class {
    /// Its name, without the file's.
    pub name: String,
    /// Where the name stands.
    pub name_span: Span,
    /// The base class as written (`Module`, `NamedTuple`, `Enum`, `Interface`), empty where there is none.
    pub base: String,
    /// From `class` to the end of the last line of the body.
    pub span: Span,
    /// White space before a line of the body.
    pub body_indent: usize,
    /// Where a new declaration can be inserted: the start of the first line of the body.
    pub body_start: usize,
    /// `__parameters__`.
    pub parameters: Option<NameList>,
    /// `__buffers__`.
    pub buffers: Option<NameList>,
    /// Declared attributes and constants.
    pub attributes: Vec<Attribute>,
    /// Whether `__forward_hooks__` or `__forward_pre_hooks__` names any function.
    pub has_hooks: bool,
    /// Methods.
    pub methods: Vec<Function>,
    pub(super) attribute_order: ByName,
    pub(super) method_order: ByName,
}

impl Class {
    /// The method called `name`.
    pub fn method(&self, name: &str) -> Option<&Function> {
        self.methods.get(self.method_position(name)?)
    }

    /// The position of the method called `name`.
    pub fn method_position(&self, name: &str) -> Option<usize> {
        self.method_order.find(&self.methods, name, |method| &method.name)
    }

    /// The attribute called `name`.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(self.attribute_order.find(&self.attributes, name, |attribute| &attribute.name)?)
    }

    /// Make its attributes and methods known by their names.
    pub(super) fn order(&mut self) {
        self.attribute_order = ByName::new(&self.attributes, |attribute| &attribute.name);
        self.method_order = ByName::new(&self.methods, |method| &method.name);
    }
}

/// `__parameters__ = ["weight", ]`.
#[derive(Debug, Clone)]
pub struct NameList {
    /// The names.
    pub names: Vec<String>,
    /// Each name's literal, with its quotes.
    pub spans: Vec<Span>,
    /// Where the list stands, brackets included.
    pub span: Span,
}

/// `name : Type`, `name : Final[Type] = value` or `__annotations__["name"] = Type`.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// The type as written.
    pub ty: Span,
    /// Whether it is `Final`: then it stands only here, not in the pickle.
    pub constant: bool,
    /// The line, its end not included.
    pub span: Span,
}

/// A function or method.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Parameters; of a method the first is the object, whatever it is called.
    pub parameters: Vec<Parameter>,
    /// From `def` to the end of the last line of the body.
    pub span: Span,
    /// The closing parenthesis of the parameter list.
    pub parameters_end: usize,
    /// The type of the value as written, where there is one.
    pub returns: Option<Span>,
    /// The body, flat, in text order; [`Statement::depth`] says what is nested in what.
    pub body: Vec<Statement>,
    /// The expressions of the body; children come before their parents.
    pub exprs: Vec<Expr>,
}

impl Function {
    /// The expression `id`.
    pub fn expr(&self, id: ExprId) -> Option<&Expr> {
        self.exprs.get(id.index())
    }

    /// The expression at a position of [`Function::exprs`], if there is one.
    pub fn id(&self, index: usize) -> Option<ExprId> {
        u32::try_from(index).ok().filter(|_| index < self.exprs.len()).map(ExprId)
    }
}

/// A parameter of a function.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The type as written, where there is one.
    pub ty: Option<Span>,
}

/// An index into [`Function::exprs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExprId(pub(super) u32);

impl ExprId {
    /// The position in [`Function::exprs`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An expression and its place.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it is.
    pub span: Span,
}

/// What an expression is, as far as finding calls needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExprKind {
    /// An identifier, `None`, `True` and `False` included.
    Name,
    /// A number with its sign.
    Number,
    /// A string literal.
    String,
    /// `base.name`.
    Attribute {
        /// What stands before the point.
        base: ExprId,
        /// The name after it.
        name: Span,
    },
    /// `callee(arguments)`.
    Call {
        /// What is called.
        callee: ExprId,
        /// With what.
        arguments: Vec<Argument>,
        /// The closing parenthesis.
        close: usize,
    },
    /// `base[index]`.
    Subscript {
        /// What is indexed.
        base: ExprId,
        /// The index; several where a comma stands, none of the parts of a slice is told apart.
        index: Vec<ExprId>,
    },
    /// `[a, b]`.
    List(Vec<ExprId>),
    /// `(a, b, )`.
    Tuple(Vec<ExprId>),
    /// `{k: v}`: keys and values in turn.
    Dict(Vec<ExprId>),
    /// `(a)`.
    Group(ExprId),
    /// Anything with operators: the operands.
    Operation(Vec<ExprId>),
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// `keyword=`.
    pub keyword: Option<Span>,
    /// The value.
    pub value: ExprId,
}

/// A statement: a line, or the head of a block.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What it is.
    pub kind: StatementKind,
    /// Without white space around it.
    pub span: Span,
    /// Nesting below the function's body, which is 0.
    pub depth: usize,
}

/// What a statement is, as far as following values needs.
#[derive(Debug, Clone)]
pub enum StatementKind {
    /// `a, b, : T = value`; `for a in value:` and `with value as a:` bind names too but are [`StatementKind::Other`].
    Assign {
        /// What is assigned.
        targets: Vec<Target>,
        /// Whether the target is a tuple: one name with a trailing comma is.
        unpack: bool,
        /// The value.
        value: ExprId,
    },
    /// `return value`.
    Return(Option<ExprId>),
    /// An expression alone.
    Expr(ExprId),
    /// Anything else: the names that it binds and the expressions in it.
    Other {
        /// Names bound by `for`, `with`, augmented assignment.
        binds: Vec<Span>,
        /// Expressions.
        exprs: Vec<ExprId>,
    },
}

/// The target of an assignment.
#[derive(Debug, Clone)]
pub enum Target {
    /// A local name.
    Name(Span),
    /// An attribute, an element, …: the expression.
    Place(ExprId),
}
