//! Tables of codes, sources and `docs/codes.md` agree. `cargo xtask docs --codes --write` writes the page.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "codes/page.rs"]
mod page;
#[path = "codes/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use quant_math::codes::{Code, Kind};

use sources::{Sources, is_error};

/// The crates that have a table, with it.
fn tables() -> [(&'static str, Vec<&'static Code>); 4] {
    [
        ("quant-math", quant_math::codes::all().collect()),
        ("quant-cli", quant_cli::codes::all().collect()),
        ("tf-rewriter", tf_rewriter::codes::all().collect()),
        ("torch-adapter", torch_adapter::codes::all().collect()),
    ]
}

/// Crates that say the codes of a crate's table: for those of `quant-math`, all of them.
fn sayers(table: &str) -> Vec<&str> {
    match table {
        "quant-math" => vec!["quant-math", "quant-cli", "model-file", "tf-rewriter", "torch-adapter"],
        // The binaries stand on it.
        "quant-cli" => vec!["quant-cli", "tf-rewriter", "torch-adapter"],
        own => vec![own],
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_is_current() {
    let (path, page) = (root().join("docs/codes.md"), page::text(&tables()));
    if std::env::var_os("QUANT_WRITE_DOCS").is_some_and(|value| value == "1") {
        #[expect(clippy::disallowed_methods, reason = "nobody maps a page of text, and git has the old one")]
        fs::write(&path, &page).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/codes.md is not up to date: `cargo xtask docs --codes --write` makes it anew");
}

#[test]
fn a_code_stands_once_in_all_tables() {
    let mut seen = BTreeMap::new();
    for (table, code) in tables().iter().flat_map(|(table, codes)| codes.iter().map(move |code| (table, code))) {
        assert_eq!(seen.insert(code.name, table), None, "`{}` stands twice", code.name);
    }
}

#[test]
fn every_entry_is_whole() {
    let newest = version(env!("CARGO_PKG_VERSION"));
    for code in tables().iter().flat_map(|(_, codes)| codes) {
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(is_error(code.name) || code.name.chars().all(kebab), "{code:?}");
        assert!(!code.kinds.is_empty() && code.kinds.is_sorted_by(|a, b| a < b), "{code:?}");
        assert!(
            !code.kinds.contains(&Kind::Error) || is_error(code.name),
            "errors have a letter and a number: {code:?}"
        );
        for text in [code.meaning, code.way_out] {
            assert!(!text.trim().is_empty() && text.trim() == text && !text.ends_with('.'), "{code:?}");
        }
        assert!(version(code.since) <= newest, "{code:?}");
    }
}

fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|part| part.parse().unwrap()).collect()
}

#[test]
fn what_the_sources_say_is_in_a_table() {
    let tables = tables();
    for krate in sayers("quant-math") {
        let sources = Sources::of(root(), krate);
        let known: BTreeSet<&str> = tables
            .iter()
            .filter(|(table, _)| sayers(table).contains(&krate))
            .flat_map(|(_, codes)| codes.iter().map(|code| code.name))
            .collect();
        for (code, place) in sources.errors() {
            assert!(known.contains(code), "{place} says `{code}`, which is in no table that {krate} has");
        }
        // What else is said is a constant of a table: the compiler sees to it where a `Reason` or a `Code` cannot be made in another way.
        sources.assert_without(&["Reason { code", "Code { name", "codes! {", "errors! {"]);
        sources.assert_errors_behind(&["Diagnostic::error(", "Diagnostic::warning("]);
    }
}

#[test]
fn what_is_in_a_table_is_said() {
    for (table, codes) in tables() {
        let constants = sources::constants(root(), table);
        let sources: Vec<Sources> = sayers(table).into_iter().map(|krate| Sources::of(root(), krate)).collect();
        for code in &codes {
            let constant = constants.get(code.name);
            let said = |sources: &Sources| {
                sources.has(&format!("\"{}\"", code.name)) && is_error(code.name)
                    || constant.is_some_and(|constant| sources.has_word(&format!("codes::{constant}")))
            };
            assert!(sources.iter().any(said), "nothing in {table} says `{}`", code.name);
        }
        let in_constants: BTreeSet<&str> = constants.keys().map(String::as_str).collect();
        let in_table: BTreeSet<&str> = codes.iter().map(|code| code.name).collect();
        assert!(in_constants.is_subset(&in_table), "constants of {table} were not read right");
        assert!(codes.iter().all(|code| is_error(code.name) || constants.contains_key(code.name)), "{table}");
    }
}

#[test]
fn a_scan_finds_what_it_is_for() {
    let sources = Sources::from_text(
        "a.rs",
        "fn code() { \"E0101\" }\nfn f() { Diagnostic::error(\n    \"U0101\", x); }\n#[cfg(test)]\nmod tests {\n \"E9999\" }",
    );
    assert_eq!(sources.errors().iter().map(|(code, _)| *code).collect::<Vec<_>>(), ["E0101", "U0101"]);
    assert!(sources.has_word("code") && !sources.has_word("cod") && !sources.has_word("E010"));
    sources.assert_errors_behind(&["Diagnostic::error("]);
    let bad = Sources::from_text("b.rs", "Diagnostic::warning(\"late\", x)");
    assert!(std::panic::catch_unwind(|| bad.assert_errors_behind(&["Diagnostic::warning("])).is_err());
    let bad = Sources::from_text("b.rs", "let reason = Reason {\n    code: \"late\".into() };");
    assert!(std::panic::catch_unwind(|| bad.assert_without(&["Reason { code"])).is_err());
}
