//! Where tensors stand: which attributes are a tensor, and which expressions read an attribute. Gathered once for a model, since every
//! weight asks.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::{ExprId, ExprKind, StatementKind, Target, text_of};
use crate::model::Model;
use crate::sites::heap::{Item, ObjectId, TensorId};
use crate::sites::{ClassRef, FunctionRef, Origin, Program, Read};

/// The uses of a model's tensors.
#[derive(Debug)]
pub(crate) struct Uses {
    /// Objects, and the position among their attributes.
    owners: BTreeMap<TensorId, Vec<(ObjectId, usize)>>,
    /// Objects, the position among their attributes of a list that holds the tensor, and the position there.
    lists: BTreeMap<TensorId, Vec<(ObjectId, usize, usize)>>,
    /// Reads that following the code has met.
    reads: BTreeMap<ObjectId, BTreeMap<String, Vec<Read>>>,
    /// `self.name` in the methods of a class, those that nothing calls included.
    written: BTreeMap<ClassRef, BTreeMap<String, Vec<(FunctionRef, ExprId)>>>,
}

impl Uses {
    pub(crate) fn of(model: &Model) -> Self {
        let mut owners: BTreeMap<TensorId, Vec<(ObjectId, usize)>> = BTreeMap::new();
        let mut lists: BTreeMap<TensorId, Vec<(ObjectId, usize, usize)>> = BTreeMap::new();
        let mut written = BTreeMap::new();
        for (id, object) in model.heap().objects.iter().enumerate() {
            for (position, (_, item)) in object.attributes.iter().enumerate() {
                if let Item::Tensor(tensor) = item {
                    owners.entry(*tensor).or_default().push((ObjectId(id), position));
                    continue;
                }
                for (element, item) in item.each().into_iter().enumerate() {
                    if let Item::Tensor(tensor) = item {
                        lists.entry(*tensor).or_default().push((ObjectId(id), position, element));
                    }
                }
            }
            if let Some(class) = model.program().find_class(&object.class) {
                written.entry(class).or_insert_with(|| written_in(model.program(), class));
            }
        }
        let mut reads: BTreeMap<ObjectId, BTreeMap<String, Vec<Read>>> = BTreeMap::new();
        for read in &model.sites().reads {
            if let Origin::Attribute(owner, name) = &read.origin {
                reads.entry(*owner).or_default().entry(name.to_string()).or_default().push(read.clone());
            }
        }
        Self { owners, lists, reads, written }
    }

    /// Every attribute that is the tensor.
    pub(crate) fn owners<'m>(&self, model: &'m Model, tensor: TensorId) -> Vec<(ObjectId, &'m str)> {
        let name = |(owner, position): &(ObjectId, usize)| {
            let (name, _) = model.heap().object(*owner)?.attributes.get(*position)?;
            Some((*owner, name.as_str()))
        };
        self.owners.get(&tensor).map(Vec::as_slice).unwrap_or_default().iter().filter_map(name).collect()
    }

    /// Every attribute that holds the tensor in a list, tuple or dictionary, with the positions there.
    pub(crate) fn lists<'m>(&self, model: &'m Model, tensor: TensorId) -> Vec<(ObjectId, &'m str, Vec<usize>)> {
        let found = self.lists.get(&tensor).map(Vec::as_slice).unwrap_or_default();
        let groups = found.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1));
        let list = |group: &[(ObjectId, usize, usize)]| {
            let (owner, attribute, _) = group.first()?;
            let (name, _) = model.heap().object(*owner)?.attributes.get(*attribute)?;
            Some((*owner, name.as_str(), group.iter().map(|(_, _, element)| *element).collect()))
        };
        groups.filter_map(list).collect()
    }

    /// The reads of an attribute, wherever they stand.
    pub(crate) fn reads(&self, owner: ObjectId, name: &str) -> &[Read] {
        self.reads.get(&owner).and_then(|names| names.get(name)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Reads of `self.name` in the methods of the owner's class, those that nothing calls included.
    pub(crate) fn own_reads(&self, model: &Model, owner: ObjectId, name: &str) -> Vec<Read> {
        let class = model.heap().object(owner).and_then(|object| model.program().find_class(&object.class));
        let found = class.and_then(|class| self.written.get(&class)?.get(name)).map(Vec::as_slice).unwrap_or_default();
        let read = |(function, expr): &(FunctionRef, ExprId)| {
            let origin = Origin::Attribute(owner, name.into());
            Read { function: *function, expr: *expr, holder: Some(owner), origin }
        };
        found.iter().map(read).collect()
    }
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
