//! What a GraphDef is: files and their forms, the messages on the wire, the index over them, and the values they carry.

pub(crate) mod attrs;
pub mod bundle;
pub(crate) mod graph;
pub(crate) mod index;
pub mod io;
pub mod pb;
pub(crate) mod saved_model;
pub mod tensor;
pub mod text;
pub(crate) mod types;
pub mod wire;
