//! Generated parts of a page, each between two markers.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::run::{note, root};

/// Put each part (its name and its text) between its markers in `page`, which `command` does.
pub(crate) fn write(page: &str, command: &str, parts: &[(&str, String)]) -> Result<()> {
    let path = root().join(page);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {page}"))?;
    let mut new = old.clone();
    for (name, part) in parts {
        new = replaced(page, command, &new, name, part)?;
    }
    if new == old {
        note(&format!("{page} is up to date"));
    } else {
        #[expect(clippy::disallowed_methods, reason = "nobody maps a page of text, and git has the old one")]
        fs::write(&path, new).with_context(|| format!("cannot write {page}"))?;
        note(&format!("{page} was written"));
    }
    Ok(())
}

/// The text of `page` with `part` between the markers of `name`.
pub(crate) fn replaced(page: &str, command: &str, text: &str, name: &str, part: &str) -> Result<String> {
    let begin = format!("<!-- {name}: made by `{command}` -->");
    let end = format!("<!-- {name}: end -->");
    let found = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let Some((before, after)) = found else {
        bail!("{page} has no `{begin}` that a `{end}` follows");
    };
    Ok(format!("{before}{begin}\n{part}{end}{after}"))
}
