//! Who may use whom inside a crate.
//!
//! A crate's top modules are its wings, and stand in an order: a file uses its own wing and those before it. Inside a wing, what stands in
//! one folder (files, and folders as a whole) uses each other in no circle; only a `mod.rs` and what is below it may use one another. A path
//! leads to the file that holds the item, through whatever re-exports; a method, as far as names tell, to the file that gives it to its type.
//! `lib.rs` only hands out, and nobody below it takes from it.
#![expect(clippy::indexing_slicing, clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod made_up;
mod paths;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tree::{ROOT, Tree};

/// The order of a crate's top modules.
pub(crate) struct Layers {
    pub(crate) krate: &'static str,
    /// Lowest first: all modules that `lib.rs` declares.
    pub(crate) order: &'static [&'static str],
}

/// The crates that have an order.
pub(crate) const LAYERS: &[Layers] = &[TF_REWRITER, TORCH_ADAPTER];

const TORCH_ADAPTER: Layers = Layers {
    krate: "torch-adapter",
    order: &[
        "codes",
        "limits",
        "error",
        "torchscript",
        "find",
        "prepare",
        "plan",
        "rewrite",
        "survey",
        "run",
        "quantizers",
    ],
};

const TF_REWRITER: Layers = Layers {
    krate: "tf-rewriter",
    order: &[
        "codes",
        "error",
        "graphdef",
        "find",
        "prepare",
        "plan",
        "rewrite",
        "survey",
        "run",
        "model",
        "quantizers",
    ],
};

/// Every use that goes against the order, or along a circle.
pub(crate) fn violations(root: &Path, layers: &Layers) -> Vec<String> {
    let source = root.join(layers.krate).join("src");
    against(&Tree::read(&|path| fs::read_to_string(source.join(path)).ok()), layers.order)
}

/// One use of one entry of a folder by another, for the message.
type Uses = BTreeMap<(usize, usize), BTreeSet<String>>;

fn against(tree: &Tree, order: &[&str]) -> Vec<String> {
    let mut found = tree.globs();
    let tops = tree.children(ROOT);
    found.extend(tops.keys().filter(|top| !order.contains(&top.as_str())).map(|top| format!("`{top}` has no place")));
    found.extend(order.iter().filter(|top| !tops.contains_key(**top)).map(|top| format!("there is no `{top}`")));
    let place = |module: usize| order.iter().position(|top| tops.get(*top) == Some(&module));

    let mut folders: BTreeMap<usize, Uses> = BTreeMap::new();
    for ((user, used), path) in tree.uses() {
        let shown = || format!("{} uses {} (`{path}`)", tree.file(user), tree.file(used));
        if used == ROOT && user != ROOT {
            found.push(shown());
        }
        let Some((folder, from, to)) = tree.part(user, used) else { continue };
        if folder != ROOT {
            folders.entry(folder).or_default().entry((from, to)).or_default().insert(shown());
        } else if place(from) < place(to) {
            found.push(shown());
        }
    }
    for uses in folders.values() {
        for ((from, to), shown) in uses {
            if reaches(uses, *to, *from) {
                found.extend(shown.iter().map(|shown| format!("in a circle: {shown}")));
            }
        }
    }
    found
}

fn reaches(uses: &Uses, from: usize, to: usize) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            open.extend(uses.range((module, 0)..(module + 1, 0)).map(|((_, next), _)| *next));
        }
    }
    false
}
