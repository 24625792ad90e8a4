//! The checker over crates that are made up.

use super::against;
use super::tree::Tree;

/// What is said about a crate of these files, with these wings.
fn found(order: &[&str], files: &[(&str, &str)]) -> Vec<String> {
    let text = |path: &str| files.iter().find(|(file, _)| *file == path).map(|(_, text)| (*text).to_owned());
    against(&Tree::read(&text), order)
}

const HOUSE: (&str, &str) = ("lib.rs", "mod low; mod high; pub use low::Thing;");

#[test]
fn a_wing_uses_those_before_it() {
    let low = ("low.rs", "pub struct Thing; pub fn make() -> Thing { Thing }");
    let high = ("high.rs", "use crate::low; use crate::low::Thing; fn f() -> Thing { low::make() }");
    assert_eq!(found(&["low", "high"], &[HOUSE, low, high]), [""; 0]);
    assert_eq!(found(&["high", "low"], &[HOUSE, low, high]), ["high.rs uses low.rs (`crate::low`)"]);
}

#[test]
fn every_way_to_write_a_path_counts() {
    let high = ("high.rs", "pub fn f() {} pub struct S; pub const N: u8 = 0;");
    for low in [
        "fn g() { crate::high::f() }",
        "fn g() { super::high::f() }",
        "fn g() { println!(\"{}\", 1 + crate::high::N) }",
        "fn g() { use crate::high::f; f() }",
        "fn g() { let _: Vec<crate::high::S>; }",
        "use crate::{high as other};",
        "use super::{high::{self, f}};",
        "mod inner { fn g() { super::super::high::f() } }",
        "impl X { fn g() -> crate::high::S {} }",
        "#[cfg(unix)] use crate::high::f;",
        "macro_rules! m { () => { crate::high::f() } }",
    ] {
        let found = found(&["low", "high"], &[("lib.rs", "mod low; mod high;"), ("low.rs", low), high]);
        assert!(found.iter().any(|it| it.starts_with("low.rs uses high.rs")), "{low}: {found:?}");
    }
}

#[test]
fn code_of_tests_may_use_everything() {
    let low = "#[cfg(test)] mod tests { use crate::high::f; } #[cfg(test)] mod other; #[cfg(test)] use crate::high::f; \
               #[cfg(test)] fn g() { crate::high::f() } impl X { #[cfg(test)] fn h() { crate::high::f() } }";
    let files = [("lib.rs", "mod low; mod high;"), ("low.rs", low), ("high.rs", "pub fn f() {}")];
    assert_eq!(found(&["low", "high"], &files), [""; 0]);
}

#[test]
fn a_wing_needs_a_place_and_a_place_a_wing() {
    let files = [("lib.rs", "mod low; mod new;"), ("low/mod.rs", ""), ("new.rs", "")];
    assert_eq!(found(&["low", "high"], &files), ["`new` has no place", "there is no `high`"]);
}

#[test]
fn nobody_takes_from_the_top() {
    for path in ["crate::Thing", "crate::Outside", "super::helper"] {
        let high = format!("use {path};");
        let lib = "mod low; mod high; pub use low::Thing; pub use outside::Outside; fn helper() {}";
        let found = found(&["low", "high"], &[("lib.rs", lib), ("low.rs", "pub struct Thing;"), ("high.rs", &high)]);
        assert!(found.contains(&format!("high.rs uses lib.rs (`{path}`)")), "{found:?}");
    }
}

#[test]
fn a_folder_may_use_what_is_in_it_and_be_used_by_it() {
    let folder = ("wing/mod.rs", "mod a; mod b; pub use a::A; pub fn f() -> A { b::g() } pub struct Own;");
    let a = ("wing/a.rs", "use super::Own; pub struct A;");
    let b = ("wing/b.rs", "use super::{A, Own}; pub fn g() -> A { A }");
    assert_eq!(found(&["wing"], &[("lib.rs", "mod wing;"), folder, a, b]), [""; 0]);
}

#[test]
fn a_circle_is_found_through_what_a_folder_hands_out() {
    let folder = ("wing/mod.rs", "mod a; mod b; mod c; pub use a::A; pub use b::B; pub use c::C;");
    let files =
        |a, c| [("lib.rs", "mod wing;"), folder, ("wing/a.rs", a), ("wing/b.rs", "use super::A;"), ("wing/c.rs", c)];
    assert_eq!(found(&["wing"], &files("", "use super::{A, B};")), [""; 0]);
    assert_eq!(
        found(&["wing"], &files("use super::C;", "use super::B;")),
        [
            "in a circle: wing/a.rs uses wing/c.rs (`super::C`)",
            "in a circle: wing/b.rs uses wing/a.rs (`super::A`)",
            "in a circle: wing/c.rs uses wing/b.rs (`super::B`)",
        ]
    );
}

#[test]
fn folders_count_as_a_whole() {
    let files = [
        ("lib.rs", "mod wing;"),
        ("wing/mod.rs", "mod one; mod two;"),
        ("wing/one/mod.rs", "pub mod a; pub mod b;"),
        ("wing/one/a.rs", "use crate::wing::two::c::f;"),
        ("wing/one/b.rs", "pub fn f() {}"),
        ("wing/two/mod.rs", "pub mod c; pub mod d;"),
        ("wing/two/c.rs", "pub fn f() {}"),
        ("wing/two/d.rs", "use super::super::one::b::f;"),
    ];
    assert_eq!(
        found(&["wing"], &files),
        [
            "in a circle: wing/one/a.rs uses wing/two/c.rs (`crate::wing::two::c::f`)",
            "in a circle: wing/two/d.rs uses wing/one/b.rs (`super::super::one::b::f`)",
        ]
    );
}

#[test]
fn names_are_imported_one_by_one() {
    let files = [("lib.rs", "mod a; mod b;"), ("a.rs", "pub fn f() {}"), ("b.rs", "use crate::a::*; use outside::*;")];
    assert_eq!(found(&["a", "b"], &files), ["b.rs imports everything of `crate::a`"]);
}

#[test]
fn a_method_is_used_where_it_is_written() {
    let low = "pub struct Thing; impl Thing { pub fn own(&self) {} pub fn f(&self) { self.own(); self.lent(); } }";
    let high = "use crate::low::Thing; impl Thing { pub fn lent(&self) { self.own() } }";
    let found =
        |low: &str| found(&["low", "high"], &[("lib.rs", "mod low; mod high;"), ("low.rs", low), ("high.rs", high)]);
    assert_eq!(found(low), ["low.rs uses high.rs (`.lent()`)"]);
    for call in ["Self::lent(self)", "println!(\"{}\", self.lent())", "self.own()"] {
        assert_eq!(found(&low.replace("self.lent()", call)).is_empty(), call == "self.own()", "{call}");
    }
    let two = low.to_owned() + "pub struct Other; impl Other { pub fn lent(&self) {} }";
    assert_eq!(found(&two), [""; 0], "whose it is cannot be told");
}
