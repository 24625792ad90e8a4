//! An error together with the file in which it happened.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// Another error, with the file in which it happened. Its text and its source are the error's own, so that no chain tells it twice.
#[derive(Debug)]
pub struct InFile<E> {
    /// The file.
    pub path: PathBuf,
    /// What happened there.
    pub error: Box<E>,
}

impl<E> InFile<E> {
    /// The file, and the error's own place in it.
    pub fn location(&self, inner: Option<String>) -> String {
        let path = self.path.display();
        inner.map_or_else(|| path.to_string(), |at| format!("{path}, {at}"))
    }
}

impl<E: fmt::Display> fmt::Display for InFile<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: Error> Error for InFile<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
