//! The golden vectors: what the frameworks' own kernels answered.

use std::fs;

use anyhow::{Context as _, Result};

use crate::oracles::{self, Oracles};
use crate::run::{note, output, python, root};

const FOLDER: &str = "tests/golden";

/// Records them anew.
pub(crate) fn record() -> Result<()> {
    let Oracles { tensorflow, torch } = oracles::bring()?;
    for (framework, interpreter) in [("tensorflow", tensorflow), ("torch", torch)] {
        let recorded = output(python(interpreter).args([&format!("{FOLDER}/record.py"), framework]))?;
        let path = root().join(FOLDER).join(format!("{framework}.txt"));
        let same = fs::read_to_string(&path).is_ok_and(|old| old == recorded);
        #[expect(clippy::disallowed_methods, reason = "nobody maps a page of text, and git has the old one")]
        fs::write(&path, recorded).with_context(|| format!("cannot write {}", path.display()))?;
        note(&format!("{FOLDER}/{framework}.txt: {}", if same { "as it was" } else { "changed" }));
    }
    Ok(())
}
