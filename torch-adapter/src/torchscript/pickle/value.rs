//! Values of a pickle: an arena, and slots that say where in the bytes a value stands.

use std::ops::Range;

use super::global::{Global, StorageType};

/// A value where it stands. Two slots can hold the same value: the second one is a reference of a few bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    pub(super) start: u32,
    pub(super) end: u32,
    /// How deep the values inside it are nested.
    pub(super) depth: u32,
    pub(super) item: Item,
}

impl Identity {
    pub(super) fn object(id: u32) -> Self {
        Self(2, id)
    }
}

impl Slot {
    /// The bytes of the value, without a memo instruction behind it.
    pub fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Equal for two slots when they hold one and the same tuple, list, dictionary, object or tensor; `None` for plain values and
    /// empty tuples.
    pub fn identity(&self) -> Option<Identity> {
        match self.item {
            Item::List(id) => Some(Identity(0, id)),
            Item::Dict(id) => Some(Identity(1, id)),
            Item::Object(id) => Some(Identity::object(id)),
            Item::Tensor(id) => Some(Identity(3, id)),
            Item::Storage(id) => Some(Identity(4, id)),
            Item::Tuple(first, len) if len > 0 => Some(Identity(5, first)),
            _ => None,
        }
    }
}

/// Names one tuple, list, dictionary, object or tensor of a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(u8, u32);

/// What a slot holds; numbers are positions in the arena.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Item {
    None,
    Bool(bool),
    /// Position of the instruction that holds the number.
    Int(u32),
    /// Position of the instruction that holds the number.
    Float(u32),
    /// Position of the text and its length.
    Str(u32, u32),
    /// Position of the first item in the pool and number of items.
    Tuple(u32, u32),
    List(u32),
    Dict(u32),
    Object(u32),
    Tensor(u32),
    Storage(u32),
    /// The global and, for a class, its position in the names.
    Global(Global, u32),
    /// A value that is kept as it is.
    Opaque(Opaque),
}

/// Kinds of values that are kept as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opaque {
    Tensor,
    Scalar,
    Enum,
}

// A hostile pickle makes one of these from every byte.
const _: () = assert!(size_of::<Slot>() == 24);

impl Item {
    /// For messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Str(..) => "a string",
            Self::Tuple(..) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Object(_) => "an object",
            Self::Tensor(_) => "a tensor",
            Self::Storage(_) => "a storage",
            Self::Global(..) => "a class or function",
            Self::Opaque(Opaque::Tensor) => "a tensor of another kind",
            Self::Opaque(Opaque::Scalar) => "a device or number",
            Self::Opaque(Opaque::Enum) => "an enum value",
        }
    }
}

/// Values that stand side by side in the pool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Items {
    pub(super) first: u32,
    pub(super) len: u32,
    /// Depth of a value that holds them.
    pub(super) depth: u32,
}

/// A list or dictionary: its items in the pool (a dictionary's as key, value, key, value, …).
#[derive(Debug, Clone, Copy)]
pub(super) struct Container {
    pub(super) items: Items,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Where its SETITEMS or APPENDS stands; `None`: it has none.
    pub(super) fill: Option<u32>,
    pub(super) shared: bool,
}

/// An instance of a class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instance {
    /// Position in the names.
    pub(super) class: u32,
    pub(super) state: Option<Slot>,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) shared: bool,
}

/// A tensor as the pickle describes it; nothing is checked against its storage yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor {
    /// Position in [`Pickle::storages`](super::Pickle::storages).
    pub storage: usize,
    /// First element in the storage.
    pub offset: i64,
    /// The shape.
    pub sizes: Vec<i64>,
    /// Elements from one index to the next, per dimension.
    pub strides: Vec<i64>,
    /// Whether training changes it.
    pub requires_grad: bool,
    /// Where the value stands that defines it.
    pub span: Range<usize>,
}

/// A storage as the pickle refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawStorage {
    /// The element type.
    pub kind: StorageType,
    /// The record, in the folder that belongs to the pickle.
    pub key: String,
    /// Where the name of its device stands.
    pub device: Range<usize>,
    /// Number of elements.
    pub numel: i64,
    /// Where the reference stands.
    pub span: Range<usize>,
}
