//! What is in a model.

use std::collections::BTreeSet;

use quant_math::inspection::{Inspection, Port, QuantizedInfo, WeightInfo, op_types, range_of};
use quant_math::plan::Settings;
use quant_math::{DType, QuantType, Range};

use super::values::values;
use crate::error::Error;
use crate::find::mark::Mark;
use crate::find::model::Model;
use crate::rewrite::freeze::trained::Trained;
use crate::torchscript::code::{Function, text_of};

impl Model {
    /// Inputs, outputs, ops and weights with their ranges, and quantizers that are there already.
    ///
    /// # Errors
    ///
    /// Damaged records.
    pub fn inspect(&self) -> Result<Inspection, Error> {
        self.in_file(self.look())
    }

    fn look(&self) -> Result<Inspection, Error> {
        let (inputs, outputs) = self.ports();
        let weights = self.weight_infos()?;
        let mut seen = BTreeSet::new();
        let weight_bytes = weights.iter().filter(|weight| seen.insert(&weight.tensor)).map(|weight| weight.bytes).sum();
        let all_trained = Trained::all(self)?;
        Ok(Inspection {
            format: self.format().to_owned(),
            bytes: self.archive().len() as u64,
            fingerprint: self.fingerprint(),
            inputs,
            outputs,
            op_types: op_types(self.sites().ops.iter().map(|op| &op.op_type)),
            ranges: all_trained.iter().map(quantized).collect(),
            quantized: self.mark().map(Mark::sites).unwrap_or_default(),
            weight_bytes,
            weights,
        })
    }

    fn format(&self) -> &'static str {
        match (self.contents().is_frozen(), self.contents().is_mobile()) {
            (false, false) => "TorchScript archive",
            (true, false) => "TorchScript archive (frozen)",
            (false, true) => "TorchScript archive (mobile)",
            (true, true) => "TorchScript archive (frozen, mobile)",
        }
    }

    fn ports(&self) -> (Vec<Port>, Vec<Port>) {
        let program = self.program();
        let class = self.heap().root.and_then(|root| program.find_class(&self.heap().object(root)?.class));
        let Some((place, class)) = class.and_then(|place| Some((place, program.class(place)?))) else {
            return (Vec::new(), Vec::new());
        };
        let text = program.text(place.file);
        let Some(forward) = class.methods.iter().find(|method| method.name.starts_with("forward")) else {
            return (Vec::new(), Vec::new());
        };
        let port = |name: &str, ty: Option<&crate::torchscript::code::Span>| Port {
            name: name.to_owned(),
            dtype: ty.map(|ty| text_of(text, ty).to_owned()),
            shape: None,
        };
        let inputs = forward.parameters.iter().skip(1).map(|parameter| port(&parameter.name, parameter.ty.as_ref()));
        let Function { name, returns, .. } = forward;
        (inputs.collect(), vec![port(name, returns.as_ref())])
    }

    fn weight_infos(&self) -> Result<Vec<WeightInfo>, Error> {
        let mut infos = Vec::new();
        for op in &self.sites().ops {
            for weight in &op.weights {
                let Some(facts) = weight.tensor.and_then(|tensor| self.heap().tensor(tensor)) else { continue };
                let Some(tensor) = weight.tensor else { continue };
                let coded = self.sites().decodings.contains_key(&tensor);
                let Some(dtype) = facts.dtype.or_else(|| coded.then_some(DType::F32)) else { continue };
                let elements = facts.shape.iter().fold(1, |n: u64, size| n.saturating_mul(*size));
                let bytes = match &facts.separated {
                    Some(separated) => elements.div_ceil(separated.storage.per_byte() as u64),
                    None if coded => elements,
                    None => elements.saturating_mul(dtype.size() as u64),
                };
                let range = match self.contents().stored(tensor) {
                    _ if coded => range_of(values(self, tensor)?.as_slice()),
                    Ok(stored) => range_of(&stored.data(&stored.bytes(self.archive())?)),
                    Err(_) => None,
                };
                infos.push(WeightInfo {
                    op: op.name.clone(),
                    op_type: op.op_type.clone(),
                    tensor: weight.name.clone(),
                    dtype,
                    shape: facts.shape.clone(),
                    bytes,
                    range,
                    is_default: op.is_default,
                    quantized: self.marked(&op.name, QuantType::Weight, &weight.name).map(Settings::in_words),
                });
            }
        }
        Ok(infos)
    }
}

fn quantized(trained: &Trained) -> QuantizedInfo {
    let range = trained.range().filter(|range: &Range| range.min <= range.max);
    QuantizedInfo {
        op: trained.path.clone(),
        op_type: trained.class_name().to_owned(),
        bits: trained.bits(),
        range,
        how: None,
    }
}
