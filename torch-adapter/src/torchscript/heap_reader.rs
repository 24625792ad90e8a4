//! From pickles to the objects and tensors that the walk over the code sees.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::folder::Folder;
use crate::torchscript::heap::{Heap, Item, Object, ObjectId, TensorFacts, TensorId};
use crate::torchscript::pickle::{Identity, Pickle, RawTensor, Slot, Value};

/// A tensor: where it is defined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TensorPlace {
    pub(crate) folder: Folder,
    /// Position in the pickle's tensors.
    pub(crate) position: usize,
    /// The first slot that holds it.
    pub(crate) slot: Slot,
}

/// Turns pickles into a heap.
pub(crate) struct HeapReader<'a> {
    pub(crate) heap: Heap,
    /// By [`ObjectId`].
    pub(crate) slots: Vec<Slot>,
    /// By [`TensorId`].
    pub(crate) places: Vec<TensorPlace>,
    objects: BTreeMap<Identity, ObjectId>,
    tensors: BTreeMap<(Folder, Identity), TensorId>,
    /// Objects whose attributes were not read yet.
    open: VecDeque<(ObjectId, Slot)>,
    /// Where the tensor of a span stands among its pickle's tensors.
    positions: BTreeMap<Folder, BTreeMap<(usize, usize), usize>>,
    /// Values that no attribute shows.
    hidden: Vec<(Folder, Slot)>,
    is_opaque: &'a dyn Fn(&str) -> bool,
}

impl<'a> HeapReader<'a> {
    /// `is_opaque` says of a class whether its objects make sense of their state in their own code.
    pub(crate) fn new(is_opaque: &'a dyn Fn(&str) -> bool) -> Self {
        Self {
            heap: Heap::default(),
            slots: Vec::new(),
            places: Vec::new(),
            objects: BTreeMap::new(),
            tensors: BTreeMap::new(),
            open: VecDeque::new(),
            positions: BTreeMap::new(),
            hidden: Vec::new(),
            is_opaque,
        }
    }

    pub(crate) fn read(&mut self, data: &Pickle, constants: Option<&Pickle>) {
        if let Item::Object(root) = self.item(data, Folder::Data, data.root(), 0) {
            self.heap.root = Some(root);
        }
        while let Some((id, slot)) = self.open.pop_front() {
            let Some(object) = data.object(slot) else { continue };
            if (self.is_opaque)(object.class()) {
                self.hidden.extend(object.state().map(|state| (Folder::Data, state)));
                continue;
            }
            let attributes: Vec<(String, Item)> = object
                .attributes()
                .map(|(name, slot)| (name.to_owned(), self.item(data, Folder::Data, slot, 0)))
                .collect();
            if let Some(found) = self.heap.objects.get_mut(id.0) {
                found.set_attributes(attributes);
            }
        }
        if let Some(constants) = constants {
            let items = constants.items(constants.root()).unwrap_or_default();
            self.heap.constants = items.iter().map(|slot| self.item(constants, Folder::Constants, *slot, 0)).collect();
        }
        self.read_hidden(data, constants);
    }

    /// Find out what is behind the values that no attribute shows.
    fn read_hidden(&mut self, data: &Pickle, constants: Option<&Pickle>) {
        let mut seen = BTreeSet::new();
        while let Some((folder, slot)) = self.hidden.pop() {
            let pickle = match folder {
                Folder::Data => data,
                Folder::Constants => constants.unwrap_or(data),
            };
            if slot.identity().is_some_and(|identity| !seen.insert((folder, identity))) {
                continue;
            }
            match pickle.value(slot) {
                Value::Tensor(raw) => {
                    if let Item::Tensor(tensor) = self.tensor(pickle, folder, slot, raw) {
                        self.heap.hidden.tensors.insert(tensor);
                    }
                }
                Value::Tuple(items) | Value::List(items) | Value::Dict(items) => {
                    self.hidden.extend(items.iter().map(|item| (folder, *item)));
                }
                Value::Object(object)
                    if folder == Folder::Constants || !self.objects.contains_key(&object.identity()) =>
                {
                    self.heap.hidden.classes.insert(object.class().to_owned());
                    self.hidden.extend(object.state().map(|state| (folder, state)));
                }
                Value::Object(object) => self.heap.hidden.objects.extend(self.objects.get(&object.identity())),
                _ => {}
            }
        }
    }

    fn item(&mut self, pickle: &Pickle, folder: Folder, slot: Slot, depth: usize) -> Item {
        match pickle.value(slot) {
            Value::None => Item::None,
            Value::Bool(value) => Item::Bool(value),
            Value::Int(value) => Item::Int(value),
            Value::Float(value) => Item::Float(value),
            Value::Str(_) => pickle.str(slot).map_or(Item::Opaque, |text| Item::Str(text.to_owned())),
            // Lists of lists take part in no call that can be quantized.
            Value::Tuple(items) | Value::List(items) if depth == 0 => {
                Item::List(items.iter().map(|slot| self.item(pickle, folder, *slot, 1)).collect())
            }
            Value::Dict(pairs) if depth == 0 && pairs.iter().step_by(2).all(|key| pickle.str(*key).is_some()) => {
                let pairs = pairs.as_chunks::<2>().0.iter();
                let pair = |[key, slot]: &[Slot; 2]| {
                    (pickle.str(*key).unwrap_or_default().to_owned(), self.item(pickle, folder, *slot, 1))
                };
                Item::Dict(pairs.map(pair).collect())
            }
            Value::Object(_) if folder == Folder::Data => self.object(pickle, slot),
            Value::Tensor(raw) => self.tensor(pickle, folder, slot, raw),
            _ => {
                self.hidden.push((folder, slot));
                Item::Opaque
            }
        }
    }

    fn object(&mut self, pickle: &Pickle, slot: Slot) -> Item {
        let (Some(object), Some(identity)) = (pickle.object(slot), slot.identity()) else { return Item::Opaque };
        if let Some(known) = self.objects.get(&identity) {
            return Item::Object(*known);
        }
        let id = ObjectId(self.heap.objects.len());
        self.objects.insert(identity, id);
        let class = object.class().to_owned();
        let opaque = (self.is_opaque)(&class);
        self.heap.objects.push(Object::new(class, opaque));
        self.slots.push(slot);
        self.open.push_back((id, slot));
        Item::Object(id)
    }

    fn tensor(&mut self, pickle: &Pickle, folder: Folder, slot: Slot, raw: &RawTensor) -> Item {
        let Some(identity) = slot.identity() else { return Item::Opaque };
        if let Some(known) = self.tensors.get(&(folder, identity)) {
            return Item::Tensor(*known);
        }
        let Some(storage) = pickle.storages().get(raw.storage) else { return Item::Opaque };
        let positions = self.positions.entry(folder).or_insert_with(|| {
            let tensors = pickle.tensors().iter().enumerate();
            tensors.map(|(position, tensor)| ((tensor.span.start, tensor.span.end), position)).collect()
        });
        let Some(position) = positions.get(&(raw.span.start, raw.span.end)).copied() else { return Item::Opaque };
        let id = TensorId(self.places.len());
        self.tensors.insert((folder, identity), id);
        let name = storage.kind.name();
        self.heap.tensors.push(TensorFacts {
            scalar: name.strip_suffix("Storage").unwrap_or(name).to_owned(),
            dtype: storage.kind.dtype(),
            shape: raw.sizes.iter().map(|size| u64::try_from(*size).unwrap_or(0)).collect(),
            separated: None,
        });
        self.places.push(TensorPlace { folder, position, slot });
        Item::Tensor(id)
    }
}
