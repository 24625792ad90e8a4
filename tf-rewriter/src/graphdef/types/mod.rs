//! Whether every edge carries the type that its reader takes, as far as ops and attributes tell.

mod edges;
mod signatures;

pub(crate) use edges::wrong_edges;
