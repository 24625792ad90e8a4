//! What ops take and give by their registrations, and whether every edge carries the type that its reader takes.

mod edges;
mod signatures;

pub(crate) use edges::{flat_port, wrong_edges};
pub(crate) use signatures::signature;
