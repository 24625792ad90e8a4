//! What an archive holds: its zip, its pickles with tensors, its code, and both together as objects that the code can be followed over.

mod agree;
pub mod archive;
mod by_name;
pub mod code;
pub(crate) mod contents;
mod expand;
pub(crate) mod folder;
pub mod heap;
mod heap_reader;
pub mod pickle;
pub(crate) mod program;
pub(crate) mod stored;
pub mod tensors;
