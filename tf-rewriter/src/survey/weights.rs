//! The weight of an op as it is in the file: a constant, a variable, or what stands behind quantization that is there already.

use std::collections::BTreeSet;

use protobuf::Enum;
use quant_math::inspection::range_of;
use quant_math::{DType, Range};

use super::fold::fold;
use crate::error::Error;
use crate::find::mark;
use crate::find::ops::is_quantizer;
use crate::find::ops::is_variable;
use crate::find::sites::{Traced, Weight, read_by, sources};
use crate::graphdef::graph::{Graph, Place};
use crate::graphdef::index::NodeId;
use crate::graphdef::pb::DataType;
use crate::graphdef::tensor::{TensorView, dtype_size};

/// What `inspect` says of a weight.
#[derive(Debug)]
pub(super) struct Facts {
    /// The constant or variable.
    pub(super) source: NodeId,
    pub(super) dtype: DType,
    pub(super) shape: Vec<u64>,
    /// Bytes in the file; those of a variable are elsewhere.
    pub(super) bytes: u64,
    pub(super) range: Option<Range>,
    /// How it is quantized, where it is.
    pub(super) quantized: Option<String>,
}

impl Graph {
    /// What is known of a weight; `None` for what is none, or whose type and shape are not known.
    pub(super) fn weight_facts(&self, traced: &Traced) -> Result<Option<Facts>, Error> {
        match traced {
            Traced::Weight(weight) => {
                let range = self.constant(weight.source)?.map(|view| float_range(&view)).transpose()?.flatten();
                Ok(Some(facts(weight, weight.stored_bytes(), range)))
            }
            Traced::Variable(_, Some(weight)) => Ok(Some(facts(weight, 0, None))),
            Traced::Quantized(id) => self.quantized_facts(*id),
            _ => Ok(None),
        }
    }

    /// The weight behind a quantized tensor: the constant or variable that it is made from which has its shape, or the
    /// largest of them, and the values that it has.
    fn quantized_facts(&self, id: NodeId) -> Result<Option<Facts>, Error> {
        let how = match self.mark_of(id)? {
            Some(how) => how,
            None => self.how_without_mark(id)?,
        };
        let folded = fold(self, id)?;
        let elements = |shape: &[u64]| shape.iter().fold(1u64, |n, dim| n.saturating_mul(*dim));
        // Codes of their own bytes have as many elements as their values, a table of levels may have more; those that share bytes have fewer.
        let rank = |codes: bool, shape: &[u64]| {
            (codes, folded.as_ref().is_some_and(|folded| folded.shape == shape), elements(shape))
        };
        let mut best: Option<((bool, bool, u64), Facts)> = None;
        for source in self.behind(id)? {
            let mut codes = false;
            let found = if is_variable(self.op(source)) {
                self.variable(source)?.map(|(dtype, shape)| (dtype, shape, 0, None))
            } else {
                let view = self.constant(source)?;
                codes = view.as_ref().is_some_and(TensorView::holds_codes);
                view.map(|view| stored(&view)).transpose()?
            };
            let Some((dtype, shape, bytes, range)) = found else { continue };
            let rank = rank(codes, &shape);
            if best.as_ref().is_none_or(|(known, _)| *known < rank) {
                best = Some((rank, Facts { source, dtype, shape, bytes, range, quantized: Some(how.clone()) }));
            }
        }
        let Some(((codes, ..), mut facts)) = best else { return Ok(None) };
        // The values of codes are what they are made into.
        if let Some(folded) = &folded {
            facts.range = range_of(folded);
            if codes {
                facts.shape.clone_from(&folded.shape);
            }
        }
        Ok(Some(facts))
    }

    /// The constants and variables that a node is made from; no further than a chain of quantizing ops goes.
    fn behind(&self, id: NodeId) -> Result<Vec<NodeId>, Error> {
        const CHAIN: usize = 64;
        let (mut found, mut seen, mut open) = (Vec::new(), BTreeSet::new(), vec![Place::Output(id, 0)]);
        while let Some(place) = open.pop() {
            if !seen.insert(place) || seen.len() > CHAIN {
                continue;
            }
            let Place::Output(next, _) = place else {
                open.extend(sources(self, place)?.unwrap_or_default());
                continue;
            };
            if self.op(next) == b"Const" || is_variable(self.op(next)) {
                found.push(next);
                continue;
            }
            open.extend(read_by(self, next));
        }
        Ok(found)
    }

    /// The words of our mark on a node.
    pub(super) fn mark_of(&self, id: NodeId) -> Result<Option<String>, Error> {
        let mark = self.index().node(id).map(|node| node.attr_bytes(self.bytes(), mark::ATTR)).transpose()?.flatten();
        Ok(mark.map(|span| span.text(self.bytes()).to_owned()))
    }

    /// Whether a node is a part of a training graph's quantization.
    pub(super) fn is_part(&self, id: NodeId) -> Result<bool, Error> {
        let part = self.index().node(id).map(|node| node.attr(self.bytes(), mark::PART)).transpose()?.flatten();
        Ok(part.is_some())
    }

    /// What another tool's quantization op says of itself.
    fn how_without_mark(&self, id: NodeId) -> Result<String, Error> {
        let op = String::from_utf8_lossy(self.op(id)).into_owned();
        let bits = match self.index().node(id) {
            Some(node) => node.attr_int(self.bytes(), "num_bits")?.and_then(|bits| u32::try_from(bits).ok()),
            None => None,
        };
        let bits = if bits.is_some() { bits } else { self.code_bits(id)? };
        Ok(bits.map_or_else(|| op.clone(), |bits| format!("{op} {bits} bits")))
    }

    /// The bits of the codes that a `Dequantize` reads, by their type.
    pub(super) fn code_bits(&self, id: NodeId) -> Result<Option<u32>, Error> {
        if !is_quantizer(self.op(id)) {
            return Ok(None);
        }
        let number = self.index().node(id).map(|node| node.attr_type(self.bytes(), "T")).transpose()?.flatten();
        let dtype = number.and_then(|number| DataType::from_i32(i32::try_from(number).ok()?));
        Ok(match dtype {
            Some(DataType::DT_QINT8 | DataType::DT_QUINT8) => Some(8),
            Some(DataType::DT_QINT16 | DataType::DT_QUINT16) => Some(16),
            Some(DataType::DT_QINT32) => Some(32),
            _ => None,
        })
    }
}

fn facts(weight: &Weight, bytes: u64, range: Option<Range>) -> Facts {
    let Weight { source, dtype, shape, .. } = weight;
    Facts { source: *source, dtype: *dtype, shape: shape.clone(), bytes, range, quantized: None }
}

/// Type, shape, bytes and range of a constant; codes stand for float32.
fn stored(view: &TensorView<'_>) -> Result<(DType, Vec<u64>, u64, Option<Range>), Error> {
    let elements = view.elements() as u64;
    let shape = view.shape().to_vec();
    if let Some(dtype) = view.float_dtype() {
        let bytes = view.stored().saturating_mul(dtype.size()) as u64;
        return Ok((dtype, shape, bytes, float_range(view)?));
    }
    let size = view.dtype().and_then(dtype_size).unwrap_or(0) as u64;
    Ok((DType::F32, shape, elements.saturating_mul(size), None))
}

fn float_range(view: &TensorView<'_>) -> Result<Option<Range>, Error> {
    let data = view.float_data()?;
    Ok(range_of(data.stored()))
}
