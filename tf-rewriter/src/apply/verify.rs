//! Everything written is read back and checked before it takes its name.

use std::path::Path;

use crate::Error;
use crate::graph::Graph;

/// Read the written file as any other graph: it must index, every edge must resolve, and all weights that were replaced must be
/// whole. `nodes` is how many the editor meant to write.
pub(super) fn verify(path: &Path, expected_len: u64) -> Result<(), Error> {
    let wrong = |message: String| Error::Verify { message };
    let written = Graph::reopen(path).map_err(|error| wrong(error.to_string()))?;
    let len = written.bytes().len() as u64;
    if len != expected_len {
        return Err(wrong(format!("it is {len} bytes long, expected {expected_len}")));
    }
    for (scope, nodes) in (0u32..).zip(&written.index().scopes) {
        for (node, _) in (0u32..).zip(&nodes.nodes) {
            let id = crate::index::NodeId { scope, node };
            written.constant(id).map_err(|error| wrong(format!("`{}`: {error}", written.full_name(id))))?;
        }
    }
    Ok(())
}
