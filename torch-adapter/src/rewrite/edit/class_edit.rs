//! What is to change in the text of a class, for one object.

use std::collections::{BTreeMap, BTreeSet};

use crate::torchscript::code::{Attribute, Class, Span, Splice};

/// Texts around an expression, by its place in the file's text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TextWrap {
    /// The expression.
    pub(crate) start: usize,
    /// Its end.
    pub(crate) end: usize,
    /// Text before it.
    pub(crate) before: String,
    /// Text behind it.
    pub(crate) after: String,
}

/// How an attribute is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Listed {
    /// In `__buffers__`.
    Buffer,
    /// In `__parameters__`.
    Parameter,
    /// Nowhere: a submodule or a setting.
    No,
}

/// A new attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Declaration {
    pub(crate) name: String,
    pub(crate) ty: String,
    pub(crate) listed: Listed,
}

/// Everything that changes in the text of an object's class. Objects of one class with equal changes keep sharing it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct ClassEdit {
    /// Texts around expressions, in the order in which they were asked for: of two around one expression the later one is the outer one.
    pub(crate) wraps: Vec<TextWrap>,
    /// Texts in the place of others, by start and end; the same one asked for again is one.
    replaced: BTreeSet<(usize, usize, String)>,
    /// Texts that are put in, by place.
    inserted: BTreeSet<(usize, String)>,
    /// New attributes.
    pub(crate) declarations: Vec<Declaration>,
    /// Attributes that go.
    pub(crate) dropped: Vec<String>,
    /// Parameters that become buffers.
    pub(crate) unlisted: Vec<String>,
    /// Attributes whose type is another class now.
    pub(crate) retyped: Vec<(String, String)>,
}

impl ClassEdit {
    /// Put `text` in the place of what stands at `start..end`.
    pub(crate) fn replace(&mut self, start: usize, end: usize, text: String) {
        self.replaced.insert((start, end, text));
    }

    /// Put `text` before what stands at `at`.
    pub(crate) fn insert(&mut self, at: usize, text: String) {
        self.inserted.insert((at, text));
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Collect the changes for `class` in `source`.
    pub(crate) fn splice(&self, class: &Class, source: &str, splice: &mut Splice) {
        for TextWrap { start, end, before, after } in &self.wraps {
            splice.wrap(&(*start..*end), before, after);
        }
        for (at, text) in &self.inserted {
            splice.insert(*at, text);
        }
        for (start, end, text) in &self.replaced {
            splice.replace(*start..*end, text);
        }
        let dropped: BTreeSet<&str> = self.dropped.iter().map(String::as_str).collect();
        let attributes: BTreeMap<&str, &Attribute> =
            class.attributes.iter().rev().map(|attribute| (attribute.name.as_str(), attribute)).collect();
        for (name, ty) in &self.retyped {
            if let Some(attribute) = attributes.get(name.as_str()) {
                splice.replace(attribute.ty.clone(), ty);
            }
        }
        for name in &self.dropped {
            if let Some(attribute) = attributes.get(name.as_str()) {
                splice.replace(whole_line(source, &attribute.span), "");
            }
        }
        let mut buffers: Vec<&str> = self.declared(Listed::Buffer);
        buffers.extend(self.unlisted.iter().map(String::as_str));
        let unlisted = self.unlisted.iter().map(String::as_str).chain(dropped.iter().copied()).collect();
        unlist(class, source, &unlisted, splice);
        let parameters = self.declared(Listed::Parameter);
        let mut lines = list(class.parameters.as_ref(), "__parameters__", &parameters, class, splice);
        lines.push_str(&list(class.buffers.as_ref(), "__buffers__", &buffers, class, splice));
        if !lines.is_empty() {
            splice.insert(class.body_start, lines);
        }
        let indent = " ".repeat(class.body_indent);
        let declared = |d: &Declaration| format!("{indent}{} : {}", d.name, d.ty);
        let declared: Vec<String> = self.declarations.iter().map(declared).collect();
        if declared.is_empty() {
            return;
        }
        let lists = [&class.parameters, &class.buffers].into_iter().flatten().map(|list| list.span.end);
        let kept = class.attributes.iter().filter(|attribute| !dropped.contains(attribute.name.as_str()));
        match kept.map(|attribute| attribute.span.end).chain(lists).max() {
            Some(end) => splice.insert(end, format!("\n{}", declared.join("\n"))),
            None => splice.insert(class.body_start, declared.join("\n") + "\n"),
        }
    }

    fn declared(&self, listed: Listed) -> Vec<&str> {
        self.declarations.iter().filter(|d| d.listed == listed).map(|d| d.name.as_str()).collect()
    }
}

/// Add names to a list, or return the line of a new one.
fn list(
    found: Option<&crate::torchscript::code::NameList>,
    name: &str,
    names: &[&str],
    class: &Class,
    splice: &mut Splice,
) -> String {
    if names.is_empty() {
        return String::new();
    }
    let items: String = names.iter().flat_map(|name| ["\"", name, "\", "]).collect();
    match found {
        Some(list) => {
            splice.insert(list.span.end.saturating_sub(1), items);
            String::new()
        }
        None => format!("{}{name} = [{items}]\n", " ".repeat(class.body_indent)),
    }
}

/// Take names out of `__parameters__` and `__buffers__`, with the comma behind each.
fn unlist(class: &Class, source: &str, names: &BTreeSet<&str>, splice: &mut Splice) {
    for list in [&class.parameters, &class.buffers].into_iter().flatten() {
        for (found, span) in list.names.iter().zip(&list.spans) {
            if names.contains(found.as_str()) {
                let rest = source.get(span.end..).unwrap_or_default();
                let comma = rest.len() - rest.trim_start_matches([',', ' ']).len();
                splice.replace(span.start..span.end + comma, "");
            }
        }
    }
}

/// The line of a declaration, its end included.
pub(crate) fn whole_line(source: &str, span: &Span) -> Span {
    let start = source.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end = source.get(span.end..).and_then(|after| after.find('\n')).map_or(source.len(), |at| span.end + at + 1);
    start..end
}
