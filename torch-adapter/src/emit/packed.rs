//! `packed`: codes in the place of values, decoded where the code reads them.
//!
//! Codes are a plain int8 tensor with the parameter's name, shape and memory order; scale and zero point lie beside it. Every
//! expression that reads the parameter becomes `(float(code) − zero_point) · scale`, in stock ops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quant_math::weights::Dequant;

use super::class_edit::Listed;
use super::compressed::Fate;
use super::editor::{Editor, attribute};
use super::fake_quant::number;
use super::output::{Output, Pending};
use super::packed_lists::{self, Lists};
use super::stem::identifier;
use super::value::{Content, NewTensor, NewValue, scalar_code};
use super::weights::Observed;
use crate::code::{ExprKind, text_of};
use crate::model::{Folder, Model, StoreKey};
use crate::pickle::{Slot, StorageType};
use crate::sites::heap::{Item, ObjectId, TensorId};
use crate::sites::{Origin, Read};

/// What a tensor's values are made of, besides its codes.
#[derive(Clone)]
pub(super) struct Decoder {
    dequant: Dequant,
    /// `torch.to`'s number of the parameter's element type, where it is not float32.
    cast: Option<u8>,
    scale: Option<NewTensor>,
    zero_point: Option<NewTensor>,
}

/// Replace every observed weight by its codes.
pub(super) fn pack<'o>(
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
            let beside = [&decoder.scale, &decoder.zero_point].into_iter().flatten().map(NewTensor::len);
            fate.bytes_after = weight.stored.dense.len() + beside.sum::<u64>();
        }
        if done.insert(weight.key) {
            replace(editor, output, &mut lists, weight, &decoder);
            gone.extend(editor.model.place(weight.site.tensor).map(|place| (place.folder, place.position)));
        }
    }
    lists.write(editor);
    drop_storages(editor.model, output, &gone);
}

/// Storages of which every tensor became codes are not needed any more.
fn drop_storages(model: &Model, output: &mut Output, gone: &BTreeSet<(Folder, usize)>) {
    for folder in [Folder::Data, Folder::Constants] {
        for storage in model.tensors(folder).storages() {
            if !storage.tensors.is_empty() && storage.tensors.iter().all(|tensor| gone.contains(&(folder, *tensor))) {
                output.removed.insert(storage.record.clone());
            }
        }
    }
}

impl Decoder {
    fn new(model: &Model, weight: &Observed) -> Option<Self> {
        let dequant = weight.map.dequant()?;
        let code = scalar_code(weight.stored.dtype);
        let cast = (code != scalar_code(quant_math::DType::F32)).then_some(code);
        let (scale, zero_point) = match &dequant {
            Dequant::Affine { scale, zero_point, .. } => {
                let shape = beside(model, weight);
                let shifted = zero_point.iter().any(|z| *z != 0);
                #[expect(clippy::cast_precision_loss, reason = "a zero point of 8-bit codes")]
                let zeros: Vec<f32> = zero_point.iter().map(|z| *z as f32).collect();
                let zero_point = shifted.then(|| NewTensor::f32s(shape.clone(), &zeros));
                (Some(NewTensor::f32s(shape, scale)), zero_point)
            }
            Dequant::DoReFa { .. } | Dequant::Sign { .. } => (None, None),
        };
        Some(Self { dequant, cast, scale, zero_point })
    }

    /// The expression for the values of the codes `codes`.
    pub(super) fn text(&self, codes: &str, scale: &str, zero_point: &str) -> String {
        let real = format!("torch.to({codes}, 6)");
        let value = match &self.dequant {
            Dequant::Affine { .. } if self.zero_point.is_some() => {
                format!("torch.mul(torch.sub({real}, {zero_point}), {scale})")
            }
            Dequant::Affine { .. } => format!("torch.mul({real}, {scale})"),
            Dequant::DoReFa { levels, offset } => {
                let shifted = if *offset == 0 { real } else { format!("torch.add({real}, {offset})") };
                format!("torch.sub(torch.mul(torch.true_divide({shifted}, {}), 2), 1)", number(*levels))
            }
            Dequant::Sign { mean_abs } => format!("torch.mul({real}, {})", number(*mean_abs)),
        };
        match self.cast {
            Some(code) => format!("torch.to({value}, {code})"),
            None => value,
        }
    }
}

/// The shape that lets one number per channel meet the codes: 1 everywhere but along the channels.
fn beside(model: &Model, weight: &Observed) -> Vec<u64> {
    let Some(axis) = weight.site.settings.channel_axis else { return Vec::new() };
    let shape = model.heap().tensor(weight.site.tensor).map_or(&[][..], |facts| &facts.shape);
    shape.iter().enumerate().map(|(dim, size)| if dim == axis { *size } else { 1 }).collect()
}

fn replace(editor: &mut Editor<'_>, output: &mut Output, lists: &mut Lists, weight: &Observed, decoder: &Decoder) {
    let model = editor.model;
    let tensor = weight.site.tensor;
    let Some((place, found, _)) = model.tensor(tensor) else { return };
    let key = output.records(place.folder).reserve();
    let codes = Pending { stored: weight.stored.clone(), map: Arc::clone(&weight.map) };
    output.codes.insert(format!("{}/{key}", place.folder.name()), codes);
    let mut slots = slots(model, tensor, place.folder);
    slots.sort_by_key(|slot| slot.span().start);
    let memo = (slots.len() > 1).then(|| output.new_memo(place.folder));
    let packed = NewTensor {
        kind: StorageType::Char,
        shape: found.sizes.clone(),
        strides: Some(found.strides.clone()),
        content: Content::Record(key),
        memo,
        requires_grad: false,
    };
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
        let items = model.constants().and_then(|pickle| pickle.items(pickle.root())).unwrap_or_default();
        let same = model.heap().constants.iter().zip(items).filter(|(item, _)| **item == Item::Tensor(tensor));
        return same.map(|(_, slot)| *slot).collect();
    }
    let slot = |(object, name): (ObjectId, &str)| {
        let found = model.slot(object).and_then(|slot| model.data().object(slot));
        found.and_then(|found| found.get(name))
    };
    model.uses().owners(model, tensor).into_iter().filter_map(slot).chain(packed_lists::slots(model, tensor)).collect()
}

/// Add scale and zero point to an object; the names that they got, empty where there is none.
pub(super) fn declare(editor: &mut Editor<'_>, owner: ObjectId, stem: &str, decoder: &Decoder) -> (String, String) {
    let mut add = |suffix: &str, tensor: &Option<NewTensor>| {
        let Some(tensor) = tensor else { return String::new() };
        let unique = editor.unique(owner, &format!("{}_{suffix}", identifier(stem)));
        editor.add(owner, &unique, "Tensor".to_owned(), Listed::Buffer, NewValue::Tensor(tensor.clone()));
        unique
    };
    (add("scale", &decoder.scale), add("zero_point", &decoder.zero_point))
}

fn attributes(editor: &mut Editor<'_>, lists: &mut Lists, tensor: TensorId, decoder: &Decoder) {
    let model = editor.model;
    // The names that scale and zero point got, by owner and attribute.
    let mut names: BTreeMap<(ObjectId, &str), (String, String)> = BTreeMap::new();
    for (owner, name) in model.uses().owners(model, tensor) {
        names.insert((owner, name), declare(editor, owner, name, decoder));
        editor.edits.entry(owner).or_default().unlisted.push(name.to_owned());
    }
    lists.add(editor, tensor, decoder, &names);
    let uses = model.uses();
    let known = names.keys().flat_map(|(owner, name)| uses.reads(*owner, name)).cloned();
    let own = names.keys().flat_map(|(owner, name)| uses.own_reads(model, *owner, name));
    let reads: BTreeSet<Read> = known.chain(own).collect();
    for read in &reads {
        let Origin::Attribute(owner, name) = &read.origin else { continue };
        let (Some((scale, zero_point)), Some(holder)) = (names.get(&(*owner, name.as_ref())), read.holder) else {
            continue;
        };
        let Some((span, base)) = base(model, read) else { continue };
        let codes = attribute(base, name);
        let text = decoder.text(&codes, &attribute(base, scale), &attribute(base, zero_point));
        editor.edits.entry(holder).or_default().replace(span.start, span.end, text);
    }
}

/// The place of a read, and the text of what it reads from.
pub(super) fn base<'m>(model: &'m Model, read: &Read) -> Option<(crate::code::Span, &'m str)> {
    let program = model.program();
    let function = program.function(read.function)?;
    let expr = function.expr(read.expr)?;
    let base = match &expr.kind {
        ExprKind::Attribute { base, .. } => *base,
        // `getattr(base, "name")`.
        ExprKind::Call { arguments, .. } => arguments.first()?.value,
        _ => return None,
    };
    Some((expr.span.clone(), text_of(program.text(read.function.file), &function.expr(base)?.span)))
}

fn constants(editor: &mut Editor<'_>, output: &mut Output, tensor: TensorId, decoder: &Decoder) {
    let model = editor.model;
    let known = model.heap().constants.len();
    let mut add = |tensor: &Option<NewTensor>| {
        let Some(tensor) = tensor else { return String::new() };
        output.constants.push(NewValue::Tensor(tensor.clone()));
        format!("CONSTANTS.c{}", known + output.constants.len() - 1)
    };
    let (scale, zero_point) = (add(&decoder.scale), add(&decoder.zero_point));
    for read in &model.sites().reads {
        let (Origin::Constant(number), Some(holder)) = (&read.origin, read.holder) else { continue };
        if model.heap().constants.get(*number) != Some(&Item::Tensor(tensor)) {
            continue;
        }
        let function = model.program().function(read.function);
        let Some(expr) = function.and_then(|function| function.expr(read.expr)) else { continue };
        let text = decoder.text(&format!("CONSTANTS.c{number}"), &scale, &zero_point);
        editor.edits.entry(holder).or_default().replace(expr.span.start, expr.span.end, text);
    }
}
