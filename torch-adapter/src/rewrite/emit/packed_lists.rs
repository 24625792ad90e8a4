//! Packed weights that stand in a list, tuple or dictionary: where the code reads that, it gets one with decoded elements.

use std::collections::{BTreeMap, BTreeSet};

use super::decoder::{Beside, Decoder, declare};
use crate::find::lists::{Form, form};
use crate::find::model::Model;
use crate::find::sites::Read;
use crate::rewrite::edit::editor::{Editor, attribute, base};
use crate::torchscript::heap::{Item, ObjectId, TensorId};
use crate::torchscript::pickle::{Slot, Value};

/// An element that became codes.
struct Coded {
    decoder: Decoder,
    beside: Beside,
}

/// The lists of which some elements became codes.
#[derive(Default)]
pub(crate) struct Lists {
    found: BTreeMap<(ObjectId, String), BTreeMap<usize, Coded>>,
}

impl Lists {
    /// Decode `tensor` in every list that holds it; `names` are the tensors beside the codes, by attributes that are the tensor too.
    pub(crate) fn add(
        &mut self,
        editor: &mut Editor<'_>,
        tensor: TensorId,
        decoder: &Decoder,
        names: &BTreeMap<(ObjectId, &str), (Beside, bool)>,
    ) {
        let model = editor.model;
        for (owner, list, positions) in model.uses().lists(model.heap(), tensor) {
            let first = names.range((owner, "")..).next().filter(|((other, _), _)| *other == owner);
            let known = first.map(|(_, (beside, _))| beside.clone());
            let beside = known.unwrap_or_else(|| {
                let first = positions.first().copied().unwrap_or(0);
                declare(editor, owner, &format!("{list}_{first}"), tensor, decoder)
            });
            let elements = self.found.entry((owner, list.to_owned())).or_default();
            for position in positions {
                let coded = Coded { decoder: decoder.clone(), beside: beside.clone() };
                elements.insert(position, coded);
            }
        }
    }

    /// Change the text wherever the lists are read.
    pub(crate) fn write(self, editor: &mut Editor<'_>) {
        let model = editor.model;
        for ((owner, list), coded) in self.found {
            let Some(object) = model.heap().object(owner) else { continue };
            let Some((item, form)) = object.attribute(&list).zip(form(model, owner, &list)) else { continue };
            let uses = model.uses();
            let mut reads: BTreeSet<Read> = uses.reads(owner, &list).iter().cloned().collect();
            reads.extend(uses.own_reads(model.heap(), model.program(), owner, &list));
            for read in reads {
                let (Some((span, base)), Some(holder)) = (base(model, &read), read.holder) else { continue };
                let text = written(item, form, &attribute(base, &list), base, &coded);
                editor.edits.entry(holder).or_default().replace(span.start, span.end, text);
            }
        }
    }
}

/// The value written out: elements that are codes decoded, the others as they are.
fn written(item: &Item, form: Form, list: &str, base: &str, coded: &BTreeMap<usize, Coded>) -> String {
    let element = |position: usize, index: &str| {
        let plain = format!("({list})[{index}]");
        coded.get(&position).map_or(plain.clone(), |coded| {
            let beside = |suffix: &str| attribute(base, coded.beside.get(suffix).map_or("", String::as_str));
            coded.decoder.text(&plain, beside)
        })
    };
    match (item, form) {
        (Item::Dict(pairs), _) => {
            let pairs = pairs.iter().enumerate().map(|(position, (key, _))| {
                let key = format!("\"{key}\"");
                format!("{key}: {}", element(position, &key))
            });
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        (item, form) => {
            let elements = (0..item.each().len()).map(|position| element(position, &position.to_string()));
            let elements = elements.collect::<Vec<_>>().join(", ");
            if form == Form::Tuple { format!("({elements}, )") } else { format!("[{elements}]") }
        }
    }
}

/// Where the pickle holds `tensor` in lists.
pub(crate) fn slots(model: &Model, tensor: TensorId) -> Vec<Slot> {
    let mut found = Vec::new();
    for (owner, name, positions) in model.uses().lists(model.heap(), tensor) {
        let object = model.contents().slot(owner).and_then(|slot| model.contents().data().object(slot));
        let Some(slot) = object.and_then(|object| object.get(name)) else { continue };
        let items: Vec<Slot> = match model.contents().data().value(slot) {
            Value::List(items) | Value::Tuple(items) => items.to_vec(),
            Value::Dict(pairs) => pairs.iter().skip(1).step_by(2).copied().collect(),
            _ => Vec::new(),
        };
        found.extend(positions.into_iter().filter_map(|position| items.get(position).copied()));
    }
    found
}
