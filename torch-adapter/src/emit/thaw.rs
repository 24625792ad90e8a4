//! `training` of a frozen model: its constants become parameters.
//!
//! `torch.jit.freeze` turns parameters into `CONSTANTS.cN`. What calls take as weights and biases moves from `constants.pkl` to the root
//! object, is listed in `__parameters__`, and the code reads `self.cN`. Other constants keep their numbers.

use quant_math::plan::Reason;

use super::class_edit::Listed;
use super::editor::{Editor, attribute};
use super::output::Output;
use super::value::{Content, NewTensor, NewValue};
use crate::error::{At, Error};
use crate::model::{Folder, Model};
use crate::sites::heap::{Item, ObjectId, TensorId};
use crate::sites::{Origin, Read};

/// A constant that can move.
struct Movable<'m> {
    tensor: TensorId,
    /// `N` of `CONSTANTS.cN`; one tensor can have several.
    numbers: Vec<usize>,
    /// Every place that reads it.
    reads: Vec<&'m Read>,
}

/// Turn the constants of a frozen model into parameters; what stays constant although a call trains it.
pub(super) fn thaw(editor: &mut Editor<'_>, output: &mut Output) -> Result<Vec<Reason>, Error> {
    let model = editor.model;
    let Some(root) = model.heap().root.filter(|_| model.is_frozen()) else { return Ok(Vec::new()) };
    let mut kept = Vec::new();
    for tensor in &model.sites().parameters {
        if model.place(*tensor).is_none_or(|place| place.folder != Folder::Constants) {
            continue;
        }
        match movable(model, root, *tensor) {
            Ok(movable) => move_one(editor, output, root, &movable)?,
            Err(why) => {
                let numbers: Vec<String> =
                    numbers(model, *tensor).iter().map(|n| format!("`CONSTANTS.c{n}`")).collect();
                let text = format!("{} is not trained: {why}", numbers.join(", "));
                kept.push(Reason::new("constant-kept", text));
            }
        }
    }
    Ok(kept)
}

fn numbers(model: &Model, tensor: TensorId) -> Vec<usize> {
    let constants = model.heap().constants.iter().enumerate();
    constants.filter(|(_, item)| **item == Item::Tensor(tensor)).map(|(number, _)| number).collect()
}

fn movable(model: &Model, root: ObjectId, tensor: TensorId) -> Result<Movable<'_>, String> {
    let stored = model.stored(tensor).map_err(|reason| reason.text)?;
    let alone = model
        .tensor(tensor)
        .is_some_and(|(_, _, storage)| storage.tensors.len() == 1 && stored.dense.span == (0..storage.numel));
    if !alone {
        return Err("it is a view of memory that other constants use too".to_owned());
    }
    let numbers = numbers(model, tensor);
    let own = |read: &&Read| matches!(&read.origin, Origin::Constant(number) if numbers.contains(number));
    let reads: Vec<&Read> = model.sites().reads.iter().filter(own).collect();
    if numbers.is_empty() || reads.iter().any(|read| read.holder != Some(root)) {
        return Err("it is read outside of the root's methods".to_owned());
    }
    Ok(Movable { tensor, numbers, reads })
}

fn move_one(editor: &mut Editor<'_>, output: &mut Output, root: ObjectId, movable: &Movable<'_>) -> Result<(), Error> {
    let model = editor.model;
    let Movable { tensor, numbers, reads } = movable;
    let (Ok(stored), Some((_, found, storage)), Some(first)) =
        (model.stored(*tensor), model.tensor(*tensor), numbers.first())
    else {
        return Ok(());
    };
    let key = output.records(Folder::Data).reserve();
    output.moved.insert(format!("{}/{key}", Folder::Data.name()), (stored.record, stored.span));
    output.removed.insert(storage.record.clone());
    let items = model.constants().and_then(|pickle| pickle.items(pickle.root())).unwrap_or_default();
    for slot in numbers.iter().filter_map(|number| items.get(*number)) {
        output.slots.push((Folder::Constants, *slot, NewValue::None));
    }
    let parameter = NewTensor {
        kind: found.kind,
        shape: found.sizes.clone(),
        strides: Some(found.strides.clone()),
        content: Content::Record(key),
        memo: None,
        requires_grad: true,
    };
    let name = editor.unique(root, &format!("c{first}"));
    editor.add(root, &name, "Tensor".to_owned(), Listed::Parameter, NewValue::Tensor(parameter));
    for read in reads {
        let gone = || Error::Code { message: "a constant is gone".to_owned(), at: At::default() };
        let function = model.program().function(read.function).ok_or_else(gone)?;
        let expr = function.expr(read.expr).ok_or_else(gone)?;
        let own = function.parameters.first().map_or("self", |parameter| parameter.name.as_str());
        let (start, end) = (expr.span.start, expr.span.end);
        editor.edits.entry(root).or_default().replace(start, end, attribute(own, &name));
    }
    Ok(())
}
