//! A quantized copy of a weight for one of its readers, where others go on reading the weight itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use quant_math::Emit;
use quant_math::plan::Reason;
use quant_math::weights::WeightMap;

use super::editor::Wrap;
use super::library::Function;
use super::output::{Output, Pending};
use super::packed::Decoder;
use super::stream::Form;
use super::value::{Content, NewTensor};
use super::weights::Observed;
use crate::model::{Folder, Model, StoreKey};
use crate::pickle::StorageType;

const VALUES: &str = "quantized";
const CODES: &str = "codes";

/// What a user should know of a copy.
pub(super) fn warning(weight: &str, op: &str) -> Reason {
    let text = format!(
        "`{weight}` is read in float elsewhere: `{op}` gets a quantized copy of its own, and the float weight stays"
    );
    Reason::new("weight-copied", text)
}

/// Copies that are made already: readers with the same settings share the record.
#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<(StoreKey, *const WeightMap), String>);

impl Copies {
    /// What is put around the expressions by which the reader gets the weight: values (`baked`) or codes (`packed`) take its place.
    pub(super) fn wrap(&mut self, model: &Model, output: &mut Output, weight: &Observed, emit: Emit) -> Option<Wrap> {
        let (_, found, _) = model.tensor(weight.site.tensor)?;
        let decoder = if emit == Emit::Packed { Some(Decoder::new(model, weight)?) } else { None };
        let (form, kind) = match &decoder {
            Some(_) => (Form::Codes, StorageType::Char),
            None => (Form::Values, found.kind),
        };
        let key = self.0.entry((weight.key, Arc::as_ptr(&weight.map))).or_insert_with(|| {
            let key = output.records(Folder::Data).reserve();
            let pending = Pending { stored: weight.stored.clone(), map: Arc::clone(&weight.map) };
            output.made.insert(format!("{}/{key}", Folder::Data.name()), (pending, form));
            key
        });
        let copy = NewTensor {
            kind,
            shape: found.sizes.clone(),
            strides: Some(found.strides.clone()),
            content: Content::Record(key.clone()),
            memo: None,
            requires_grad: found.requires_grad && decoder.is_none(),
            device: model.device(weight.site.tensor).to_owned(),
        };
        let quoted = |name: &str| format!("{{{name}}}");
        let (values, tensors) = match decoder {
            None => (quoted(VALUES), vec![(VALUES, copy)]),
            Some(decoder) => {
                let values = decoder.text(&quoted(CODES), quoted);
                (values, std::iter::once((CODES, copy)).chain(decoder.beside).collect())
            }
        };
        let before = format!("{}(", Function::Copy.qualified());
        Some(Wrap::Call { before, after: format!(", {values}, )"), tensors })
    }
}
