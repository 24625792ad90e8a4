//! What an archive holds, read once: pickles, tensors, code, and the objects that both make together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use quant_math::plan::Reason;

use super::agree;
use super::archive::Archive;
use super::expand;
use super::folder::Folder;
use super::heap::{Heap, Item, ObjectId, TensorId};
use super::heap_reader::{HeapReader, TensorPlace};
use super::pickle::{Pickle, Slot};
use super::program::Program;
use super::stored::Change;
use super::tensors::{Irregular, Storage, Tensor, Tensors};
use crate::codes;
use crate::error::{At, Error};
use crate::limits::Limits;

pub(crate) use super::stored::Stored;

/// The record that makes an archive one for the mobile interpreter.
pub(crate) const BYTECODE: &str = "bytecode.pkl";

/// Where tensors are of which nothing else is known.
pub(crate) const CPU: &str = "cpu";

/// Tensors with the same key are the same bytes.
pub(crate) type StoreKey = (Folder, usize, u64, u64);

/// Other values for tensors.
pub(crate) type Changes = BTreeMap<StoreKey, Arc<Change>>;

/// An archive, read: its objects and its code.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) path: Option<PathBuf>,
    pub(crate) archive: Archive,
    data: Pickle,
    constants: Option<Pickle>,
    data_tensors: Tensors,
    constant_tensors: Tensors,
    pub(crate) heap: Heap,
    /// By [`ObjectId`].
    slots: Vec<Slot>,
    /// By [`TensorId`].
    places: Vec<TensorPlace>,
    pub(crate) program: Program,
    /// What is to be written of tensors in place of their bytes.
    pub(crate) changes: Changes,
}

impl Contents {
    pub(crate) fn read(archive: Archive, path: Option<PathBuf>, limits: &Limits) -> Result<Self, Error> {
        let budget = archive.budget();
        let data = Pickle::read_within("data.pkl", archive.read("data.pkl")?.into_owned(), limits, budget)?;
        let constants = if archive.has("constants.pkl") {
            let bytes = archive.read("constants.pkl")?.into_owned();
            Some(Pickle::read_within("constants.pkl", bytes, limits, budget)?)
        } else {
            None
        };
        data.root_object()?;
        expand::check(&data, budget)?;
        if let Some(constants) = &constants {
            constants.root_items()?;
            expand::check(constants, budget)?;
        }
        let data_tensors = Tensors::read(&archive, &data, Folder::Data.name())?;
        let constant_tensors = match &constants {
            Some(constants) => Tensors::read(&archive, constants, Folder::Constants.name())?,
            None => Tensors::default(),
        };
        let program = program(&archive)?;
        let is_opaque = |class: &str| agree::is_opaque(&program, class);
        let mut reader = HeapReader::new(&is_opaque);
        reader.read(&data, constants.as_ref());
        let HeapReader { mut heap, slots, places, .. } = reader;
        heap.name_paths();
        agree::check(&heap, &program)?;
        let changes = Changes::new();
        Ok(Self {
            path,
            archive,
            data,
            constants,
            data_tensors,
            constant_tensors,
            heap,
            slots,
            places,
            program,
            changes,
        })
    }

    pub(crate) fn data(&self) -> &Pickle {
        &self.data
    }

    pub(crate) fn constants(&self) -> Option<&Pickle> {
        self.constants.as_ref()
    }

    pub(crate) fn slot(&self, object: ObjectId) -> Option<Slot> {
        self.slots.get(object.0).copied()
    }

    pub(crate) fn place(&self, tensor: TensorId) -> Option<&TensorPlace> {
        self.places.get(tensor.0)
    }

    /// Whether an object, or else the root, was saved in training mode.
    pub(crate) fn is_training(&self, object: ObjectId) -> bool {
        let flag = |object: ObjectId| match self.heap.object(object)?.attribute("training")? {
            Item::Bool(flag) => Some(*flag),
            _ => None,
        };
        flag(object).or_else(|| flag(self.heap.root?)).unwrap_or(false)
    }

    /// Whether `torch.jit.freeze` made it, which takes the mode away.
    pub(crate) fn is_frozen(&self) -> bool {
        let root = self.heap.root.and_then(|root| self.heap.object(root));
        root.is_some_and(|root| !root.opaque && root.attribute("training").is_none())
    }

    /// Whether the mobile interpreter can run it too.
    pub(crate) fn is_mobile(&self) -> bool {
        self.archive.has(BYTECODE)
    }

    pub(crate) fn tensors(&self, folder: Folder) -> &Tensors {
        match folder {
            Folder::Data => &self.data_tensors,
            Folder::Constants => &self.constant_tensors,
        }
    }

    /// The tensor with its storage.
    pub(crate) fn tensor(&self, tensor: TensorId) -> Option<(TensorPlace, &Tensor, &Storage)> {
        let place = *self.place(tensor)?;
        let tensors = self.tensors(place.folder);
        let found = tensors.tensors().get(place.position)?;
        Some((place, found, tensors.storage(found)?))
    }

    /// Where a tensor is put when it is loaded: `cpu`, `cuda:0`, ….
    pub(crate) fn device(&self, tensor: TensorId) -> &str {
        let Some((place, _, storage)) = self.tensor(tensor) else { return CPU };
        let pickle = match place.folder {
            Folder::Data => Some(&self.data),
            Folder::Constants => self.constants.as_ref(),
        };
        let name = pickle.and_then(|pickle| str::from_utf8(pickle.bytes().get(storage.device.clone())?).ok());
        name.unwrap_or(CPU)
    }

    /// Where the tensors of an object are; of one without any, those of the first that has some.
    pub(crate) fn device_of(&self, object: ObjectId) -> &str {
        let own = self.heap.object(object);
        let tensors = own.into_iter().chain(&self.heap.objects).flat_map(|object| &object.attributes);
        let items = tensors.map(|(_, item)| item).chain(&self.heap.constants);
        let mut tensors = items.filter_map(|item| match item {
            Item::Tensor(tensor) => Some(*tensor),
            _ => None,
        });
        tensors.next().map_or(CPU, |tensor| self.device(tensor))
    }

    /// Where a tensor's bytes are, or why they are no list of its elements.
    pub(crate) fn stored(&self, tensor: TensorId) -> Result<Stored, Reason> {
        let gone = || Reason::new(codes::NOT_FLOAT, "it is no float tensor");
        let (place, found, storage) = self.tensor(tensor).ok_or_else(gone)?;
        let dtype = found.dtype().ok_or_else(gone)?;
        let dense = found.dense().map_err(Irregular::reason)?;
        let size = dtype.size() as u64;
        let span = dense.span.start.saturating_mul(size)..dense.span.end.saturating_mul(size);
        let key = (place.folder, found.storage, dense.span.start, dense.span.end);
        let change = self.changes.get(&key).cloned();
        Ok(Stored { record: storage.record.clone(), dtype, span, dense, change })
    }

    /// The tensors that get other values.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (StoreKey, Stored)> {
        let keyed = |number| Some((self.store_key(TensorId(number))?, TensorId(number)));
        let all = if self.changes.is_empty() { 0 } else { self.places.len() };
        let by_key: BTreeMap<StoreKey, TensorId> = (0..all).filter_map(keyed).collect();
        let changed = by_key.into_iter().filter(|(key, _)| self.changes.contains_key(key));
        changed.filter_map(|(key, tensor)| Some((key, self.stored(tensor).ok()?)))
    }

    pub(crate) fn store_key(&self, tensor: TensorId) -> Option<StoreKey> {
        let (place, found, _) = self.tensor(tensor)?;
        let span = found.dense().ok()?.span;
        Some((place.folder, found.storage, span.start, span.end))
    }
}

fn program(archive: &Archive) -> Result<Program, Error> {
    let names = archive.records().filter(|name| Program::is_source(name));
    let texts = names.map(|name| Ok((name.to_owned(), archive.text(name)?.into_owned())));
    let texts = texts.collect::<Result<Vec<_>, Error>>()?;
    Program::within(texts, archive.budget()).map_err(|(record, error)| match error.over {
        Some(over) => Error::Budget { over, at: At::within(record, error.offset) },
        None => Error::Code {
            message: format!("found {}, expected {}", error.found, error.expected),
            at: At::within(record, error.offset),
        },
    })
}
