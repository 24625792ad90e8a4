//! Everything written is read back and checked before it takes its name.

use std::path::Path;

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::io::Mapped;
use crate::graphdef::text;
use crate::graphdef::types::wrong_edges;

/// Read the written file as any other graph: it must index, every edge must resolve and carry the type that its reader takes, and all
/// weights that were replaced must be whole.
pub(super) fn read_back(path: &Path, expected_len: u64, made_from: &Graph) -> Result<(), Error> {
    let written = Graph::reopen(path).map_err(wrong)?;
    check_length(written.bytes().len(), expected_len)?;
    written.settled(check(&written, made_from)).map_err(wrong)
}

/// The same for a graph in text form.
pub(super) fn read_back_text(path: &Path, expected_len: u64, made_from: &Graph) -> Result<(), Error> {
    let file = Mapped::open(path, u64::MAX).map_err(wrong)?;
    check_length(file.len(), expected_len)?;
    let binary = file.settled(text::parse(&file)).map_err(wrong)?;
    Graph::from_bytes(binary).and_then(|written| check(&written, made_from)).map_err(wrong)
}

fn check(written: &Graph, made_from: &Graph) -> Result<(), Error> {
    written.check_nodes()?;
    types_fit(written, made_from)
}

/// Every edge must carry the type that its reader takes, unless the graph was wrong before.
///
/// # Errors
/// [`Error::Verify`] with the first edge that does not.
pub(crate) fn types_fit(written: &Graph, made_from: &Graph) -> Result<(), Error> {
    let wrong = wrong_edges(written)?;
    match wrong.first() {
        Some(first) if wrong_edges(made_from)?.is_empty() => {
            let more = wrong.len() - 1;
            let more = if more == 0 { String::new() } else { format!(", and {more} more") };
            Err(Error::Verify { message: format!("{first}{more}") })
        }
        _ => Ok(()),
    }
}

fn check_length(len: usize, expected: u64) -> Result<(), Error> {
    let message = || format!("it is {len} bytes long, expected {expected}");
    if len as u64 == expected { Ok(()) } else { Err(Error::Verify { message: message() }) }
}

/// What we wrote wrongly; that somebody else changed the file, or that it cannot be opened, is no fault of ours.
fn wrong(error: Error) -> Error {
    match error {
        Error::InFile(inner) => wrong(*inner.error),
        Error::Changed(_) | Error::Io { .. } | Error::Verify { .. } => error,
        other => Error::Verify { message: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(text: &str) -> Graph {
        Graph::from_bytes(text::parse(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn an_edge_that_became_wrong_is_an_error() {
        let made = |dtype: &str| {
            graph(&format!(
                r#"node {{ name: "x" op: "Placeholder" attr {{ key: "dtype" value {{ type: {dtype} }} }} }}
                   node {{ name: "r" op: "Relu" input: "x" attr {{ key: "T" value {{ type: DT_FLOAT }} }} }}"#
            ))
        };
        let (right, wrong) = (made("DT_FLOAT"), made("DT_HALF"));
        let error = types_fit(&wrong, &right).unwrap_err();
        assert_eq!(error.code(), "E0601");
        assert!(error.to_string().contains("input 0 of `r` reads `x`"), "{error}");
        // What was wrong before is not ours to refuse: TensorFlow says so itself.
        types_fit(&wrong, &wrong).unwrap();
        types_fit(&right, &right).unwrap();
    }
}
