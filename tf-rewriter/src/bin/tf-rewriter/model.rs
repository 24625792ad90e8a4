//! The model argument and the ranges file, as every command takes them.

use std::path::{Path, PathBuf};

use clap::Args;
use quant_cli::{Diagnostic, Failure};
use quant_math::ranges::Ranges;
use tf_rewriter::Graph;

use crate::coded::failure;

/// The graph to work on.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A frozen GraphDef, binary (.pb) or text (.pbtxt); told apart by content
    pub(crate) model: PathBuf,

    /// Nodes whose names must stay fetchable, besides those that nothing reads (comma-separated)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) outputs: Vec<String>,
}

impl ModelArgs {
    pub(crate) fn open(&self) -> Result<Graph, Failure> {
        Graph::open(&self.model).and_then(|graph| graph.with_outputs(&self.outputs)).map_err(failure)
    }
}

/// Read a ranges file.
pub(crate) fn read_ranges(path: &Path) -> Result<Ranges, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::failed(Diagnostic::error("E0503", "cannot read the ranges file").caused_by(&error)))
        .map_err(|failure| failure.at(&shown))?;
    Ranges::parse(&text).map_err(|error| {
        let diagnostic = Diagnostic::error("E0503", format!("ranges file: {error}"));
        Failure::failed(
            diagnostic.at(shown).help("make it again with `calibrate`; docs/ranges.md describes the format"),
        )
    })
}
