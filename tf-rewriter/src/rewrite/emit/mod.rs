//! Emit: from decisions to nodes, edges and bytes.
//!
//! `baked` and `packed` are byte work that every quantizer shares (the map from float to code is `quant-math`'s);
//! `inference` is one file for each sort of ops: `fake_quant` (Naive and QAT), `lsq`, `dorefa`.

mod baked;
mod dorefa;
mod edge;
mod editor;
mod fake_quant;
mod lsq;
mod maker;
mod node;
mod packed;
mod path;
mod shared_bytes;
mod taking_over;
pub(crate) mod training;
mod variable;
mod whole;

pub(crate) use baked::baked;
pub(crate) use editor::Editor;
pub(crate) use node::NewNode;
pub(crate) use packed::packed;
#[cfg(feature = "run")]
pub(crate) use path::homes;
pub(crate) use path::{Copies, can_have_its_own, owns};
pub(crate) use variable::{frozen_variable, init_op, new_variable, read_again};
pub(crate) use whole::{Edge, Pieces};

use std::sync::Arc;

use quant_math::plan::Settings;
use quant_math::weights::{self, Form, WeightMap};
use quant_math::{MathError, QuantType, Quantizer, Range};

use crate::find::sites::{ChannelAxes, Weight};
use crate::graphdef::index::NodeId;
use crate::rewrite::splice::{WeightSource, WeightStream};

/// A weight that is to be quantized, with everything that was found out about it.
#[derive(Debug)]
pub(crate) struct WeightWork {
    /// Index of the site in the plan.
    pub(crate) site: usize,
    /// The op and its weight input.
    pub(crate) op: NodeId,
    pub(crate) input: usize,
    pub(crate) weight: Weight,
    /// Whether the op reads no other in its stead.
    pub(crate) is_only: bool,
    /// The name of the constant.
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) axes: Option<ChannelAxes>,
    /// From float to code; shared by all ops that use the constant in the same way.
    pub(crate) map: Arc<WeightMap>,
    /// The observed range of each channel; for `inference` only.
    pub(crate) ranges: Arc<Vec<Range>>,
    /// How far apart the ranges of its channels are, where one scale serves all.
    pub(crate) spread: Option<f32>,
    /// Where its error is reported; ops that quantize one constant in the same way have the same.
    pub(crate) slot: usize,
}

impl WeightWork {
    /// The edge by which its op reads the weight.
    fn edge(&self) -> Edge<'_> {
        Edge { op: self.op, input: self.input, weight: &self.weight }
    }

    /// The weight's elements on their way to the output.
    pub(crate) fn stream(&self, form: Form) -> WeightStream {
        WeightStream {
            source: WeightSource { tensor: self.weight.tensor, node: self.name.clone() },
            made: weights::WeightStream {
                map: self.map.clone(),
                form,
                elements: usize::try_from(self.weight.elements()).unwrap_or(usize::MAX),
            },
            slot: self.slot,
        }
    }
}

/// An activation that is to be quantized.
#[derive(Debug)]
pub(crate) struct ActivationWork {
    pub(crate) op: NodeId,
    pub(crate) kind: QuantType,
    /// The inputs that read the tensor, for a site of kind `input`.
    pub(crate) inputs: Vec<usize>,
    pub(crate) settings: Settings,
    pub(crate) range: Option<Range>,
    /// LSQ: the step that was learnt.
    pub(crate) step: Option<f32>,
}

/// Insert the ops of `--emit inference` for a weight.
pub(crate) fn inference_weight<'w>(
    editor: &mut Editor<'_>,
    work: &'w WeightWork,
    pieces: &mut Pieces<'w>,
) -> Result<u64, MathError> {
    match work.settings.quantizer {
        Quantizer::Naive | Quantizer::Qat => fake_quant::weight(editor, work, pieces),
        Quantizer::DoReFa => dorefa::weight(editor, work, pieces),
        Quantizer::Lsq => lsq::weight(editor, work, pieces),
    }
}

/// Insert the ops of `--emit inference` for an activation; returns its scale, where it has one.
pub(crate) fn inference_activation(editor: &mut Editor<'_>, work: &ActivationWork) -> Result<Option<f32>, MathError> {
    match work.settings.quantizer {
        // The config refuses activations for Naive.
        Quantizer::Naive | Quantizer::Qat => fake_quant::activation(editor, work),
        Quantizer::DoReFa => dorefa::activation(editor, work),
        Quantizer::Lsq => lsq::activation(editor, work),
    }
}
