//! Everything written is read back and checked before it takes its name.

use std::path::Path;

use crate::graph::Graph;
use crate::io::Mapped;
use crate::{Error, text};

/// Read the written file as any other graph: it must index, every edge must resolve, and all weights that were replaced must be
/// whole.
pub(super) fn verify(path: &Path, expected_len: u64) -> Result<(), Error> {
    let written = Graph::reopen(path).map_err(wrong)?;
    check_length(written.bytes().len(), expected_len)?;
    written.settled(written.check_constants()).map_err(wrong)
}

/// The same for a graph in text form.
pub(super) fn verify_text(path: &Path, expected_len: u64) -> Result<(), Error> {
    let file = Mapped::open(path, u64::MAX).map_err(wrong)?;
    check_length(file.len(), expected_len)?;
    let binary = file.settled(text::parse(&file)).map_err(wrong)?;
    Graph::from_bytes(binary).and_then(|written| written.check_constants()).map_err(wrong)
}

fn check_length(len: usize, expected: u64) -> Result<(), Error> {
    let message = || format!("it is {len} bytes long, expected {expected}");
    if len as u64 == expected { Ok(()) } else { Err(Error::Verify { message: message() }) }
}

/// What we wrote wrongly; that somebody else changed the file, or that it cannot be opened, is no fault of ours.
fn wrong(error: Error) -> Error {
    match error {
        Error::InFile { source, .. } => wrong(*source),
        Error::Changed(_) | Error::Io { .. } => error,
        other => Error::Verify { message: other.to_string() },
    }
}
