//! What a file says of others: its modules, what it imports, and the paths in its code. Code of tests is left out.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    Attribute, ExprMethodCall, Ident, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemUse, Macro, TraitItemFn, UseTree,
};

type Segments = Vec<String>;

/// What stands in one module.
#[derive(Clone, Default)]
pub(super) struct Contents {
    /// Modules that are files of their own.
    pub(super) files: Vec<String>,
    pub(super) inline: Vec<(String, Self)>,
    /// Names that stand for something elsewhere.
    pub(super) names: BTreeMap<String, Segments>,
    /// Whatever is imported as a whole.
    pub(super) globs: Vec<Segments>,
    /// Paths of imports and in the code.
    pub(super) paths: BTreeSet<Segments>,
    /// Types that methods are given to, with those methods.
    pub(super) impls: Vec<(Segments, String)>,
    /// Names of all methods and functions in blocks.
    pub(super) methods: Vec<String>,
    /// Names of methods that are called.
    pub(super) calls: BTreeSet<String>,
}

pub(super) fn contents(text: &str) -> Contents {
    let mut contents = Contents::default();
    contents.visit_file(&syn::parse_file(text).unwrap());
    contents
}

/// Whether it is compiled for tests only.
fn of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.meta.require_list().map(|list| list.tokens.to_string());
        attribute.path().is_ident("test") || attribute.path().is_ident("cfg") && condition.is_ok_and(|it| it == "test")
    })
}

impl Contents {
    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let longer = |name: &Ident| match name.to_string().as_str() {
            // `use a::{self, b}`
            "self" if !before.is_empty() => before.to_vec(),
            name => [before, &[name.to_owned()]].concat(),
        };
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &longer(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Glob(_) => self.globs.push(before.to_vec()),
            UseTree::Name(name) => self.name(longer(&name.ident), None),
            UseTree::Rename(rename) => self.name(longer(&rename.ident), Some(rename.rename.to_string())),
        }
    }

    fn name(&mut self, path: Segments, other: Option<String>) {
        if let Some(name) = other.or_else(|| path.last().cloned()) {
            self.names.insert(name, path.clone());
        }
        self.paths.insert(path);
    }

    /// The paths in what a macro is given, names with `::` between them, and the methods, names behind a dot.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons, mut dot) = (Segments::new(), 0, false);
        for token in tokens {
            let behind_dot =
                std::mem::replace(&mut dot, matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '.'));
            match token {
                TokenTree::Ident(name) => {
                    if behind_dot {
                        self.calls.insert(name.to_string());
                    }
                    if colons != 2 {
                        self.path(std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.path(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.path(path);
    }

    /// A single name is its own file's, or was imported.
    fn path(&mut self, path: Segments) {
        if path.len() > 1 {
            self.paths.insert(path);
        }
    }
}

fn segments(path: &syn::Path) -> Segments {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

impl<'ast> Visit<'ast> for Contents {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if of_tests(&module.attrs) {
            return;
        }
        let name = module.ident.to_string();
        match &module.content {
            None => self.files.push(name),
            Some((_, items)) => {
                let mut inside = Self::default();
                for item in items {
                    inside.visit_item(item);
                }
                self.inline.push((name, inside));
            }
        }
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        if !of_tests(&import.attrs) && import.leading_colon.is_none() {
            self.import(&import.tree, &[]);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if !of_tests(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        if of_tests(&block.attrs) {
            return;
        }
        if let (None, syn::Type::Path(path)) = (&block.trait_, &*block.self_ty) {
            let names = block.items.iter().filter_map(|item| match item {
                syn::ImplItem::Fn(function) if !of_tests(&function.attrs) => Some(function.sig.ident.to_string()),
                _ => None,
            });
            self.impls.extend(names.map(|name| (segments(&path.path), name)));
        }
        visit::visit_item_impl(self, block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !of_tests(&function.attrs) {
            self.methods.push(function.sig.ident.to_string());
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        self.methods.push(function.sig.ident.to_string());
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.calls.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.path(segments(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }
}
