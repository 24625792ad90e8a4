//! What an expression can stand for while the code is followed without running it.

use std::sync::Arc;

use super::heap::{Item, ObjectId, TensorId};

/// How the axes of a tensor lie against those of the parameter that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Axes {
    /// As in the parameter; perhaps only a part along the first axis.
    Same,
    /// The two axes of a matrix swapped.
    Transposed,
    /// In some other way.
    Other,
}

/// Where a tensor was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// An attribute of an object.
    Attribute(ObjectId, Arc<str>),
    /// An element of a list that is an attribute.
    Element(ObjectId, Arc<str>, usize),
    /// `CONSTANTS.cN`, or an element of it.
    Constant(usize),
}

/// A tensor of the model, as it reaches a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight {
    pub(super) tensor: TensorId,
    pub(super) origin: Origin,
    pub(super) axes: Axes,
}

/// The value of an expression, as far as it is known without running the model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    /// Anything; activations among them.
    Unknown,
    /// The value of the call with this event number.
    Result(usize),
    /// A module.
    Object(ObjectId),
    /// A tensor of the model.
    Weight(Weight),
    /// A list of parts of a tensor along one axis.
    Parts(Weight),
    /// A list or tuple.
    List(Arc<[Value]>),
    /// A tensor that a quantizer made; from a tensor of the model where that is known.
    Quantized(Option<TensorId>),
    /// A dotted name that is no local: `torch.conv2d`, `__torch__.….relu`.
    Path(Arc<str>),
    /// A method of a module.
    Method(ObjectId, Arc<str>),
    /// A string literal.
    Str(Arc<str>),
    /// `None`.
    None,
    /// What no way leads to: `uninitialized(…)`, which stands where an exception was raised.
    Never,
}

impl Value {
    /// What `item` is when it is read at `origin`.
    pub(super) fn of_item(item: &Item, origin: &Origin) -> Self {
        match item {
            Item::Object(id) => Self::Object(*id),
            Item::Tensor(tensor) => Self::Weight(Weight { tensor: *tensor, origin: origin.clone(), axes: Axes::Same }),
            Item::List(items) => {
                let element = |index: usize| match origin {
                    Origin::Attribute(object, name) => Origin::Element(*object, Arc::clone(name), index),
                    Origin::Element(..) | Origin::Constant(_) => origin.clone(),
                };
                // One level: lists of lists of tensors take part in no call of the table.
                let flat = |item: &Item, index: usize| match item {
                    Item::List(_) => Self::Unknown,
                    item => Self::of_item(item, &element(index)),
                };
                Self::List(items.iter().enumerate().map(|(index, item)| flat(item, index)).collect())
            }
            Item::Str(text) => Self::Str(text.as_str().into()),
            Item::None => Self::None,
            Item::Int(_) | Item::Float(_) | Item::Bool(_) | Item::Opaque => Self::Unknown,
        }
    }

    /// The value as an argument: which call made an activation does not matter to the callee.
    pub(super) fn as_argument(&self) -> Self {
        match self {
            Self::Result(_) | Self::Quantized(None) => Self::Unknown,
            Self::List(items) if items.iter().any(|item| matches!(item, Self::Result(_))) => {
                Self::List(items.iter().map(Self::as_argument).collect())
            }
            other => other.clone(),
        }
    }

    /// The value where two ways meet.
    pub(super) fn meet(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Never, other) => other.clone(),
            (value, Self::Never) => value,
            (value, other) if value == *other => value,
            _ => Self::Unknown,
        }
    }

    /// The element `index` of a list, or a part of a tensor.
    pub(super) fn element(&self, index: Option<usize>) -> Self {
        match self {
            Self::List(items) => index.and_then(|index| items.get(index)).cloned().unwrap_or(Self::Unknown),
            Self::Parts(weight) => Self::Weight(weight.clone()),
            _ => Self::Unknown,
        }
    }

    /// The tensor with its axes changed.
    pub(super) fn with_axes(&self, change: impl Fn(Axes) -> Axes) -> Self {
        match self {
            Self::Weight(weight) => Self::Weight(Weight { axes: change(weight.axes), ..weight.clone() }),
            Self::Quantized(tensor) => Self::Quantized(*tensor),
            _ => Self::Unknown,
        }
    }
}
