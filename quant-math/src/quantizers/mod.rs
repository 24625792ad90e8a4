//! The quantizers: one file each, formula only.
