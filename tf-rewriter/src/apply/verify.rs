//! Everything written is read back and checked before it takes its name.

use std::path::Path;

use crate::graph::Graph;
use crate::io::Mapped;
use crate::{Error, text};

/// Read the written file as any other graph: it must index, every edge must resolve, and all weights that were replaced must be
/// whole.
pub(super) fn verify(path: &Path, expected_len: u64) -> Result<(), Error> {
    let wrong = |message: String| Error::Verify { message };
    let written = Graph::reopen(path).map_err(|error| wrong(error.to_string()))?;
    let len = written.bytes().len() as u64;
    if len != expected_len {
        return Err(wrong(format!("it is {len} bytes long, expected {expected_len}")));
    }
    check(&written)
}

/// The same for a graph in text form.
pub(super) fn verify_text(path: &Path, expected_len: u64) -> Result<(), Error> {
    let wrong = |message: String| Error::Verify { message };
    let file = Mapped::open(path, u64::MAX).map_err(|error| wrong(error.to_string()))?;
    let len = file.len() as u64;
    if len != expected_len {
        return Err(wrong(format!("it is {len} bytes long, expected {expected_len}")));
    }
    let binary = text::parse(&file).map_err(|error| wrong(error.to_string()))?;
    check(&Graph::from_bytes(binary).map_err(|error| wrong(error.to_string()))?)
}

fn check(written: &Graph) -> Result<(), Error> {
    written.check_constants().map_err(|error| Error::Verify { message: error.to_string() })
}
