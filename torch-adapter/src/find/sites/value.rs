//! What an expression can stand for while the code is followed without running it.

use std::sync::Arc;

use super::axes::Axes;
use super::place::{Origin, Spot};
use crate::torchscript::heap::{Item, ObjectId, TensorId};

/// A tensor of the model, as it reaches a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight {
    pub(super) tensor: TensorId,
    pub(super) origin: Origin,
    pub(super) axes: Axes,
    /// `None`: it is the whole of the tensor. Else a part of it or a view with other axes, and this is where it was whole last, each axis in
    /// its place; nowhere, where a quantizer takes the whole, and a part all the same.
    pub(super) whole: Option<Arc<[Spot]>>,
    /// What quantized it on the way here.
    pub(super) quantizer: Option<Quantizer>,
}

/// What makes a tensor a quantized one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quantizer {
    /// A module of the library.
    Module(ObjectId),
    /// A function of the library or the framework, or arithmetic on codes.
    Op,
}

/// What is known of the elements of a tensor that is not the model's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Elements {
    /// Floating-point numbers.
    Float,
    /// Floating-point numbers none of which is below 0.
    NeverNegative,
    /// Those of this input of the model: what its caller gives.
    Input(u8),
    /// Perhaps whole numbers.
    Unknown,
}

impl Elements {
    /// What arithmetic on both gives: floats win, of any sign.
    pub(super) fn promote(self, other: Self) -> Self {
        match (self, other) {
            _ if self.is_float() || other.is_float() => Self::Float,
            (one, other) if one == other => one,
            _ => Self::Unknown,
        }
    }

    fn meet(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            _ if self.is_float() && other.is_float() => Self::Float,
            _ => Self::Unknown,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::NeverNegative)
    }

    /// The same where none is below 0; whole numbers stay what they are.
    pub(super) fn never_negative(self) -> Self {
        if self == Self::Float { Self::NeverNegative } else { self }
    }

    /// The same as floating-point numbers.
    pub(super) fn to_float(self) -> Self {
        if self == Self::NeverNegative { self } else { Self::Float }
    }

    /// The same after something that may change signs.
    pub(super) fn of_any_sign(self) -> Self {
        if self == Self::NeverNegative { Self::Float } else { self }
    }
}

/// A tensor that the code computes of tensors of the model alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Made {
    pub(super) how: How,
    /// What it is made of; the first one stands for it.
    pub(super) of: Arc<[Weight]>,
    /// The products among the calls that make it.
    pub(super) products: Arc<[usize]>,
    /// Whether a quantizer took it on the way here.
    pub(super) quantized: bool,
}

/// What a computed tensor is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// A product of two matrices, perhaps scaled.
    Product,
    /// A weight plus such a product.
    LowRankSum,
    /// What this function gives.
    Call(Arc<str>),
}

/// The most ways that are kept apart; real models choose among a handful of modules.
const MAX_WAYS: usize = 256;

/// The value of an expression, as far as it is known without running the model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    /// Anything.
    Unknown,
    /// A whole number.
    Int(i64),
    /// Another number.
    Float,
    /// A tensor that is computed: an activation.
    Tensor(Elements),
    /// A list or tuple of such tensors.
    Tensors(Elements),
    /// The value of the call with this event number.
    Result(usize, Elements),
    /// A module.
    Object(ObjectId),
    /// One of several modules; which one shows when the model runs.
    AnyObject(Arc<[ObjectId]>),
    /// A tensor of the model.
    Weight(Weight),
    /// One of several tensors of the model; which one shows when the model runs.
    AnyWeight(Arc<[Weight]>),
    /// A tensor that is computed of the model's own.
    Made(Made),
    /// An attribute of an object that keeps its state to itself.
    Hidden(ObjectId, Arc<str>),
    /// A list of parts of a tensor along one axis.
    Parts(Weight),
    /// A list or tuple.
    List(Arc<[Value]>),
    /// A dictionary.
    Dict(Arc<[(Arc<str>, Value)]>),
    /// What a quantizer made of an activation, or of something unknown.
    Quantized(Option<Elements>),
    /// A dotted name that is no local: `torch.conv2d`, `__torch__.….relu`.
    Path(Arc<str>),
    /// A method of a module.
    Method(ObjectId, Arc<str>),
    /// A method of one of several modules.
    AnyMethod(Arc<[ObjectId]>, Arc<str>),
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
            Item::Tensor(tensor) => Self::Weight(Weight {
                tensor: *tensor,
                origin: origin.clone(),
                axes: Axes::Same,
                whole: None,
                quantizer: None,
            }),
            Item::List(items) => {
                let element = |index: usize| match origin {
                    Origin::Attribute(object, name) => Origin::Element(*object, Arc::clone(name), index),
                    Origin::Element(..) | Origin::Key(..) | Origin::Constant(_) => origin.clone(),
                };
                Self::List(items.iter().enumerate().map(|(index, item)| Self::flat(item, &element(index))).collect())
            }
            Item::Dict(pairs) => {
                let value = |key: &Arc<str>| match origin {
                    Origin::Attribute(object, name) => Origin::Key(*object, Arc::clone(name), Arc::clone(key)),
                    Origin::Element(..) | Origin::Key(..) | Origin::Constant(_) => origin.clone(),
                };
                let pair = |(key, item): &(String, Item)| {
                    let key: Arc<str> = key.as_str().into();
                    let item = Self::flat(item, &value(&key));
                    (key, item)
                };
                Self::Dict(pairs.iter().map(pair).collect())
            }
            Item::Str(text) => Self::Str(text.as_str().into()),
            Item::Int(number) => Self::Int(*number),
            Item::Float(_) => Self::Float,
            Item::None => Self::None,
            Item::Bool(_) | Item::Opaque => Self::Unknown,
        }
    }

    /// One level: lists of lists of tensors take part in no call of the table.
    fn flat(item: &Item, origin: &Origin) -> Self {
        match item {
            Item::List(_) | Item::Dict(_) => Self::Unknown,
            item => Self::of_item(item, origin),
        }
    }

    /// What a value is that nothing is known of but its declared type.
    pub(super) fn declared(self, ty: &str, elements: Elements) -> Self {
        match (self, ty) {
            (Self::Unknown, "Tensor") => Self::Tensor(elements),
            (Self::Unknown, "List[Tensor]") => Self::Tensors(elements),
            (Self::Unknown, ty) if ty.strip_prefix("Tuple[").is_some_and(all_tensors) => Self::Tensors(elements),
            (value, _) => value,
        }
    }

    /// The elements of a computed tensor: an activation.
    pub(super) fn activation(&self) -> Option<Elements> {
        match self {
            Self::Tensor(elements) | Self::Result(_, elements) => Some(*elements),
            Self::Quantized(elements) => *elements,
            _ => None,
        }
    }

    /// Whether it is an activation that holds no number below 0, whatever the model gets.
    pub(super) fn is_never_negative(&self) -> bool {
        self.activation() == Some(Elements::NeverNegative)
    }

    /// The same value, of which it is known that it holds none.
    pub(super) fn never_negative(self) -> Self {
        match self {
            Self::Tensor(elements) => Self::Tensor(elements.never_negative()),
            other => other,
        }
    }

    /// The value behind a quantizer. But for the mark it is what it was, so that a second run sees the ops of the first.
    pub(super) fn behind(&self, quantizer: Quantizer) -> Self {
        match self {
            Self::Weight(weight) => Self::Weight(weight.behind(quantizer)),
            Self::AnyWeight(weights) => {
                Self::AnyWeight(weights.iter().map(|weight| weight.behind(quantizer)).collect())
            }
            Self::Made(made) => Self::Made(Made { quantized: true, ..made.clone() }),
            other => Self::Quantized(other.activation()),
        }
    }

    /// The tensors of the model that it is made of, where it is made of nothing else.
    pub(super) fn own(&self) -> &[Weight] {
        match self {
            Self::Weight(weight) => std::slice::from_ref(weight),
            Self::Made(made) => &made.of,
            _ => &[],
        }
    }

    /// A value that may change from one turn of a loop to the next.
    pub(super) fn in_turns(self) -> Self {
        match self {
            Self::Tensor(elements) | Self::Result(_, elements) | Self::Quantized(Some(elements)) => {
                Self::Tensor(elements.of_any_sign())
            }
            Self::Tensors(elements) => Self::Tensors(elements.of_any_sign()),
            _ => Self::Unknown,
        }
    }

    /// The value as an argument: which call made an activation does not matter to the callee.
    pub(super) fn as_argument(&self) -> Self {
        match self {
            Self::Result(_, elements) | Self::Quantized(Some(elements)) => Self::Tensor(*elements),
            Self::Int(_) | Self::Float | Self::Quantized(None) => Self::Unknown,
            Self::Made(made) => Self::Made(Made { products: Arc::new([]), ..made.clone() }),
            Self::List(items) => Self::List(items.iter().map(Self::as_argument).collect()),
            other => other.clone(),
        }
    }

    /// The value where two ways meet.
    pub(super) fn meet(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Never, other) => other.clone(),
            (value, Self::Never) => value,
            (value, other) if value == *other => value,
            // The same part of the same tensor, cut in two places.
            (Self::Weight(a), Self::Weight(b)) if a.like(b) => Self::Weight(a.or(b)),
            (Self::Parts(a), Self::Parts(b)) if a.like(b) => Self::Parts(a.or(b)),
            (value, other) => match (value.activation(), other.activation()) {
                (Some(one), Some(two)) => Self::Tensor(one.meet(two)),
                _ => value.any_object(other),
            },
        }
    }

    fn any_object(&self, other: &Self) -> Self {
        let objects = |value: &Self| match value {
            Self::Object(object) => vec![*object],
            Self::AnyObject(objects) => objects.to_vec(),
            _ => Vec::new(),
        };
        let (mut found, more) = (objects(self), objects(other));
        if found.is_empty() || more.is_empty() || found.len() + more.len() > MAX_WAYS {
            return Self::Unknown;
        }
        found.extend(more);
        found.sort_unstable();
        found.dedup();
        Self::AnyObject(found.into())
    }

    /// The element at `index` of a list or dictionary, or a part of a tensor.
    pub(super) fn element(&self, index: &Self) -> Self {
        match (self, index) {
            (Self::List(items), Self::Int(index)) => {
                let from_end =
                    usize::try_from(index.unsigned_abs()).ok().and_then(|back| items.len().checked_sub(back));
                let position = if *index < 0 { from_end } else { usize::try_from(*index).ok() };
                position.and_then(|position| items.get(position)).cloned().unwrap_or(Self::Unknown)
            }
            (Self::Dict(pairs), Self::Str(key)) => {
                pairs.iter().find(|(known, _)| known == key).map_or(Self::Unknown, |(_, value)| value.clone())
            }
            (Self::List(items), _) => Self::any_of(items.iter()),
            (Self::Dict(pairs), _) => Self::any_of(pairs.iter().map(|(_, value)| value)),
            (Self::Parts(weight), _) => Self::Weight(weight.clone()),
            (Self::Tensors(elements), _) => Self::Tensor(*elements),
            _ => Self::Unknown,
        }
    }

    /// One of `values`; which one shows when the model runs.
    fn any_of<'v>(values: impl Iterator<Item = &'v Self> + Clone) -> Self {
        let weights: Option<Vec<Weight>> = values
            .clone()
            .map(|value| match value {
                Self::Weight(weight) => Some(weight.clone()),
                _ => None,
            })
            .collect();
        match weights {
            Some(weights) if (2..=MAX_WAYS).contains(&weights.len()) => Self::AnyWeight(weights.into()),
            _ => values.cloned().reduce(|one, other| one.meet(&other)).unwrap_or(Self::Unknown),
        }
    }

    /// The tensors of the model that it is, holds or is made of, quantized or not.
    pub(super) fn all_tensors(&self) -> Vec<TensorId> {
        match self {
            Self::Parts(weight) => vec![weight.tensor],
            Self::AnyWeight(weights) => weights.iter().map(|weight| weight.tensor).collect(),
            Self::List(items) => items.iter().flat_map(Self::all_tensors).collect(),
            Self::Dict(pairs) => pairs.iter().flat_map(|(_, item)| item.all_tensors()).collect(),
            other => other.own().iter().map(|weight| weight.tensor).collect(),
        }
    }

    /// The tensors of the model that it is or holds, not quantized.
    pub(super) fn tensors(&self) -> Vec<TensorId> {
        let plain = |weight: &Weight| weight.quantizer.is_none().then_some(weight.tensor);
        match self {
            Self::Weight(weight) | Self::Parts(weight) => plain(weight).into_iter().collect(),
            Self::AnyWeight(weights) => weights.iter().filter_map(plain).collect(),
            Self::List(items) => items.iter().flat_map(Self::tensors).collect(),
            Self::Dict(pairs) => pairs.iter().flat_map(|(_, item)| item.tensors()).collect(),
            _ => Vec::new(),
        }
    }
}

impl Weight {
    /// Where it was whole last, if it is a part or a view.
    pub(super) fn spots(&self) -> &[Spot] {
        self.whole.as_deref().unwrap_or_default()
    }

    /// Whether both are cut or turned in the same way, perhaps in different places, and perhaps only one of them quantized.
    fn like(&self, other: &Self) -> bool {
        let same = (self.tensor, &self.origin, &self.axes) == (other.tensor, &other.origin, &other.axes);
        same && self.whole.is_some() == other.whole.is_some()
    }

    fn or(self, other: &Self) -> Self {
        let spots: std::collections::BTreeSet<Spot> = self.spots().iter().chain(other.spots()).copied().collect();
        let whole = self.whole.is_some().then(|| spots.into_iter().collect());
        let quantizer = self.quantizer.filter(|_| other.quantizer.is_some());
        Self { whole, quantizer, ..self }
    }

    fn behind(&self, quantizer: Quantizer) -> Self {
        Self { quantizer: Some(quantizer), ..self.clone() }
    }
}

/// Whether the rest of `Tuple[…]` names tensors alone.
fn all_tensors(parts: &str) -> bool {
    parts.strip_suffix(']').is_some_and(|parts| parts.split(',').all(|part| part.trim() == "Tensor"))
}
