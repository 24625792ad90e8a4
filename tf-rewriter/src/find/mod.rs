//! What in a graph could be quantized, and what is already.

pub(crate) mod frames;
pub(crate) mod mark;
pub(crate) mod norm;
pub(crate) mod ops;
#[cfg_attr(not(feature = "run"), expect(dead_code, reason = "rows are looked at by what runs the graph"))]
pub(crate) mod product;
pub(crate) mod sites;
pub(crate) mod trained;
