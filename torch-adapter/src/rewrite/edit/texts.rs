//! Classes after their changes: objects that share a class but not their changes get classes of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::class_edit::ClassEdit;
use crate::error::{At, Error};
use crate::find::sites::{ClassRef, Program};
use crate::torchscript::code::Splice;
use crate::torchscript::heap::{Heap, Item, ObjectId};

/// The texts and classes after all changes.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    /// Records with their new text; some of them are new.
    pub(crate) records: BTreeMap<String, String>,
    /// Objects that have another class now, with its qualified name.
    pub(crate) classes: BTreeMap<ObjectId, String>,
}

/// Carry out `edits`, one per object.
///
/// An object keeps its class where the first object of the class has the same changes, so that the pickle's first mention of the
/// class stays as it is; the others get copies, and so do the classes of what holds them.
pub(crate) fn rewrite(
    program: &Program,
    heap: &Heap,
    mut edits: BTreeMap<ObjectId, ClassEdit>,
) -> Result<Rewritten, Error> {
    let mut out = Rewritten::default();
    let mut names = Names::new(program);
    let mut splices: BTreeMap<usize, Splice> = BTreeMap::new();
    let members = members(heap);
    for class in children_first(heap, &members) {
        let members = members.get(class).map(Vec::as_slice).unwrap_or_default();
        for member in members {
            retype(program, heap, *member, &out.classes, &mut edits);
        }
        let edit_of = |member: &ObjectId| edits.get(member).cloned().unwrap_or_default();
        let Some(first) = members.first().map(edit_of) else { continue };
        // Objects that are out of reach need their class as it is.
        let kept = if heap.hidden.classes.contains(class) { ClassEdit::default() } else { first };
        let mut groups: BTreeMap<ClassEdit, String> = BTreeMap::new();
        let found = program.find_class(class);
        if !kept.is_empty() {
            let Some(place) = found else { return Err(no_class(class)) };
            if let Some(definition) = program.class(place) {
                kept.splice(definition, program.text(place.file), splices.entry(place.file).or_default());
            }
        }
        for member in members {
            let edit = edit_of(member);
            if edit == kept {
                continue;
            }
            let Some(place) = found else { return Err(no_class(class)) };
            let known = groups.get(&edit).cloned();
            let name = known.clone().unwrap_or_else(|| names.fresh(class));
            if known.is_none() {
                out.records.insert(record_of(&name), copy(program, place, &edit, &name)?);
                groups.insert(edit, name.clone());
            }
            out.classes.insert(*member, name);
        }
    }
    for (file, splice) in splices {
        let Some(found) = program.files().get(file) else { continue };
        let text = splice.apply(&found.text).ok_or_else(|| clash(&found.record))?;
        out.records.insert(found.record.clone(), text);
    }
    Ok(out)
}

/// Class names, those of children before those of their holders.
fn children_first<'h>(heap: &'h Heap, by_class: &BTreeMap<&'h str, Vec<ObjectId>>) -> Vec<&'h str> {
    let mut order = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut open: BTreeSet<&str> = BTreeSet::new();
    let children = |class: &str| -> Vec<&'h str> {
        let members = by_class.get(class).into_iter().flatten().filter_map(|id| heap.object(*id));
        let items = members.flat_map(|object| object.attributes.iter().map(|(_, item)| item));
        let classes = items.filter_map(|item| match item {
            Item::Object(child) => heap.object(*child).map(|child| child.class.as_str()),
            _ => None,
        });
        classes.collect::<BTreeSet<_>>().into_iter().collect()
    };
    for start in by_class.keys() {
        // Each entry: a class, and its children that were not looked at yet.
        let mut stack: Vec<(&str, Vec<&str>)> = Vec::new();
        if !done.contains(start) && open.insert(start) {
            stack.push((start, children(start)));
        }
        while let Some((class, rest)) = stack.last_mut() {
            if let Some(child) = rest.pop() {
                if !done.contains(child) && open.insert(child) {
                    stack.push((child, children(child)));
                }
            } else {
                done.insert(class);
                order.push(*class);
                stack.pop();
            }
        }
    }
    order
}

fn members(heap: &Heap) -> BTreeMap<&str, Vec<ObjectId>> {
    let mut members: BTreeMap<&str, Vec<ObjectId>> = BTreeMap::new();
    for (id, object) in heap.objects.iter().enumerate() {
        members.entry(&object.class).or_default().push(ObjectId(id));
    }
    members
}

/// Declare the new classes of what `object` holds.
fn retype(
    program: &Program,
    heap: &Heap,
    object: ObjectId,
    classes: &BTreeMap<ObjectId, String>,
    edits: &mut BTreeMap<ObjectId, ClassEdit>,
) {
    let Some(found) = heap.object(object) else { return };
    let definition = program.find_class(&found.class).and_then(|place| Some((place, program.class(place)?)));
    let Some((place, definition)) = definition else { return };
    for (name, item) in &found.attributes {
        let Item::Object(child) = item else { continue };
        let Some(class) = classes.get(child) else { continue };
        let declared = definition.attribute(name).map(|attribute| attribute.ty.clone());
        // An attribute that is declared as an interface takes any class that has its methods.
        let old = heap.object(*child).map(|child| child.class.as_str());
        if declared.and_then(|ty| program.text(place.file).get(ty)) == old {
            edits.entry(object).or_default().retyped.push((name.clone(), class.clone()));
        }
    }
}

/// A copy of the class at `place`, called `name`, with its changes.
fn copy(program: &Program, place: ClassRef, edit: &ClassEdit, name: &str) -> Result<String, Error> {
    let record = program.files().get(place.file).map_or("", |file| &file.record);
    let text = program.text(place.file);
    let class = program.class(place).ok_or_else(|| no_class(name))?;
    let mut splice = Splice::new();
    edit.splice(class, text, &mut splice);
    for method in &class.methods {
        if let Some(ty) = method.parameters.first().and_then(|parameter| parameter.ty.clone()) {
            splice.replace(ty, name);
        }
    }
    let copied = splice.apply_to(text, &class.span).ok_or_else(|| clash(record))?;
    Ok(copied + "\n")
}

/// `__torch__.a.B` lies in `code/__torch__/a.py`.
fn record_of(class: &str) -> String {
    let module = class.rsplit_once('.').map_or(class, |(module, _)| module);
    format!("code/{}.py", module.replace('.', "/"))
}

/// Names for copies, as torch makes them: `…___torch_mangle_N.Name`.
struct Names {
    next: u64,
}

impl Names {
    fn new(program: &Program) -> Self {
        let numbers = program
            .files()
            .iter()
            .flat_map(|file| file.module.split('.'))
            .filter_map(|part| part.strip_prefix("___torch_mangle_").and_then(|digits| digits.parse::<u64>().ok()));
        Self { next: numbers.max().map_or(0, |last| last.saturating_add(1)) }
    }

    fn fresh(&mut self, class: &str) -> String {
        let unmangled = crate::torchscript::heap::unmangle(class);
        let (module, name) = unmangled.rsplit_once('.').unwrap_or(("__torch__", &unmangled));
        let number = self.next;
        self.next = self.next.saturating_add(1);
        format!("{module}.___torch_mangle_{number}.{name}")
    }
}

fn no_class(class: &str) -> Error {
    Error::Code { message: format!("class `{class}` is not in the archive's code"), at: At::record(record_of(class)) }
}

fn clash(record: &str) -> Error {
    Error::Code { message: "two changes meet in one place of the text".to_owned(), at: At::record(record) }
}
