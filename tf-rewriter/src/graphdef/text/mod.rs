//! Graphs in protobuf's text form (`.pbtxt`), read into and written from the binary form.
//!
//! Everything else in this crate works on the binary form; text is translated at the door. Both directions are driven by
//! tables of the fields of `proto/`. Source of the syntax: the protobuf documentation, "Text Format Language Specification"; where
//! it leaves a choice, TensorFlow 2.21's `text_format` decided.

mod fields;
mod lexer;
mod numbers;
mod read;
mod schema;
mod strings;
#[cfg(test)]
mod tests;
mod write;

pub use read::parse;
pub(crate) use read::{Root, parse_as};
pub(crate) use strings::unquote;
pub use write::write;
