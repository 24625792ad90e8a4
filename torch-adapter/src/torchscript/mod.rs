//! What an archive holds: its zip, its pickles with tensors, its code, and both together as objects that the code can be followed over.

pub(crate) mod agree;
pub mod archive;
pub(crate) mod by_name;
pub mod code;
pub(crate) mod expand;
pub mod heap;
pub(crate) mod heap_reader;
pub mod pickle;
pub(crate) mod program;
pub mod tensors;
