//! What each quantizer and each form of output puts in the place of a site.

pub(crate) mod copy;
mod decoder;
pub(crate) mod dorefa;
pub(crate) mod fake_quant;
pub(crate) mod lsq;
pub(crate) mod observe;
pub(crate) mod packed;
mod packed_lists;
pub(crate) mod qat;
