//! The objects of a model as the walk over its code sees them: modules, their attributes, tensors by number.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::DType;
use quant_math::weights::Storage;

use crate::torchscript::by_name::ByName;

/// A module, or another object with attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub usize);

/// A tensor of `data.pkl` or `constants.pkl`. A tied parameter is one tensor, a view another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub usize);

/// What an attribute or a constant holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A module.
    Object(ObjectId),
    /// A tensor.
    Tensor(TensorId),
    /// A list or tuple.
    List(Vec<Item>),
    /// A dictionary with text keys.
    Dict(Vec<(String, Item)>),
    /// A string.
    Str(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// `None`.
    None,
    /// Anything else.
    Opaque,
}

impl Item {
    /// The items of a list or dictionary, or the item itself.
    pub fn each(&self) -> Vec<&Self> {
        match self {
            Self::List(items) => items.iter().collect(),
            Self::Dict(pairs) => pairs.iter().map(|(_, item)| item).collect(),
            item => vec![item],
        }
    }
}

/// An object: its class and its attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The class's qualified name, `__torch__.…`.
    pub class: String,
    /// Attributes in the pickle's order.
    pub attributes: Vec<(String, Item)>,
    /// The module path: attribute names from the root, joined by points; the first of several ways. Empty for the root.
    pub path: String,
    /// Whether its class has `__setstate__`, or is one of torch's own in C++: what the pickle holds is no list of attributes.
    pub opaque: bool,
    order: ByName,
}

impl Object {
    /// An object of which nothing is known but its class.
    pub(crate) fn new(class: String, opaque: bool) -> Self {
        Self { class, attributes: Vec::new(), path: String::new(), opaque, order: ByName::default() }
    }

    /// Give it its attributes.
    pub(crate) fn set_attributes(&mut self, attributes: Vec<(String, Item)>) {
        self.order = ByName::new(&attributes, |(name, _)| name);
        self.attributes = attributes;
    }

    /// The attribute called `name`.
    pub fn attribute(&self, name: &str) -> Option<&Item> {
        let position = self.order.find(&self.attributes, name, |(name, _)| name)?;
        self.attributes.get(position).map(|(_, item)| item)
    }
}

/// What is known of a tensor without its data.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorFacts {
    /// The element type as torch names it (`Float`, `Half`, `Long`, …).
    pub scalar: String,
    /// The type, where it can be quantized.
    pub dtype: Option<DType>,
    /// Sizes, outermost first; where codes share bytes, those of what the code makes of them.
    pub shape: Vec<u64>,
    /// How it does that.
    pub separated: Option<Separated>,
}

/// How codes that share bytes become a tensor with a byte for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Separated {
    /// How they are stored.
    pub storage: Storage,
    /// Codes from one index to the next, for each dimension.
    pub strides: Vec<u64>,
}

/// All objects, and the constants that code calls `CONSTANTS.c0`, `CONSTANTS.c1`, ….
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heap {
    /// Objects by [`ObjectId`].
    pub objects: Vec<Object>,
    /// Tensors by [`TensorId`].
    pub tensors: Vec<TensorFacts>,
    /// `constants.pkl`.
    pub constants: Vec<Item>,
    /// The module that was saved.
    pub root: Option<ObjectId>,
    /// What lies where only its owner's code reaches: in states of opaque objects, in lists of lists.
    pub hidden: Hidden,
}

/// Tensors and classes of objects that no attribute shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hidden {
    /// Tensors; attributes may hold them too.
    pub tensors: BTreeSet<TensorId>,
    /// Classes of objects.
    pub classes: BTreeSet<String>,
    /// Objects that attributes hold too.
    pub objects: BTreeSet<ObjectId>,
}

impl Heap {
    /// The object `id`.
    pub fn object(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(id.0)
    }

    /// The tensor `id`.
    pub fn tensor(&self, id: TensorId) -> Option<&TensorFacts> {
        self.tensors.get(id.0)
    }

    /// Give tensors whose codes share bytes the shape that they stand for.
    pub(crate) fn separate(&mut self, found: &BTreeMap<TensorId, (Vec<u64>, Separated)>) {
        for (tensor, (shape, separated)) in found {
            if let Some(facts) = self.tensors.get_mut(tensor.0) {
                facts.shape.clone_from(shape);
                facts.separated = Some(separated.clone());
            }
        }
    }

    /// Give every object its path: breadth first from the root, attributes in the pickle's order, so that the shortest way names it.
    pub fn name_paths(&mut self) {
        let Some(root) = self.root else { return };
        let mut seen = vec![false; self.objects.len()];
        let mut queue = std::collections::VecDeque::from([(root, String::new())]);
        while let Some((id, path)) = queue.pop_front() {
            if seen.get(id.0).copied().unwrap_or(true) {
                continue;
            }
            if let Some(flag) = seen.get_mut(id.0) {
                *flag = true;
            }
            let Some(object) = self.objects.get_mut(id.0) else { continue };
            object.path.clone_from(&path);
            for (name, item) in &object.attributes {
                if let Item::Object(child) = item {
                    queue.push_back((*child, join(&path, name)));
                }
            }
        }
    }

    /// Attribute names that lead from `from` to `to`, the shortest way.
    pub fn way(&self, from: ObjectId, to: ObjectId) -> Option<Vec<String>> {
        let mut came: BTreeMap<ObjectId, (ObjectId, &str)> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(id) = queue.pop_front() {
            if id == to {
                let mut names = Vec::new();
                let mut at = to;
                while at != from {
                    let (parent, name) = came.get(&at)?;
                    names.push((*name).to_owned());
                    at = *parent;
                }
                names.reverse();
                return Some(names);
            }
            for (name, item) in &self.object(id)?.attributes {
                let Item::Object(child) = item else { continue };
                if *child != from && !came.contains_key(child) {
                    came.insert(*child, (id, name));
                    queue.push_back(*child);
                }
            }
        }
        None
    }
}

/// `path.name`, or `name` at the root.
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A qualified class name without the parts that tell same-named classes apart: `__torch__.a.___torch_mangle_3.Conv2d` is
/// `__torch__.a.Conv2d`.
pub fn unmangle(class: &str) -> String {
    let parts: Vec<&str> = class.split('.').filter(|part| !part.starts_with("___torch_mangle_")).collect();
    parts.join(".")
}

/// The last part of a qualified name.
pub fn last_atom(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}
