//! What is in a graph.

use quant_math::Range;
use quant_math::inspection::{Inspection, Port, QuantizedInfo, WeightInfo, op_types};

use super::fold::fold;
use super::weights::Facts;
use crate::error::Error;
use crate::find::ops;
use crate::find::ops::{is_input, is_quantizer};
use crate::find::sites::{Traced, is_parameter, weight_of};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Target, fields, payload};
use crate::graphdef::tensor::dtype_name;
use crate::graphdef::wire::Value;

impl Graph {
    /// Inputs, outputs, weights with their ranges, and quantization that is there already. Reads all weights once.
    ///
    /// # Errors
    /// Damaged nodes and tensors.
    pub fn inspect(&self) -> Result<Inspection, Error> {
        self.settled(self.look())
    }

    fn look(&self) -> Result<Inspection, Error> {
        let mut found = Inspection {
            format: format!("GraphDef ({})", if self.is_text() { "text" } else { "binary" }),
            bytes: self.file_len(),
            fingerprint: self.fingerprint(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            op_types: op_types(self.all_nodes().map(|id| String::from_utf8_lossy(self.op(id)))),
            weights: Vec::new(),
            ranges: Vec::new(),
            quantized: Vec::new(),
            weight_bytes: 0,
        };
        let mut counted = std::collections::BTreeSet::new();
        for id in self.all_nodes() {
            let op = self.op(id);
            if id.scope == 0 && is_input(op) {
                found.inputs.push(self.port(id)?);
            }
            if self.is_sink(id) {
                found.outputs.push(self.port(id)?);
            }
            // The inner ops of a site of a training graph are told by its last one.
            if self.mark_of(id)?.is_some() || is_quantizer(op) && !self.is_part(id)? {
                found.ranges.push(self.quantized_info(id)?);
            }
            let Some(info) = ops::info(op).filter(|info| !info.weights.is_empty()) else { continue };
            // A look-up of a constant's codes is no embedding.
            if !info.default && is_parameter(self, id, false)? {
                continue;
            }
            let Some((_, traced)) = weight_of(self, id, info)? else { continue };
            let parts = match &traced {
                Traced::Several(parts) => parts.as_slice(),
                one => std::slice::from_ref(one),
            };
            for part in parts {
                let Some(facts) = self.weight_facts(part)? else { continue };
                if !info.default && facts.shape.contains(&0) {
                    continue;
                }
                if counted.insert(facts.source) {
                    found.weight_bytes += facts.bytes;
                }
                found.weights.push(self.weight_info(id, facts, info.default));
            }
        }
        Ok(found)
    }

    pub(super) fn port(&self, id: NodeId) -> Result<Port, Error> {
        let dtype = crate::find::sites::element_type(self, id)?;
        let dtype = dtype.and_then(|n| i32::try_from(n).ok()).map(|n| dtype_name(n).into_owned());
        Ok(Port { name: self.full_name(id), dtype, shape: self.shape_attr(id)? })
    }

    /// Attribute `shape` (TensorShapeProto: dim = 2 { size = 1 }, unknown_rank = 3).
    pub(super) fn shape_attr(&self, id: NodeId) -> Result<Option<Vec<i64>>, Error> {
        let bytes = self.bytes();
        let Some(node) = self.index().node(id) else { return Ok(None) };
        let Some(shape) = node.attr_shape(bytes, "shape")? else { return Ok(None) };
        let mut dims = Vec::new();
        let mut walk = fields(bytes, shape, "TensorShapeProto");
        while let Some(field) = walk.next()? {
            match (field.number, &field.value) {
                (2, _) => {
                    let mut size = 0;
                    let mut dim = fields(bytes, payload(&field, "TensorShapeProto.dim")?, "TensorShapeProto.Dim");
                    while let Some(part) = dim.next()? {
                        if let (1, Value::Varint(n)) = (part.number, &part.value) {
                            size = n.cast_signed();
                        }
                    }
                    dims.push(size);
                }
                (3, Value::Varint(1..)) => return Ok(None),
                _ => {}
            }
        }
        Ok(Some(dims))
    }

    fn weight_info(&self, op: NodeId, facts: Facts, is_default: bool) -> WeightInfo {
        let Facts { source, dtype, shape, bytes, range, quantized } = facts;
        WeightInfo {
            op: self.site_name(op),
            op_type: String::from_utf8_lossy(self.op(op)).into_owned(),
            tensor: self.site_tensor(source, 0),
            dtype,
            shape,
            bytes,
            range,
            is_default,
            quantized,
        }
    }

    fn quantized_info(&self, id: NodeId) -> Result<QuantizedInfo, Error> {
        let end = |position| -> Result<Option<f32>, Error> {
            let Some(Target::Data { node, .. }) = self.input(id, position).map(|i| i.target) else { return Ok(None) };
            let folded = fold(self, NodeId { scope: id.scope, node })?;
            Ok(folded.filter(|f| f.values.len() == 1).and_then(|f| f.values.first().copied()))
        };
        let range = end(1)?.zip(end(2)?).and_then(|(min, max)| Range::new(min, max).ok());
        let bits = match self.index().node(id) {
            Some(node) => node.attr_int(self.bytes(), "num_bits")?,
            None => None,
        };
        let op_type = String::from_utf8_lossy(self.op(id)).into_owned();
        let bits = match bits {
            Some(bits) => u32::try_from(bits).ok(),
            None => self.code_bits(id)?,
        };
        Ok(QuantizedInfo { op: self.site_name(id), op_type, bits, range, how: self.mark_of(id)? })
    }
}
