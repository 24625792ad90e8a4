//! Files that stand in the tree although a program makes them, so that a build need not: what they are, and how they are made.

mod types;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use protobuf_codegen::Customize;

use crate::run::{note, root};

/// A file of the tree, and what makes its text.
type Made = (&'static str, fn() -> Result<String>);

const FILES: [Made; 4] = [
    ("tf-rewriter/src/graphdef/pb/graph.rs", graph),
    ("tf-rewriter/src/graphdef/pb/saved_model.rs", saved_model),
    ("tf-rewriter/src/graphdef/text/schema/table.rs", tables),
    ("quant-math/src/config/schema.json", schema),
];

/// Makes every file anew.
pub(crate) fn make() -> Result<()> {
    for (path, make) in FILES {
        #[expect(clippy::disallowed_methods, reason = "nobody maps a source file, and git has the old one")]
        fs::write(root().join(path), make()?).with_context(|| format!("cannot write {path}"))?;
        note(&format!("made {path}"));
    }
    Ok(())
}

fn proto() -> PathBuf {
    root().join("tf-rewriter/proto")
}

fn graph() -> Result<String> {
    messages("graph")
}

fn saved_model() -> Result<String> {
    messages("saved_model")
}

/// The messages of a file as Rust. Reflection would be half of it, and nothing asks for it.
fn messages(name: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let mut codegen = protobuf_codegen::Codegen::new();
    codegen.pure().include(proto()).input(proto().join(format!("{name}.proto"))).out_dir(folder.path());
    codegen.customize(Customize::default().lite_runtime(true)).run()?;
    Ok(fs::read_to_string(folder.path().join(format!("{name}.rs")))?)
}

/// The messages' fields as tables, for the text form.
fn tables() -> Result<String> {
    let mut parser = protobuf_parse::Parser::new();
    parser.pure().include(proto());
    for name in ["graph.proto", "saved_model.proto"] {
        parser.input(proto().join(name));
    }
    types::table(&parser.file_descriptor_set()?.file)
}

/// The JSON Schema of a config.
fn schema() -> Result<String> {
    Ok(serde_json::to_string_pretty(&quant_math::config::schema())? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_makes_is_what_stands_in_the_tree() {
        for (path, make) in FILES {
            let there = fs::read_to_string(root().join(path)).unwrap();
            assert!(there == make().unwrap(), "{path} is not up to date: `cargo xtask generate` makes it anew");
        }
    }
}
