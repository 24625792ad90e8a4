//! How deep functions may call each other.

use crate::error::{ContainerError, Error};
use crate::graphdef::graph::Graph;

pub(super) const MAX_DEPTH: usize = 64;

/// Let the function that is `scope` be called so deep.
///
/// # Errors
/// A call that is too deep.
pub(super) fn check_depth(graph: &Graph, scope: u32, depth: usize) -> Result<(), Error> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    let function = graph.function_name(scope).to_owned();
    Err(ContainerError::Calls { function, what: format!("is called more than {MAX_DEPTH} calls deep") }.into())
}
