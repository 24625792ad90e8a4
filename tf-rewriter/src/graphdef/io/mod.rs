//! Files: what they are, and their bytes.

mod detect;
mod map;

use std::path::Path;

use crate::error::Error;

pub use detect::{Form, detect};
pub use map::{MAX_GRAPH_BYTES, Mapped};

/// Refuses what TensorFlow cannot load: a graph of 2 GiB or more.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn check_length(bytes: u64) -> Result<(), Error> {
    if bytes > MAX_GRAPH_BYTES { Err(Error::TooLarge { bytes, limit: MAX_GRAPH_BYTES }) } else { Ok(()) }
}

/// Maps the graph at `path` and says in which form it is written.
///
/// # Errors
/// Each names the path: [`Error::Io`]; [`Error::TooLarge`] for 2 GiB or more, before any work; [`Error::NotAGraph`] for a folder or
/// a file of another kind.
pub fn open(path: &Path) -> Result<(Mapped, Form), Error> {
    detect::refuse_folder(path)?;
    let bytes = Mapped::open(path, MAX_GRAPH_BYTES)?;
    let form = bytes.settled(detect::detect_file(path, &bytes)).map_err(|error| error.in_file(path))?;
    Ok((bytes, form))
}
