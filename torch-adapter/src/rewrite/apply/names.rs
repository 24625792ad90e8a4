//! Names that the code uses: each must exist in the class that it is looked for in.
//!
//! TorchScript is typed, and a name that holds an object holds objects of one class throughout its function. So one pass over each function,
//! with the classes of its parameters, its attributes and the names that they are given to, finds what `torch.jit.load` would stumble over.

use std::collections::BTreeMap;

use crate::find::model::Model;
use crate::find::sites::{ClassRef, Program};
use crate::torchscript::code::{Class, ExprId, ExprKind, Function, StatementKind, Target, text_of, unquote};

/// Attributes, methods, constants and functions that the code uses and that do not exist, and lists of buffers or parameters of what is no
/// module.
pub(crate) fn unknown(model: &Model) -> Vec<String> {
    let program = model.program();
    let mut unknown = Vec::new();
    for (number, file) in program.files().iter().enumerate() {
        let classes = file.source.classes.iter();
        for class in classes.clone() {
            lists(&format!("{}.{}", file.module, class.name), class, &mut unknown);
        }
        let methods = classes.flat_map(|class| &class.methods).chain(&file.source.functions);
        for function in methods {
            let mut reader =
                Reader { model, program, file: number, function, names: BTreeMap::new(), unknown: &mut unknown };
            reader.read();
        }
    }
    unknown
}

/// Only modules have buffers and parameters.
fn lists(name: &str, class: &Class, unknown: &mut Vec<String>) {
    if class.base.ends_with("Module") {
        return;
    }
    let lists = [("parameters", &class.parameters), ("buffers", &class.buffers)];
    for (what, list) in lists {
        if list.as_ref().is_some_and(|list| !list.names.is_empty()) {
            unknown.push(format!("`{name}` is no module and has {what}"));
        }
    }
}

/// One function.
struct Reader<'a> {
    model: &'a Model,
    program: &'a Program,
    file: usize,
    function: &'a Function,
    /// The classes of local names.
    names: BTreeMap<&'a str, ClassRef>,
    unknown: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    fn text(&self, span: &crate::torchscript::code::Span) -> &'a str {
        text_of(self.program.text(self.file), span)
    }

    fn read(&mut self) {
        for parameter in &self.function.parameters {
            let class = parameter.ty.as_ref().and_then(|ty| self.program.find_class(self.text(ty)));
            if let Some(class) = class {
                self.names.insert(&parameter.name, class);
            }
        }
        for statement in &self.function.body {
            let StatementKind::Assign { targets, value, .. } = &statement.kind else { continue };
            if let ([Target::Name(name)], Some(class)) = (targets.as_slice(), self.class(*value)) {
                self.names.insert(self.text(name), class);
            }
        }
        for expr in &self.function.exprs {
            match &expr.kind {
                ExprKind::Attribute { base, name } => self.attribute(*base, self.text(name)),
                ExprKind::Call { callee, arguments, .. } => {
                    self.call(*callee);
                    if let (Some((object, name)), Some(ExprKind::Name)) =
                        (self.getattr(*callee, arguments), self.kind(*callee))
                    {
                        self.attribute(object, &name);
                    }
                }
                _ => {}
            }
        }
    }

    fn kind(&self, id: ExprId) -> Option<&'a ExprKind> {
        self.function.expr(id).map(|expr| &expr.kind)
    }

    fn whole(&self, id: ExprId) -> &'a str {
        self.function.expr(id).map_or("", |expr| self.text(&expr.span))
    }

    /// `getattr(object, "name")`.
    fn getattr(&self, callee: ExprId, arguments: &[crate::torchscript::code::Argument]) -> Option<(ExprId, String)> {
        let [object, name] = arguments else { return None };
        (self.whole(callee) == "getattr").then_some(())?;
        Some((object.value, unquote(self.whole(name.value))?))
    }

    /// The class of an expression's value, where it is an object of the archive's classes.
    fn class(&self, id: ExprId) -> Option<ClassRef> {
        match self.kind(id)? {
            ExprKind::Name => self.names.get(self.whole(id)).copied(),
            ExprKind::Group(inner) => self.class(*inner),
            ExprKind::Attribute { base, name } => self.member(self.class(*base)?, self.text(name)),
            ExprKind::Call { callee, arguments, .. } => {
                let (object, name) = self.getattr(*callee, arguments)?;
                self.member(self.class(object)?, &name)
            }
            _ => None,
        }
    }

    /// The class that an attribute is declared with.
    fn member(&self, class: ClassRef, name: &str) -> Option<ClassRef> {
        let attribute = self.program.class(class)?.attribute(name)?;
        self.program.find_class(text_of(self.program.text(class.file), &attribute.ty))
    }

    fn attribute(&mut self, base: ExprId, name: &str) {
        if self.kind(base) == Some(&ExprKind::Name) && self.whole(base) == "CONSTANTS" {
            let number = name.strip_prefix('c').and_then(|digits| digits.parse::<usize>().ok());
            if number.is_none_or(|number| number >= self.model.heap().constants.len()) {
                self.unknown.push(format!("`{}` reads `CONSTANTS.{name}`, which is not there", self.function.name));
            }
            return;
        }
        let Some(place) = self.class(base) else { return };
        let Some(class) = self.program.class(place) else { return };
        if class.attribute(name).is_none() && class.method(name).is_none() {
            let text = format!("`{}` uses `{name}` of class `{}`, which has none", self.function.name, class.name);
            self.unknown.push(text);
        }
    }

    /// A function or class that is called by its qualified name.
    fn call(&mut self, callee: ExprId) {
        let path = self.whole(callee);
        if !path.starts_with("__torch__.") || !matches!(self.kind(callee), Some(ExprKind::Attribute { .. })) {
            return;
        }
        let (owner, method) = path.rsplit_once('.').unwrap_or((path, ""));
        let of_class = self.program.find_class(owner).and_then(|class| self.program.find_method(class, method));
        let known =
            self.program.find_function(path).is_some() || self.program.find_class(path).is_some() || of_class.is_some();
        if !known {
            self.unknown.push(format!("`{}` calls `{path}`, which is not in the code", self.function.name));
        }
    }
}
