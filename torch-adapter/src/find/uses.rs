//! Where tensors stand: which attributes are a tensor, and which expressions read an attribute. Gathered once for a model, since every
//! weight asks.

use std::collections::{BTreeMap, BTreeSet};

use crate::find::sites::{ClassRef, FunctionRef, Origin, Program, Read, Sites};
use crate::torchscript::code::{ExprId, ExprKind, StatementKind, Target, text_of};
use crate::torchscript::heap::{Heap, Item, ObjectId, TensorId};

/// The uses of a model's tensors.
#[derive(Debug)]
pub(crate) struct Uses {
    /// Objects, and the position among their attributes.
    owners: BTreeMap<TensorId, Vec<(ObjectId, usize)>>,
    /// Objects, the position among their attributes of a list that holds the tensor, and the position there.
    lists: BTreeMap<TensorId, Vec<(ObjectId, usize, usize)>>,
    /// Objects, and the position among their attributes, that hold an object.
    holders: BTreeMap<ObjectId, Vec<(ObjectId, usize)>>,
    /// Objects in lists and dictionaries, and what they hold.
    listed: BTreeSet<ObjectId>,
    /// Classes of more than one object.
    shared: BTreeSet<String>,
    /// The numbers of the constants that are a tensor.
    constants: BTreeMap<TensorId, Vec<usize>>,
    /// Reads of constants.
    constant_reads: BTreeMap<usize, Vec<Read>>,
    /// Tensors that free functions read.
    free: BTreeSet<TensorId>,
    /// Tensors of attributes that the code assigns, with one of their names.
    assigned: BTreeMap<TensorId, String>,
    /// Reads that following the code has met.
    reads: BTreeMap<ObjectId, BTreeMap<String, Vec<Read>>>,
    /// `self.name` in the methods of a class, those that nothing calls included.
    written: BTreeMap<ClassRef, BTreeMap<String, Vec<(FunctionRef, ExprId)>>>,
}

impl Uses {
    pub(crate) fn of(heap: &Heap, program: &Program, sites: &Sites) -> Self {
        let mut owners: BTreeMap<TensorId, Vec<(ObjectId, usize)>> = BTreeMap::new();
        let mut lists: BTreeMap<TensorId, Vec<(ObjectId, usize, usize)>> = BTreeMap::new();
        let mut holders: BTreeMap<ObjectId, Vec<(ObjectId, usize)>> = BTreeMap::new();
        let mut written = BTreeMap::new();
        for (id, object) in heap.objects.iter().enumerate() {
            for (position, (_, item)) in object.attributes.iter().enumerate() {
                match item {
                    Item::Tensor(tensor) => {
                        owners.entry(*tensor).or_default().push((ObjectId(id), position));
                        continue;
                    }
                    Item::Object(held) => holders.entry(*held).or_default().push((ObjectId(id), position)),
                    _ => {}
                }
                for (element, item) in item.each().into_iter().enumerate() {
                    if let Item::Tensor(tensor) = item {
                        lists.entry(*tensor).or_default().push((ObjectId(id), position, element));
                    }
                }
            }
            if let Some(class) = program.find_class(&object.class) {
                written.entry(class).or_insert_with(|| written_in(program, class));
            }
        }
        let mut reads: BTreeMap<ObjectId, BTreeMap<String, Vec<Read>>> = BTreeMap::new();
        let mut constant_reads: BTreeMap<usize, Vec<Read>> = BTreeMap::new();
        let mut free = BTreeSet::new();
        for read in &sites.reads {
            match &read.origin {
                Origin::Attribute(owner, name) => {
                    reads.entry(*owner).or_default().entry(name.to_string()).or_default().push(read.clone());
                }
                Origin::Constant(number) => constant_reads.entry(*number).or_default().push(read.clone()),
                Origin::Element(..) | Origin::Key(..) => {}
            }
            if read.holder.is_none() {
                free.extend(tensors_at(heap, &read.origin));
            }
        }
        let mut assigned = BTreeMap::new();
        for (object, name) in &sites.writes {
            for tensor in tensors_at(heap, &Origin::Attribute(*object, name.as_str().into())) {
                assigned.entry(tensor).or_insert_with(|| name.clone());
            }
        }
        let mut constants: BTreeMap<TensorId, Vec<usize>> = BTreeMap::new();
        for (number, item) in heap.constants.iter().enumerate() {
            if let Item::Tensor(tensor) = item {
                constants.entry(*tensor).or_default().push(number);
            }
        }
        let (listed, shared) = (listed(heap), shared(heap));
        Self { owners, lists, holders, listed, shared, constants, constant_reads, free, assigned, reads, written }
    }

    /// Every attribute that is the object.
    pub(crate) fn holders<'m>(&self, heap: &'m Heap, object: ObjectId) -> Vec<(ObjectId, &'m str)> {
        named(heap, self.holders.get(&object))
    }

    /// Whether it must keep its class, which others have too: a list's objects, and what they hold, are of the declared classes.
    pub(crate) fn is_bound(&self, heap: &Heap, object: ObjectId) -> bool {
        let class = heap.object(object).map_or("", |found| &found.class);
        self.listed.contains(&object) && self.shared.contains(class)
    }

    /// The numbers of the constants that are the tensor.
    pub(crate) fn constants(&self, tensor: TensorId) -> &[usize] {
        self.constants.get(&tensor).map(Vec::as_slice).unwrap_or_default()
    }

    /// The reads of the constants that are the tensor.
    pub(crate) fn constant_reads(&self, tensor: TensorId) -> BTreeSet<&Read> {
        self.constants(tensor).iter().filter_map(|number| self.constant_reads.get(number)).flatten().collect()
    }

    /// Whether a free function reads the tensor where it stands, or the list that holds it.
    pub(crate) fn is_free(&self, tensor: TensorId) -> bool {
        self.free.contains(&tensor)
    }

    /// An attribute that is or holds the tensor and that the code assigns.
    pub(crate) fn assigned(&self, tensor: TensorId) -> Option<&str> {
        self.assigned.get(&tensor).map(String::as_str)
    }

    /// Every attribute that is the tensor.
    pub(crate) fn owners<'m>(&self, heap: &'m Heap, tensor: TensorId) -> Vec<(ObjectId, &'m str)> {
        named(heap, self.owners.get(&tensor))
    }

    /// The same by positions among the attributes.
    pub(crate) fn owner_positions(&self, tensor: TensorId) -> &[(ObjectId, usize)] {
        self.owners.get(&tensor).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every attribute that holds the tensor in a list, tuple or dictionary, with the positions there.
    pub(crate) fn lists<'m>(&self, heap: &'m Heap, tensor: TensorId) -> Vec<(ObjectId, &'m str, Vec<usize>)> {
        let found = self.lists.get(&tensor).map(Vec::as_slice).unwrap_or_default();
        let groups = found.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1));
        let list = |group: &[(ObjectId, usize, usize)]| {
            let (owner, attribute, _) = group.first()?;
            let (name, _) = heap.object(*owner)?.attributes.get(*attribute)?;
            Some((*owner, name.as_str(), group.iter().map(|(_, _, element)| *element).collect()))
        };
        groups.filter_map(list).collect()
    }

    /// The reads of an attribute, wherever they stand.
    pub(crate) fn reads(&self, owner: ObjectId, name: &str) -> &[Read] {
        self.reads.get(&owner).and_then(|names| names.get(name)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Reads of `self.name` in the methods of the owner's class, those that nothing calls included.
    pub(crate) fn own_reads(&self, heap: &Heap, program: &Program, owner: ObjectId, name: &str) -> Vec<Read> {
        let class = heap.object(owner).and_then(|object| program.find_class(&object.class));
        let found = class.and_then(|class| self.written.get(&class)?.get(name)).map(Vec::as_slice).unwrap_or_default();
        let read = |(function, expr): &(FunctionRef, ExprId)| {
            let origin = Origin::Attribute(owner, name.into());
            Read { function: *function, expr: *expr, holder: Some(owner), origin }
        };
        found.iter().map(read).collect()
    }
}

fn listed(heap: &Heap) -> BTreeSet<ObjectId> {
    let object = |item: &Item| match item {
        Item::Object(object) => Some(*object),
        _ => None,
    };
    let items = heap.objects.iter().flat_map(|object| &object.attributes).map(|(_, item)| item);
    let lists = items.filter(|item| matches!(item, Item::List(_) | Item::Dict(_)));
    let mut open: Vec<ObjectId> =
        lists.flat_map(Item::each).filter_map(object).chain(heap.hidden.objects.iter().copied()).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if found.insert(id) {
            let attributes = heap.object(id).map(|object| object.attributes.as_slice()).unwrap_or_default();
            open.extend(attributes.iter().filter_map(|(_, item)| object(item)));
        }
    }
    found
}

fn shared(heap: &Heap) -> BTreeSet<String> {
    let mut seen: BTreeSet<&str> = heap.hidden.classes.iter().map(String::as_str).collect();
    let classes = heap.objects.iter().map(|object| object.class.as_str());
    classes.filter(|class| !seen.insert(*class)).map(str::to_owned).collect()
}

fn named<'m>(heap: &'m Heap, found: Option<&Vec<(ObjectId, usize)>>) -> Vec<(ObjectId, &'m str)> {
    let name = |(owner, position): &(ObjectId, usize)| {
        let (name, _) = heap.object(*owner)?.attributes.get(*position)?;
        Some((*owner, name.as_str()))
    };
    found.map(Vec::as_slice).unwrap_or_default().iter().filter_map(name).collect()
}

/// The tensor that stands at `origin`, or those of the list there.
fn tensors_at(heap: &Heap, origin: &Origin) -> Vec<TensorId> {
    let item = match origin {
        Origin::Attribute(owner, name) => heap.object(*owner).and_then(|object| object.attribute(name)),
        Origin::Constant(number) => heap.constants.get(*number).filter(|item| matches!(item, Item::Tensor(_))),
        Origin::Element(..) | Origin::Key(..) => None,
    };
    let tensor = |item: &Item| match item {
        Item::Tensor(tensor) => Some(*tensor),
        _ => None,
    };
    item.map_or_else(Vec::new, |item| item.each().into_iter().filter_map(tensor).collect())
}

fn written_in(program: &Program, place: ClassRef) -> BTreeMap<String, Vec<(FunctionRef, ExprId)>> {
    let mut found: BTreeMap<String, Vec<(FunctionRef, ExprId)>> = BTreeMap::new();
    let text = program.text(place.file);
    for (number, method) in
        program.class(place).map(|class| class.methods.as_slice()).unwrap_or_default().iter().enumerate()
    {
        let Some(own) = method.parameters.first() else { continue };
        let targets = method.body.iter().flat_map(|statement| match &statement.kind {
            StatementKind::Assign { targets, .. } => targets.as_slice(),
            _ => &[],
        });
        let assigned: BTreeSet<ExprId> = targets
            .filter_map(|target| match target {
                Target::Place(id) => Some(*id),
                Target::Name(_) => None,
            })
            .collect();
        for (index, expr) in method.exprs.iter().enumerate() {
            let ExprKind::Attribute { base, name } = &expr.kind else { continue };
            let base = method.expr(*base).map_or("", |base| text_of(text, &base.span));
            if base == own.name {
                let function = FunctionRef { file: place.file, class: Some(place.class), function: number };
                let reads = found.entry(text_of(text, name).to_owned()).or_default();
                let read = method.id(index).filter(|expr| !assigned.contains(expr));
                reads.extend(read.map(|expr| (function, expr)));
            }
        }
    }
    found
}
