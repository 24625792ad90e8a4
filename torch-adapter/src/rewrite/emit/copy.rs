//! A quantized copy of a weight for one of its readers, where others go on reading the weight itself.

use std::collections::BTreeMap;

use quant_math::Emit;
use quant_math::plan::Reason;
use quant_math::weights::Form;

use super::decoder::Decoder;
use crate::codes;
use crate::find::injected::Function;
use crate::find::model::Model;
use crate::rewrite::edit::editor::Wrap;
use crate::rewrite::edit::library::Used;
use crate::rewrite::edit::output::Output;
use crate::rewrite::edit::stream::Pending;
use crate::rewrite::edit::value::{Content, NewTensor};
use crate::rewrite::weights::Observed;
use crate::torchscript::folder::Folder;

const VALUES: &str = "quantized";
const CODES: &str = "codes";

/// What a user should know of a copy.
pub(crate) fn warning(weight: &str, op: &str) -> Reason {
    let text = format!(
        "`{weight}` is read in float elsewhere: `{op}` gets a quantized copy of its own, and the float weight stays"
    );
    Reason::new(codes::WEIGHT_COPIED, text)
}

/// The records of copies that are made already, by the numbers of their weights: readers with the same settings share one.
#[derive(Debug, Default)]
pub(crate) struct Copies(BTreeMap<usize, String>);

impl Copies {
    /// What is put around the expressions by which the reader gets the weight: values (`baked`) or codes (`packed`) take its place. The
    /// library's functions in it are `used` then.
    pub(crate) fn wrap(
        &mut self,
        model: &Model,
        output: &mut Output,
        used: &mut Used,
        weight: &Observed,
        emit: Emit,
    ) -> Option<Wrap> {
        let (_, found, _) = model.contents().tensor(weight.site.tensor)?;
        let decoder = if emit == Emit::Packed { Some(Decoder::new(model, weight)?) } else { None };
        let form = decoder.as_ref().map_or(Form::Values(weight.stored.dtype), Decoder::form);
        let key = self.0.entry(weight.number).or_insert_with(|| {
            let key = output.records(Folder::Data).reserve();
            output.made.insert(format!("{}/{key}", Folder::Data.name()), Pending::new(weight, form));
            key
        });
        let (key, device) = (key.clone(), model.contents().device(weight.site.tensor));
        let quoted = |name: &str| format!("{{{name}}}");
        let (values, tensors) = match decoder {
            None => {
                let copy = NewTensor {
                    kind: found.kind,
                    shape: found.sizes.clone(),
                    strides: Some(found.strides.clone()),
                    content: Content::Record(key),
                    memo: None,
                    requires_grad: found.requires_grad,
                    device: device.to_owned(),
                };
                (quoted(VALUES), vec![(VALUES, copy)])
            }
            Some(decoder) => {
                used.functions.extend(decoder.function());
                let values = decoder.text(&quoted(CODES), quoted);
                (values, std::iter::once((CODES, decoder.codes(key, device))).chain(decoder.beside).collect())
            }
        };
        used.functions.insert(Function::Copy);
        let before = format!("{}(", Function::Copy.qualified());
        Some(Wrap::Call { before, after: format!(", {values}, )"), tensors })
    }
}
