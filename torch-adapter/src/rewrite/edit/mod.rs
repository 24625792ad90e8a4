//! What changes in an archive: code and attributes, collected per object and then written as text and classes; records, some of them made
//! while they are written.

pub(crate) mod class_edit;
pub(crate) mod editor;
pub(crate) mod function;
pub(crate) mod library;
pub(crate) mod output;
pub(crate) mod stem;
pub(crate) mod stream;
mod texts;
pub(crate) mod value;
