//! Decisions about gradients, which exist where a graph computes them itself.

use quant_math::plan::{Decision, Site};
use quant_math::{DType, Emit, QuantType};

use super::{Op, Planner, with_axis};
use crate::codes;
use crate::error::Error;
use crate::find::mark;
use crate::find::sites::{self, Backward, BackwardOps, tensor_name};

impl Planner<'_> {
    pub(super) fn gradient(&mut self, op: &Op<'_>) -> Result<(), Error> {
        let mut tensor = format!("{}:0", op.facts.name);
        let decision = self.gradient_decision(op, &mut tensor)?;
        let mut found = Site::new(&op.facts, QuantType::Gradient, tensor, decision);
        if found.settings().is_some() {
            found.dtype = Some(DType::F32);
        }
        self.push(found)
    }

    fn gradient_decision(&mut self, op: &Op<'_>, tensor: &mut String) -> Result<Decision, Error> {
        if self.emit != Emit::Training {
            let text = format!("gradients exist only while training, and `--emit {}` does not train", self.emit);
            return Ok(Decision::skip(codes::GRADIENT_NEEDS_TRAINING, text));
        }
        if !matches!(op.facts.op_type, "Conv2D" | "DepthwiseConv2dNative" | "MatMul") {
            let text = format!(
                "gradients are quantized for Conv2D, DepthwiseConv2dNative and MatMul, not `{}`",
                op.facts.op_type
            );
            return Ok(Decision::skip(codes::GRADIENT_OP_TYPE, text));
        }
        if self.is_stateless(op.id) {
            return Ok(Decision::skip(
                codes::NO_STATE,
                "the gradients of ops in functions and loops are not found: inline the functions before the gradients are built",
            ));
        }
        let weight = match (&op.weight, op.facts.op_type) {
            (Some((input, _)), _) => *input,
            (None, "MatMul") => {
                return Ok(Decision::skip(
                    codes::GRADIENT_NOT_THERE,
                    "it has no weight, whose gradient would lead to it",
                ));
            }
            (None, _) => 1,
        };
        let backward_ops = match &self.backward {
            Some(found) => found,
            None => self.backward.insert(BackwardOps::new(self.graph)?),
        };
        let edges = match backward_ops.of(op.id, weight)? {
            Backward::Found(edges) => edges,
            Backward::Missing => {
                return Ok(Decision::skip(
                    codes::GRADIENT_NOT_THERE,
                    "the graph has no op that makes the gradient of its weight: build the gradients (`tf.gradients`) into the graph \
                     before it is quantized, else the op trains with gradients in float",
                ));
            }
            Backward::Ambiguous => {
                return Ok(Decision::skip(
                    codes::GRADIENT_AMBIGUOUS,
                    "its backward ops read different tensors as the gradient of its output: give it an input or a weight of its own",
                ));
            }
        };
        if let Some((reader, input)) = edges.first() {
            *tensor = tensor_name(self.graph, *reader, *input);
        }
        for (reader, input) in &edges {
            if let Some(source) = self.graph.source(*reader, *input)
                && let Some(node) = self.graph.index().node(source)
                && node.attr(self.graph.bytes(), mark::ATTR)?.is_some()
            {
                return self.already(source);
            }
        }
        if sites::element_type(self.graph, op.id)? != Some(1) {
            return Ok(Decision::skip(codes::NOT_FLOAT32, "gradients are quantized in float32 only"));
        }
        let settings = match op.choice.of(QuantType::Gradient, tensor) {
            Ok(chosen) => chosen.settings,
            Err(reason) => return Ok(Decision::Skip(reason)),
        };
        if let Some(reason) = settings.no_change(QuantType::Gradient) {
            return Ok(Decision::Skip(reason));
        }
        Ok(with_axis(settings, None))
    }
}
