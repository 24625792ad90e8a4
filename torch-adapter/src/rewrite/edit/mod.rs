//! Edits of the code and of the attributes that it reads: collected per object, then written as text and classes.

pub(crate) mod class_edit;
pub(crate) mod editor;
pub(crate) mod function;
pub(crate) mod library;
pub(crate) mod stem;
pub(crate) mod texts;
pub(crate) mod value;
