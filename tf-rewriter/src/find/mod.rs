//! What in a graph could be quantized, and what is already.

pub(crate) mod frames;
pub(crate) mod mark;
pub(crate) mod norm;
pub(crate) mod ops;
pub(crate) mod product;
pub(crate) mod sites;
pub(crate) mod trained;
