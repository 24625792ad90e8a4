//! Where things stand: expressions, and what they read.

use std::sync::Arc;

use crate::torchscript::code::ExprId;
use crate::torchscript::heap::ObjectId;
use crate::torchscript::program::FunctionRef;

/// An expression in a method, with the object that the method runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The module.
    pub object: ObjectId,
    /// The method.
    pub function: FunctionRef,
    /// The expression.
    pub expr: ExprId,
}

/// A function as it runs for one object; a free function for the call in a method that led there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) function: FunctionRef,
    pub(crate) object: Option<ObjectId>,
    pub(crate) anchor: Option<Spot>,
}

/// An expression in a run.
pub(crate) type Point = (Run, ExprId);

/// Where a tensor was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// An attribute of an object.
    Attribute(ObjectId, Arc<str>),
    /// An element of a list that is an attribute.
    Element(ObjectId, Arc<str>, usize),
    /// A value of a dictionary that is an attribute.
    Key(ObjectId, Arc<str>, Arc<str>),
    /// `CONSTANTS.cN`, or an element of it.
    Constant(usize),
}
