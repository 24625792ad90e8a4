//! `docs/codes.md`, made of the tables.

use std::fmt::Write as _;

use quant_math::codes::Code;

use super::sources::is_error;

const BEGIN: &str = "<!-- made by `cargo xtask docs --codes --write` from the crates' tables: `quant_math::codes` and its kin -->
# Codes

Everything that is left alone, and everything that a user should know, has a code: in plans, in reports, on standard error, and under `--json` in
the field `code`. A code never changes its meaning, and none is used again for another one; texts beside them may change. Programs compare codes,
not texts. `decision.skip.code` of a plan that was written by hand ([plan.md](plan.md)) is any word.
";

const WORDS: &str = "
## Skips, warnings and notes

A skip says why a site, or a constant, was left as it is. A warning stands in the plan, the report or on standard error; what was asked for was done.
A note asks for nothing.
";

const ERRORS: &str = "
## Errors

What was asked for was not done; where it says `warning`, it was, unless an option makes it an error. The letter says what it is about: `C` the
config, `E` a graph and what runs it, `M` numbers, `O` the output, `P` a plan that was written down, `R` ranges files, `T` an archive, `U` the
command line.
";

pub(super) fn text(tables: &[(&str, Vec<&Code>)]) -> String {
    let all = || tables.iter().flat_map(|(table, codes)| codes.iter().map(move |code| (*table, *code)));
    let mut page = BEGIN.to_owned();
    for (heading, errors) in [(WORDS, false), (ERRORS, true)] {
        page.push_str(heading);
        page.push_str("\n| code | kind | of | meaning | way out | since |\n| --- | --- | --- | --- | --- | --- |\n");
        let mut rows: Vec<_> = all().filter(|(_, code)| is_error(code.name) == errors).collect();
        rows.sort_by_key(|(_, code)| code.name);
        for (table, code) in rows {
            let kinds: Vec<String> = code.kinds.iter().map(ToString::to_string).collect();
            let cells = [kinds.join(", "), speaker(table).to_owned(), cell(code.meaning), cell(code.way_out)];
            writeln!(page, "| `{}` | {} | {} |", code.name, cells.join(" | "), code.since).unwrap();
        }
    }
    page
}

/// Who says the codes of a crate's table.
fn speaker(table: &str) -> &str {
    match table {
        "quant-math" | "quant-cli" => "both",
        adapter => adapter,
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
