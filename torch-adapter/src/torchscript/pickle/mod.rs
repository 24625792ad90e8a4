//! Pickles as data: values with their bytes, nothing run, nothing imported.
//!
//! [`Pickle::read`] walks a pickle over a closed list of instructions and globals. Every value keeps the span of its bytes, so that
//! [`Splice`] can insert and replace values without touching the rest.

mod encode;
mod global;
mod op;
mod splice;
mod tree;
mod value;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

pub use crate::error::PickleFault;
pub use encode::{Fresh, FreshTensor};
pub use global::StorageType;
pub use splice::Splice;
pub use tree::{Module, ModuleTree, Place};
pub use value::{Identity, RawStorage, RawTensor, Slot};

use quant_math::Budget;

use crate::error::Error;
use crate::limits::Limits;
use value::{Container, Instance, Item};

/// A memo position: the slot it was set from.
#[derive(Debug, Clone, Copy)]
struct Memo {
    slot: Slot,
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    record: String,
    bytes: Vec<u8>,
    root: Slot,
    pool: Vec<Slot>,
    lists: Vec<Container>,
    dicts: Vec<Container>,
    objects: Vec<Instance>,
    classes: Vec<String>,
    tensors: Vec<RawTensor>,
    storages: Vec<RawStorage>,
    memo: Vec<Option<Memo>>,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Value<'p> {
    /// `None`.
    None,
    /// A bool.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text; not always UTF-8.
    Str(&'p [u8]),
    /// A tuple.
    Tuple(&'p [Slot]),
    /// A list.
    List(&'p [Slot]),
    /// A dictionary, as key, value, key, value, ….
    Dict(&'p [Slot]),
    /// An instance of a class of the archive.
    Object(Object<'p>),
    /// A tensor.
    Tensor(&'p RawTensor),
    /// A storage outside a tensor.
    Storage(&'p RawStorage),
    /// Anything that is kept as it is: devices, enum values, quantized and sparse tensors; the text says which.
    Opaque(&'static str),
}

/// An instance of a class of the archive.
#[derive(Debug, Clone, Copy)]
pub struct Object<'p> {
    pickle: &'p Pickle,
    id: u32,
    instance: &'p Instance,
}

impl Pickle {
    /// Walk `bytes`, the content of `record`.
    ///
    /// # Errors
    ///
    /// [`PickleFault`], with the record and the offset of the instruction.
    pub fn read(record: &str, bytes: Vec<u8>, limits: &Limits) -> Result<Self, Error> {
        let budget = Budget::for_file(bytes.len() as u64);
        Self::read_within(record, bytes, limits, &budget)
    }

    /// The same for a pickle out of a file that has a budget.
    pub(crate) fn read_within(record: &str, bytes: Vec<u8>, limits: &Limits, budget: &Budget) -> Result<Self, Error> {
        let pickle = walk::walk(record, bytes, limits, budget)?;
        pickle.unique_attributes()?;
        Ok(pickle)
    }

    fn empty(record: &str) -> Self {
        Self {
            record: record.to_owned(),
            bytes: Vec::new(),
            root: Slot { start: 0, end: 0, depth: 0, item: Item::None },
            pool: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            objects: Vec::new(),
            classes: Vec::new(),
            tensors: Vec::new(),
            storages: Vec::new(),
            memo: Vec::new(),
        }
    }

    /// The record it was read from.
    pub fn record(&self) -> &str {
        &self.record
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value it holds.
    pub fn root(&self) -> Slot {
        self.root
    }

    /// The module that it holds, as `data.pkl` does.
    ///
    /// # Errors
    ///
    /// [`PickleFault::Root`] when it holds something else.
    pub fn root_object(&self) -> Result<Object<'_>, Error> {
        self.object(self.root).ok_or_else(|| {
            let found = self.root.item.kind();
            PickleFault::Root { found, expected: "a module" }.at(&self.record, 0)
        })
    }

    /// The items of the tuple that it holds, as `constants.pkl` does.
    ///
    /// # Errors
    ///
    /// [`PickleFault::Root`] when it holds something else.
    pub fn root_items(&self) -> Result<&[Slot], Error> {
        if let Value::Tuple(items) = self.value(self.root) {
            return Ok(items);
        }
        let found = self.root.item.kind();
        Err(PickleFault::Root { found, expected: "a tuple of constants" }.at(&self.record, 0))
    }

    /// Every tensor that is defined in it, in order.
    pub fn tensors(&self) -> &[RawTensor] {
        &self.tensors
    }

    /// Every reference to a storage, in order; several can name one record.
    pub fn storages(&self) -> &[RawStorage] {
        &self.storages
    }

    /// What `slot` holds.
    pub fn value(&self, slot: Slot) -> Value<'_> {
        let opaque = Value::Opaque(slot.item.kind());
        match slot.item {
            Item::None => Value::None,
            Item::Bool(value) => Value::Bool(value),
            Item::Int(at) => Value::Int(op::int_at(&self.bytes, at)),
            Item::Float(at) => Value::Float(op::float_at(&self.bytes, at)),
            Item::Str(start, len) => Value::Str(self.text(start, len)),
            Item::Tuple(first, len) => Value::Tuple(self.pooled(first, len)),
            Item::List(id) => Value::List(self.container(&self.lists, id)),
            Item::Dict(id) => Value::Dict(self.container(&self.dicts, id)),
            Item::Object(id) => {
                let instance = self.objects.get(id as usize);
                instance.map_or(opaque, |instance| Value::Object(Object { pickle: self, id, instance }))
            }
            Item::Tensor(id) => self.tensors.get(id as usize).map_or(opaque, Value::Tensor),
            Item::Storage(id) => self.storages.get(id as usize).map_or(opaque, Value::Storage),
            Item::Global(..) | Item::Opaque(_) => opaque,
        }
    }

    /// The text that `slot` holds, if it holds UTF-8 text.
    pub fn str(&self, slot: Slot) -> Option<&str> {
        match self.value(slot) {
            Value::Str(bytes) => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The object that `slot` holds.
    pub fn object(&self, slot: Slot) -> Option<Object<'_>> {
        match self.value(slot) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The tensor that `slot` holds.
    pub fn tensor(&self, slot: Slot) -> Option<&RawTensor> {
        match self.value(slot) {
            Value::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The items of the tuple or list that `slot` holds.
    pub fn items(&self, slot: Slot) -> Option<&[Slot]> {
        match self.value(slot) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    fn text(&self, start: u32, len: u32) -> &[u8] {
        self.bytes.get(start as usize..).and_then(|rest| rest.get(..len as usize)).unwrap_or_default()
    }

    fn pooled(&self, first: u32, len: u32) -> &[Slot] {
        self.pool.get(first as usize..).and_then(|rest| rest.get(..len as usize)).unwrap_or_default()
    }

    fn container(&self, containers: &[Container], id: u32) -> &[Slot] {
        containers.get(id as usize).map_or(&[], |container| self.pooled(container.items.first, container.items.len))
    }

    /// No object has an attribute twice: readers would differ in which one counts.
    fn unique_attributes(&self) -> Result<(), Error> {
        for (id, instance) in self.objects.iter().enumerate() {
            let object = Object { pickle: self, id: u32::try_from(id).unwrap_or(u32::MAX), instance };
            let mut names: Vec<(&str, usize)> =
                object.attributes().map(|(name, slot)| (name, slot.start as usize)).collect();
            names.sort_unstable();
            let twice = names.windows(2).find(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
            if let Some([_, (name, at)]) = twice {
                return Err(PickleFault::Duplicate { name: (*name).to_owned() }.at(&self.record, *at));
            }
        }
        Ok(())
    }
}

impl<'p> Object<'p> {
    /// The qualified name of its class, for example `__torch__.torch.nn.modules.conv.Conv2d`.
    pub fn class(&self) -> &'p str {
        self.pickle.classes.get(self.instance.class as usize).map_or("", String::as_str)
    }

    /// Equal for two objects when they are one.
    pub fn identity(&self) -> Identity {
        Identity::object(self.id)
    }

    /// Names and values of its attributes, in order. Empty for an object whose state is not a dictionary with text keys
    /// (one with `__getstate__`); see [`has_attributes`](Self::has_attributes).
    pub fn attributes(&self) -> impl Iterator<Item = (&'p str, Slot)> + use<'p> {
        let pickle = self.pickle;
        let pairs = if self.has_attributes() { self.pairs().unwrap_or_default() } else { &[] };
        pairs.as_chunks::<2>().0.iter().filter_map(move |[key, value]| Some((pickle.str(*key)?, *value)))
    }

    /// Whether its state is a dictionary with text keys, as every module's is.
    pub fn has_attributes(&self) -> bool {
        let pickle = self.pickle;
        self.pairs().is_some_and(|pairs| pairs.iter().step_by(2).all(|key| pickle.str(*key).is_some()))
    }

    /// The attribute `name`.
    pub fn get(&self, name: &str) -> Option<Slot> {
        self.attributes().find(|(key, _)| *key == name).map(|(_, slot)| slot)
    }

    /// The value of the attribute at a position of [`attributes`](Self::attributes).
    pub(crate) fn value_at(&self, position: usize) -> Option<Slot> {
        let [_, value] = self.pairs()?.as_chunks::<2>().0.get(position)?;
        Some(*value)
    }

    /// Key and value of every attribute, by name.
    fn entries(&self) -> BTreeMap<&'p str, (Slot, Slot)> {
        let pairs = if self.has_attributes() { self.pairs().unwrap_or_default() } else { &[] };
        let entry = |[key, value]: &[Slot; 2]| Some((self.pickle.str(*key)?, (*key, *value)));
        pairs.as_chunks::<2>().0.iter().filter_map(entry).collect()
    }

    /// What it was built from: the dictionary of its attributes, or what its class's `__getstate__` gave.
    pub fn state(&self) -> Option<Slot> {
        self.instance.state
    }

    /// Where further attributes would stand.
    pub fn end_of_attributes(&self) -> Option<usize> {
        self.dict().and_then(|dict| dict.fill).map(|fill| fill as usize)
    }

    /// Where the object stands that defines it.
    pub fn span(&self) -> Range<usize> {
        self.instance.start as usize..self.instance.end as usize
    }

    fn pairs(&self) -> Option<&'p [Slot]> {
        match self.pickle.value(self.instance.state?) {
            Value::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The dictionary of its attributes.
    fn dict(&self) -> Option<&'p Container> {
        match self.instance.state?.item {
            Item::Dict(id) => self.pickle.dicts.get(id as usize),
            _ => None,
        }
    }
}
