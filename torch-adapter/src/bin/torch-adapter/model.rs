//! The model argument and the ranges file, as every command takes them.

use std::path::{Path, PathBuf};

use clap::Args;
use quant_cli::{Diagnostic, Failure};
use quant_math::ranges::Ranges;
use torch_adapter::Model;

use crate::coded::failure;

/// The model to work on.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// An archive that `torch.jit.save` wrote, scripted, traced or frozen
    pub(crate) model: PathBuf,
}

impl ModelArgs {
    pub(crate) fn open(&self) -> Result<Model, Failure> {
        Model::open(&self.model).map_err(failure)
    }
}

/// Read a ranges file.
pub(crate) fn read_ranges(path: &Path) -> Result<Ranges, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::failed(Diagnostic::error("T0503", "cannot read the ranges file").caused_by(&error)))
        .map_err(|failure| failure.at(&shown))?;
    Ranges::parse(&text).map_err(|error| {
        let diagnostic = Diagnostic::error("T0503", format!("ranges file: {error}"));
        Failure::failed(diagnostic.at(shown).help("docs/ranges.md describes the format"))
    })
}
