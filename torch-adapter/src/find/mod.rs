//! Where a model could be quantized: its ops with their weights, who else reads these, and what an earlier run has done.

pub(crate) mod injected;
pub(crate) mod lists;
pub(crate) mod mark;
pub(crate) mod model;
pub(crate) mod readers;
mod scales;
pub mod sites;
pub(crate) mod storable;
pub(crate) mod uses;
