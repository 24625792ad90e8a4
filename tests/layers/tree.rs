//! The modules of a crate, and which of them a path leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{self, Contents};

/// `lib.rs`.
pub(super) const ROOT: usize = 0;

/// Re-exports of re-exports, and no more than anybody writes: a circle of them does not compile.
const REEXPORTS: usize = 16;

/// Methods of ours that have namesakes in the standard library.
const OF_STD: [&str; 2] = ["inspect", "values"];

struct Module {
    /// From the crate's `src`.
    file: String,
    parent: usize,
    children: BTreeMap<String, usize>,
    contents: Contents,
}

pub(super) struct Tree(Vec<Module>);

impl Tree {
    /// The modules that can be reached from `lib.rs`, without those of tests; `read` gives the text of a file.
    pub(super) fn read(read: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut tree = Self(Vec::new());
        let text = read("lib.rs").expect("a library has a lib.rs");
        tree.add(ROOT, "lib.rs", "", paths::contents(&text), read);
        tree
    }

    fn add(
        &mut self,
        parent: usize,
        file: &str,
        folder: &str,
        contents: Contents,
        read: &dyn Fn(&str) -> Option<String>,
    ) {
        let module = self.0.len();
        let (files, inline) = (contents.files.clone(), contents.inline.clone());
        self.0.push(Module { file: file.to_owned(), parent, children: BTreeMap::new(), contents });
        for name in files {
            let inside = format!("{folder}{name}/");
            let candidates = [format!("{folder}{name}.rs"), format!("{inside}mod.rs")];
            let found = candidates.iter().find_map(|path| Some((path, read(path)?)));
            let (path, text) =
                found.unwrap_or_else(|| panic!("{file} declares `{name}`, and there is no {candidates:?}"));
            let child = self.0.len();
            self.0[module].children.insert(name, child);
            self.add(module, path, &inside, paths::contents(&text), read);
        }
        for (name, contents) in inline {
            let child = self.0.len();
            self.0[module].children.insert(name.clone(), child);
            self.add(module, file, &format!("{folder}{name}/"), contents, read);
        }
    }

    pub(super) fn children(&self, module: usize) -> &BTreeMap<String, usize> {
        &self.0[module].children
    }

    pub(super) fn file(&self, module: usize) -> &str {
        &self.0[module].file
    }

    /// Imports of everything that another file holds: what is used of it cannot be told, and what is handed on neither.
    pub(super) fn globs(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (module, Module { file, contents, .. }) in self.0.iter().enumerate() {
            for path in &contents.globs {
                let mut met = BTreeSet::new();
                self.follow(module, path, 0, &mut met);
                if met.iter().any(|used| self.file(*used) != file) {
                    found.push(format!("{file} imports everything of `{}`", path.join("::")));
                }
            }
        }
        found
    }

    /// Which module uses which other, and by which path: one of them, best the one that was imported.
    pub(super) fn uses(&self) -> BTreeMap<(usize, usize), String> {
        let mut uses = BTreeMap::new();
        for (module, Module { contents, .. }) in self.0.iter().enumerate() {
            let (imported, named): (Vec<_>, Vec<_>) = contents
                .paths
                .iter()
                .partition(|path| path.first().is_some_and(|head| head == "crate" || head == "super"));
            for path in imported.into_iter().chain(named) {
                let mut met = BTreeSet::new();
                self.follow(module, path, 0, &mut met);
                for used in met {
                    uses.entry((module, used)).or_insert_with(|| path.join("::"));
                }
            }
        }
        let lent = self.lent();
        for (module, Module { contents, .. }) in self.0.iter().enumerate() {
            let named = contents.paths.iter().filter_map(|path| path.last());
            for name in contents.calls.iter().chain(named) {
                if let Some(lender) = lent.get(name.as_str()).filter(|lender| **lender != module) {
                    uses.entry((module, *lender)).or_insert_with(|| format!(".{name}()"));
                }
            }
        }
        uses
    }

    /// Methods that another file gives a type than the one that holds it, and which file does: such a file is used without a path. Only
    /// those whose name nothing else has, since a call does not say whose method it is.
    fn lent(&self) -> BTreeMap<&str, usize> {
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.0.iter().flat_map(|module| &module.contents.methods) {
            *known.entry(name).or_default() += 1;
        }
        let mut lent = BTreeMap::new();
        for (module, Module { contents, .. }) in self.0.iter().enumerate() {
            for (of, name) in &contents.impls {
                let mut met = BTreeSet::new();
                self.follow(module, of, 0, &mut met);
                let elsewhere = met.iter().any(|used| self.file(*used) != self.file(module));
                if elsewhere && known.get(name.as_str()) == Some(&1) && !OF_STD.contains(&name.as_str()) {
                    lent.insert(name.as_str(), module);
                }
            }
        }
        lent
    }

    /// The folder in which two modules part, and the entries of it that they stand in. None where one stands inside the other.
    pub(super) fn part(&self, one: usize, other: usize) -> Option<(usize, usize, usize)> {
        let (one, other) = (self.line(one), self.line(other));
        let common = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
        Some((one[common - 1], *one.get(common)?, *other.get(common)?))
    }

    /// From the root down to a module.
    fn line(&self, mut module: usize) -> Vec<usize> {
        let mut line = vec![module];
        while module != ROOT {
            module = self.0[module].parent;
            line.push(module);
        }
        line.reverse();
        line
    }

    /// Where a path leads from a module; `met` gets the module that holds the item, and `lib.rs` where it is handed on there. Whether it
    /// leads anywhere in this crate.
    fn follow(&self, from: usize, path: &[String], depth: usize, met: &mut BTreeSet<usize>) -> bool {
        let mut rest = path;
        let mut at = from;
        let mut relative = true;
        while let [head, tail @ ..] = rest {
            match head.as_str() {
                "crate" => at = ROOT,
                "super" => at = self.0[at].parent,
                "self" => {}
                _ => break,
            }
            (rest, relative) = (tail, false);
        }
        while let [head, tail @ ..] = rest {
            let Module { children, contents, .. } = &self.0[at];
            if let Some(child) = children.get(head) {
                (at, rest, relative) = (*child, tail, false);
                continue;
            }
            if depth < REEXPORTS
                && let Some(named) = contents.names.get(head)
                && self.follow(at, &[named, tail].concat(), depth + 1, met)
            {
                if at == ROOT && from != ROOT {
                    met.insert(ROOT);
                }
                return true;
            }
            break;
        }
        if relative {
            return false;
        }
        met.insert(at);
        true
    }
}
