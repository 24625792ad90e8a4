//! `packed`: codes in the place of values, decoded where the code reads them.
//!
//! Codes are a plain int8 tensor with the parameter's name, shape and memory order, or a uint8 vector where two or four share a byte; scale and
//! zero point lie beside it. Every expression that reads the parameter becomes `(real(code) − zero_point) · scale`, in stock ops and in the
//! scale's type; a function of the library separates codes that share bytes before.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::fate::Fate;

use super::decoder::{Beside, Decoder, declare};
use super::packed_lists::{self, Lists};
use crate::find::model::Model;
use crate::find::sites::{Origin, Read};
use crate::rewrite::edit::editor::{Editor, attribute, base};
use crate::rewrite::edit::output::Output;
use crate::rewrite::edit::stream::Pending;
use crate::rewrite::edit::value::{NewTensor, NewValue};
use crate::rewrite::weights::Observed;
use crate::torchscript::code::text_of;
use crate::torchscript::contents::StoreKey;
use crate::torchscript::folder::Folder;
use crate::torchscript::heap::{ObjectId, TensorId};
use crate::torchscript::pickle::Slot;

/// Replace every observed weight by its codes.
pub(crate) fn pack<'o>(
    editor: &mut Editor<'_>,
    output: &mut Output,
    observed: impl Iterator<Item = &'o Observed>,
    fates: &mut [Fate],
) {
    let mut done: BTreeSet<StoreKey> = BTreeSet::new();
    let mut gone: BTreeSet<(Folder, usize)> = BTreeSet::new();
    let mut lists = Lists::default();
    for weight in observed {
        let Some(decoder) = Decoder::new(editor.model, weight) else { continue };
        if let Some(fate) = fates.get_mut(weight.site.site) {
            fate.bytes_after = decoder.codes_len() + decoder.len();
        }
        if done.insert(weight.key) {
            editor.used.functions.extend(decoder.function());
            replace(editor, output, &mut lists, weight, &decoder);
            gone.extend(editor.model.contents().place(weight.site.tensor).map(|place| (place.folder, place.position)));
        }
    }
    lists.write(editor);
    drop_storages(editor.model, output, &gone);
}

/// Storages of which every tensor became codes are not needed any more.
fn drop_storages(model: &Model, output: &mut Output, gone: &BTreeSet<(Folder, usize)>) {
    for folder in [Folder::Data, Folder::Constants] {
        for storage in model.contents().tensors(folder).storages() {
            if !storage.tensors.is_empty() && storage.tensors.iter().all(|tensor| gone.contains(&(folder, *tensor))) {
                output.removed.insert(storage.record.clone());
            }
        }
    }
}

fn replace(editor: &mut Editor<'_>, output: &mut Output, lists: &mut Lists, weight: &Observed, decoder: &Decoder) {
    let model = editor.model;
    let tensor = weight.site.tensor;
    let Some((place, ..)) = model.contents().tensor(tensor) else { return };
    let key = output.records(place.folder).reserve();
    output.made.insert(format!("{}/{key}", place.folder.name()), Pending::new(weight, decoder.form()));
    let mut slots = slots(model, tensor, place.folder);
    slots.sort_by_key(|slot| slot.span().start);
    let memo = (slots.len() > 1).then(|| output.new_memo(place.folder));
    let packed = NewTensor { memo, ..decoder.codes(key, model.contents().device(tensor)) };
    let mut packed = Some(NewValue::Tensor(packed));
    for slot in slots {
        if let Some(value) = packed.take().or(memo.map(NewValue::Again)) {
            output.slots.push((place.folder, slot, value));
        }
    }
    match place.folder {
        Folder::Data => attributes(editor, lists, tensor, decoder),
        Folder::Constants => constants(editor, output, tensor, decoder),
    }
}

/// Every place in the pickle that holds the tensor.
fn slots(model: &Model, tensor: TensorId, folder: Folder) -> Vec<Slot> {
    if folder == Folder::Constants {
        let items = model.contents().constants().and_then(|pickle| pickle.items(pickle.root())).unwrap_or_default();
        return model.uses().constants(tensor).iter().filter_map(|number| items.get(*number).copied()).collect();
    }
    let slot = |(object, position): &(ObjectId, usize)| {
        let found = model.contents().slot(*object).and_then(|slot| model.contents().data().object(slot));
        found.and_then(|found| found.value_at(*position))
    };
    let owners = model.uses().owner_positions(tensor).iter();
    owners.filter_map(slot).chain(packed_lists::slots(model, tensor)).collect()
}

fn attributes(editor: &mut Editor<'_>, lists: &mut Lists, tensor: TensorId, decoder: &Decoder) {
    let model = editor.model;
    let program = model.program();
    // What the tensors beside are called, by owner and attribute, and whether the attribute may be `None` for all that is declared.
    let mut names: BTreeMap<(ObjectId, &str), (Beside, bool)> = BTreeMap::new();
    for (owner, name) in model.uses().owners(model.heap(), tensor) {
        let beside = declare(editor, owner, name, tensor, decoder);
        let class = model.heap().object(owner).and_then(|object| program.find_class(&object.class));
        let declared = class.and_then(|place| Some((place, program.class(place)?)));
        let optional = declared.and_then(|(place, class)| class.attribute(name).map(|found| (place, found)));
        let optional = optional
            .is_some_and(|(place, found)| text_of(program.text(place.file), &found.ty).starts_with("Optional["));
        names.insert((owner, name), (beside, optional));
        if editor.is_parameter(owner, name) {
            editor.edits.entry(owner).or_default().unlisted.push(name.to_owned());
        }
    }
    lists.add(editor, tensor, decoder, &names);
    let uses = model.uses();
    let known = names.keys().flat_map(|(owner, name)| uses.reads(*owner, name)).cloned();
    let own = names.keys().flat_map(|(owner, name)| uses.own_reads(model.heap(), model.program(), *owner, name));
    let reads: BTreeSet<Read> = known.chain(own).collect();
    for read in &reads {
        let Origin::Attribute(owner, name) = &read.origin else { continue };
        let (Some((beside, optional)), Some(holder)) = (names.get(&(*owner, name.as_ref())), read.holder) else {
            continue;
        };
        let Some((span, base)) = base(model, read) else { continue };
        let codes = attribute(base, name);
        let own = |suffix: &str| attribute(base, beside.get(suffix).map_or("", String::as_str));
        let text = if *optional {
            // What follows asks whether it is `None`.
            let value = decoder.text(&format!("unchecked_cast(Tensor, {codes})"), own);
            format!("annotate(Optional[Tensor], {value})")
        } else {
            decoder.text(&codes, own)
        };
        editor.edits.entry(holder).or_default().replace(span.start, span.end, text);
    }
}

fn constants(editor: &mut Editor<'_>, output: &mut Output, tensor: TensorId, decoder: &Decoder) {
    let model = editor.model;
    let known = model.heap().constants.len();
    let device = model.contents().device(tensor);
    let mut beside: BTreeMap<&str, String> = BTreeMap::new();
    for (suffix, tensor) in &decoder.beside {
        output.constants.push(NewValue::Tensor(tensor.clone()).on(device));
        beside.insert(suffix, format!("CONSTANTS.c{}", known + output.constants.len() - 1));
    }
    for read in model.uses().constant_reads(tensor) {
        let (Origin::Constant(number), Some(holder)) = (&read.origin, read.holder) else { continue };
        let function = model.program().function(read.function);
        let Some(expr) = function.and_then(|function| function.expr(read.expr)) else { continue };
        let own = |suffix: &str| beside.get(suffix).cloned().unwrap_or_default();
        let text = decoder.text(&format!("CONSTANTS.c{number}"), own);
        editor.edits.entry(holder).or_default().replace(expr.span.start, expr.span.end, text);
    }
}
