//! `training` of a frozen model: its constants become parameters.
//!
//! `torch.jit.freeze` turns parameters into `CONSTANTS.cN`. What calls take as weights and biases moves from `constants.pkl` to the root
//! object, is listed in `__parameters__`, and the code reads `self.cN`. Other constants keep their numbers.

use std::collections::BTreeSet;

use quant_math::plan::Reason;

use super::edit::class_edit::Listed;
use super::edit::editor::{Editor, attribute};
use super::edit::output::Output;
use super::edit::value::{Content, NewTensor, NewValue};
use crate::codes;
use crate::error::{At, Error};
use crate::find::model::Model;
use crate::find::sites::{FunctionRef, Read, Spot};
use crate::torchscript::code::{ExprId, ExprKind, text_of};
use crate::torchscript::contents::Stored;
use crate::torchscript::folder::Folder;
use crate::torchscript::heap::{ObjectId, TensorId};

/// A constant that becomes one parameter or several.
struct Movable<'m> {
    tensor: TensorId,
    /// `N` of `CONSTANTS.cN`; one tensor can have several.
    numbers: Vec<usize>,
    /// The places that read each parameter.
    parameters: Vec<Vec<&'m Read>>,
    /// Whether the constant stays for who else reads it.
    stays: bool,
}

/// Turn the constants of a frozen model into parameters; what stays constant although a call trains it.
pub(crate) fn thaw(editor: &mut Editor<'_>, output: &mut Output) -> Result<Vec<Reason>, Error> {
    let model = editor.model;
    let Some(root) = model.heap().root.filter(|_| model.contents().is_frozen()) else { return Ok(Vec::new()) };
    let statistics = statistics(model);
    let mut kept = Vec::new();
    for (tensor, spots) in &model.sites().parameters {
        if model.contents().place(*tensor).is_none_or(|place| place.folder != Folder::Constants) {
            continue;
        }
        match movable(model, root, *tensor, spots, &statistics)? {
            Ok(movable) => move_one(editor, output, root, &movable)?,
            Err(why) => {
                let numbers: Vec<String> =
                    model.uses().constants(*tensor).iter().map(|n| format!("`CONSTANTS.c{n}`")).collect();
                let text = format!("{} is not trained: {why}", numbers.join(", "));
                kept.push(Reason::new(codes::NOT_TRAINED, text));
            }
        }
    }
    Ok(kept)
}

/// `torch.jit.freeze` makes one constant of all tensors with the same numbers. Running statistics, which training has no gradient for, keep
/// the constant; and where all its numbers are equal, as in biases and scales that were never trained, each call gets a parameter of its own.
fn movable<'m>(
    model: &'m Model,
    root: ObjectId,
    tensor: TensorId,
    spots: &BTreeSet<Spot>,
    statistics: &BTreeSet<(FunctionRef, ExprId)>,
) -> Result<Result<Movable<'m>, String>, Error> {
    let stored = match model.contents().stored(tensor) {
        Ok(stored) => stored,
        Err(reason) => return Ok(Err(reason.text)),
    };
    let numbers = model.uses().constants(tensor).to_vec();
    let reads: Vec<&Read> = model.uses().constant_reads(tensor).into_iter().collect();
    let trained = |read: &Read| spots.contains(&Spot { object: root, function: read.function, expr: read.expr });
    let direct: Vec<&Read> = reads.iter().copied().filter(|read| trained(read)).collect();
    let fresh = direct.len() == spots.len() && is_uniform(model, &stored)?;
    let (moved, rest): (Vec<&Read>, Vec<&Read>) = if fresh {
        reads.iter().copied().partition(|read| trained(read))
    } else {
        reads.iter().copied().partition(|read| !statistics.contains(&(read.function, read.expr)))
    };
    if numbers.is_empty() || moved.iter().any(|read| read.holder != Some(root)) {
        return Ok(Err("it is read outside of the root's methods".to_owned()));
    }
    let parameters = if fresh { moved.into_iter().map(|read| vec![read]).collect() } else { vec![moved] };
    let alone = model
        .contents()
        .tensor(tensor)
        .is_some_and(|(_, _, storage)| storage.tensors.len() == 1 && stored.dense.span == (0..storage.numel));
    Ok(Ok(Movable { tensor, numbers, parameters, stays: !rest.is_empty() || !alone }))
}

/// Whether all elements are the same.
fn is_uniform(model: &Model, stored: &Stored) -> Result<bool, Error> {
    let bytes = stored.bytes(model.archive())?;
    let mut items = bytes.chunks(stored.dtype.size());
    let first = items.next();
    Ok(items.all(|item| Some(item) == first))
}

/// What calls take as a running mean or variance, in the functions that read constants.
fn statistics(model: &Model) -> BTreeSet<(FunctionRef, ExprId)> {
    const STATISTICS: [(&str, [usize; 2]); 3] =
        [("torch.batch_norm", [3, 4]), ("torch.native_batch_norm", [3, 4]), ("torch.instance_norm", [3, 4])];
    let functions: BTreeSet<FunctionRef> = model.sites().reads.iter().map(|read| read.function).collect();
    let mut found = BTreeSet::new();
    for place in functions {
        let Some(function) = model.program().function(place) else { continue };
        let text = model.program().text(place.file);
        for expr in &function.exprs {
            let ExprKind::Call { callee, arguments, .. } = &expr.kind else { continue };
            let called = function.expr(*callee).map_or("", |callee| text_of(text, &callee.span));
            let positions = STATISTICS.iter().find(|(name, _)| *name == called).map(|(_, positions)| positions);
            let taken = positions.into_iter().flatten().filter_map(|position| arguments.get(*position));
            found.extend(taken.map(|argument| (place, argument.value)));
        }
    }
    found
}

fn move_one(editor: &mut Editor<'_>, output: &mut Output, root: ObjectId, movable: &Movable<'_>) -> Result<(), Error> {
    let model = editor.model;
    let Movable { tensor, numbers, parameters, stays } = movable;
    let (Ok(stored), Some((_, found, storage)), Some(first)) =
        (model.contents().stored(*tensor), model.contents().tensor(*tensor), numbers.first())
    else {
        return Ok(());
    };
    if !stays {
        output.removed.insert(storage.record.clone());
        let items = model.contents().constants().and_then(|pickle| pickle.items(pickle.root())).unwrap_or_default();
        for slot in numbers.iter().filter_map(|number| items.get(*number)) {
            output.slots.push((Folder::Constants, *slot, NewValue::None));
        }
    }
    for reads in parameters {
        let key = output.records(Folder::Data).reserve();
        output.moved.insert(format!("{}/{key}", Folder::Data.name()), stored.clone());
        let parameter = NewTensor {
            kind: found.kind,
            shape: found.sizes.clone(),
            strides: Some(found.strides.clone()),
            content: Content::Record(key),
            memo: None,
            requires_grad: true,
            device: model.contents().device(*tensor).to_owned(),
        };
        let name = editor.unique(root, &format!("c{first}"));
        editor.add(root, &name, "Tensor".to_owned(), Listed::Parameter, NewValue::Tensor(parameter));
        for read in reads {
            read_attribute(editor, root, read, &name)?;
        }
    }
    Ok(())
}

/// Make `read` one of the root's attribute `name`.
fn read_attribute(editor: &mut Editor<'_>, root: ObjectId, read: &Read, name: &str) -> Result<(), Error> {
    let gone = || Error::Code { message: "a constant is gone".to_owned(), at: At::default() };
    let function = editor.model.program().function(read.function).ok_or_else(gone)?;
    let expr = function.expr(read.expr).ok_or_else(gone)?;
    let own = function.parameters.first().map_or("self", |parameter| parameter.name.as_str());
    let text = attribute(own, name);
    editor.edits.entry(root).or_default().replace(expr.span.start, expr.span.end, text.clone());
    editor.moved.insert((read.function, read.expr), text);
    Ok(())
}
