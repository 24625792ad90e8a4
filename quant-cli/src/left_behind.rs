//! What an interrupted run leaves beside its output, for `--resume`.

use std::path::{Path, PathBuf};

use quant_math::plan::Reason;

use crate::args::GlobalArgs;
use crate::codes;
use crate::failure::Failure;

/// The file of a run's state.
#[derive(Debug)]
pub struct LeftBehind(PathBuf);

impl LeftBehind {
    /// What its file is called in errors.
    pub const NAME: &str = "the state for `--resume`";

    /// The output's name with `ending`.
    pub fn beside(output: &Path, ending: &str) -> Self {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(ending);
        Self(output.with_file_name(name))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether there is something to go on from; a warning says where there is nothing. `run` is what would go on.
    pub fn is_there(&self, global: &GlobalArgs, run: &str) -> bool {
        let there = self.0.is_file();
        if !there {
            let text =
                format!("nothing was left behind by an interrupted {run} (`{}`): beginning anew", self.0.display());
            global.warn(&[Reason::new(codes::NOTHING_TO_RESUME, text)]);
        }
        there
    }

    /// The run is finished: nobody goes on from here.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn remove(&self) -> Result<(), Failure> {
        if self.0.is_file() {
            std::fs::remove_file(&self.0)?;
        }
        Ok(())
    }
}
