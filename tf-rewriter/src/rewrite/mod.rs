//! From a plan to bytes: nodes are emitted, spliced in and read back; trained graphs are taken back, constants made trainable.

pub(crate) mod apply;
pub(crate) mod emit;
pub mod for_trainers;
pub(crate) mod freeze;
pub(crate) mod saved_model;
pub(crate) mod splice;
pub(crate) mod thaw;
