//! Decisions about weights.

use quant_math::config::PerChannel;
use quant_math::plan::{Chosen, Decision, Site, no_weight};
use quant_math::quantizers::table::StepSource;
use quant_math::{Emit, QuantType};

use super::{Op, Planner, with_axis};
use crate::codes;
use crate::error::Error;
use crate::find::mark;
use crate::find::ops::ChannelRule;
use crate::find::sites::{MAX_SPREAD, Role, Traced, Weight, channel_axes, channel_label};
use crate::graphdef::index::NodeId;

impl Planner<'_> {
    /// List the weight of an op: each of them, where it reads one or another.
    pub(super) fn weight(&mut self, op: &Op<'_>) -> Result<(), Error> {
        let Some((input, traced)) = &op.weight else {
            let decision = match op.info {
                Some(info) if !info.weights.is_empty() => {
                    Decision::skip(codes::NO_WEIGHT, "none of its inputs leads to a float constant or variable")
                }
                _ => Decision::Skip(no_weight(op.facts.op_type)),
            };
            self.push(Site::new(&op.facts, QuantType::Weight, String::new(), decision))?;
            return Ok(());
        };
        let parts = match traced {
            Traced::Several(parts) => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        for part in parts {
            let found = self.one_weight(op, (*input, part, parts.len() > 1))?;
            self.push(found)?;
        }
        Ok(())
    }

    fn one_weight(
        &self,
        op: &Op<'_>,
        (input, traced, is_one_of_several): (usize, &Traced, bool),
    ) -> Result<Site, Error> {
        let tensor = match traced {
            Traced::Weight(weight) => self.tensor(weight.source),
            Traced::Variable(id, _) | Traced::Quantized(id) => self.tensor(*id),
            Traced::Argument | Traced::Computed | Traced::OtherConstant | Traced::Several(_) => {
                crate::find::sites::tensor_name(self.graph, op.id, input)
            }
        };
        let decision = match (traced, op.choice.of(QuantType::Weight, &tensor)) {
            (Traced::Quantized(id), _) => self.already(*id)?,
            (_, Err(reason)) => Decision::Skip(reason),
            (Traced::Weight(_) | Traced::Variable(..), Ok(_)) if self.role(op.id) == Role::Backward => {
                Decision::skip(codes::BACKWARD, "it computes a gradient, and reads the weight as its layer does")
            }
            (Traced::Weight(_) | Traced::Variable(..), Ok(_))
                if is_one_of_several && matches!(self.emit, Emit::Inference | Emit::Training) =>
            {
                let text = format!(
                    "`{}` reads one or another of several weights, as the graph runs; `--emit baked` and `--emit packed` can quantize each",
                    op.facts.name
                );
                Decision::skip(codes::SEVERAL_WEIGHTS, text)
            }
            (Traced::Variable(id, _), Ok(_))
                if self.emit == Emit::Training && op.facts.op_type.starts_with("ResourceGather") =>
            {
                let text = format!(
                    "`{}` looks rows up in the variable `{}` itself, before which no quantizer can stand; frozen, it is a constant that can be quantized",
                    op.facts.name,
                    self.graph.name(*id)
                );
                Decision::skip(codes::WEIGHT_IS_LOOKED_UP, text)
            }
            (Traced::Variable(_, Some(weight)), Ok(chosen)) if self.emit == Emit::Training => {
                self.chosen(op, input, weight, chosen)?
            }
            (Traced::Variable(id, None), Ok(_)) if self.emit == Emit::Training => Decision::skip(
                codes::VARIABLE_UNKNOWN,
                format!("`{}` does not say a float type and a whole shape", self.graph.name(*id)),
            ),
            (Traced::Variable(id, _), Ok(_)) => Decision::skip(
                codes::WEIGHT_IS_VARIABLE,
                format!(
                    "the values of `{}` are in a checkpoint, not in the graph: freeze the model first",
                    self.graph.name(*id)
                ),
            ),
            (Traced::Argument, Ok(_)) => Decision::skip(
                codes::WEIGHT_IS_ARGUMENT,
                "the weight is an argument of the function, and who calls it, or with what, is not known",
            ),
            (Traced::Weight(weight), Ok(chosen)) => self.chosen(op, input, weight, chosen)?,
            (Traced::OtherConstant, Ok(_)) => {
                Decision::skip(codes::NOT_FLOAT, format!("`{tensor}` is no float tensor"))
            }
            (Traced::Computed | Traced::Several(_), Ok(_)) => {
                if crate::find::sites::reads_parameter(self.graph, op.id, input)? {
                    let text = "is computed from constants: fold them when the model is frozen, then it is one";
                    Decision::skip(codes::COMPUTED_WEIGHT, format!("`{tensor}` {text}"))
                } else {
                    let text = "does not come from a constant or variable alone: it depends on what is fed, or changes in a loop";
                    Decision::skip(codes::WEIGHT_IS_ACTIVATION, format!("`{tensor}` {text}"))
                }
            }
        };
        let mut found = Site::new(&op.facts, QuantType::Weight, tensor, decision);
        if let Traced::Weight(weight) | Traced::Variable(_, Some(weight)) = traced {
            found.dtype = Some(weight.dtype);
            found.shape = Some(weight.shape.clone());
        }
        Ok(found)
    }

    fn chosen(&self, op: &Op<'_>, input: usize, weight: &Weight, chosen: Chosen) -> Result<Decision, Error> {
        let settings = chosen.settings;
        let learns = settings.quantizer.row().steps == StepSource::Learnt;
        if weight.elements() == 0 {
            return Ok(Decision::skip(codes::TENSOR_EMPTY, "the weight has no elements"));
        }
        if let Some(reason) = settings.no_change(QuantType::Weight) {
            return Ok(Decision::Skip(reason));
        }
        let per_channel = weight.per_channel(chosen.per_channel, learns);
        if weight.is_too_large_to_spread(per_channel != PerChannel::Never && self.emit == Emit::Inference) {
            let text = format!("the constant is stored in short form and has more than {MAX_SPREAD} elements");
            return Ok(Decision::skip(codes::SPLAT_TOO_LARGE, text));
        }
        if matches!(self.emit, Emit::Inference | Emit::Training) {
            if let Some(reason) = self.emit.cannot_round(&settings) {
                return Ok(Decision::Skip(reason));
            }
            if !crate::find::sites::can_be_whole(self.graph, (op.id, input), weight)? {
                let text = format!(
                    "`{}` reads a piece of the weight, which is cut off where its ops cannot be copied for it; `--emit baked` and `--emit packed` can quantize the whole",
                    op.facts.name
                );
                return Ok(Decision::skip(codes::WEIGHT_IN_PIECES, text));
            }
            if weight.enters_loop(self.graph) {
                return Ok(Decision::skip(
                    codes::WEIGHT_IN_LOOP,
                    "the weight enters a loop; `--emit baked` and `--emit packed` can quantize it",
                ));
            }
            if self.emit == Emit::Training && learns && self.is_stateless(op.id) {
                return Ok(Decision::skip(
                    codes::NO_STATE,
                    "functions and loops cannot hold the variable of a step: inline the functions first",
                ));
            }
            if self.emit == Emit::Training && settings.quant_start_step > 0 && self.is_stateless(op.id) {
                return Ok(Decision::skip(
                    codes::NO_STEP,
                    "the step counter cannot be read in a function or a loop, and `quant_start_step` needs it",
                ));
            }
            if crate::find::sites::element_type(self.graph, op.id)? != Some(1) {
                return Ok(Decision::skip(
                    codes::NOT_FLOAT32,
                    "fake-quant ops take float32 only; `--emit baked` can quantize this weight",
                ));
            }
        }
        if per_channel == PerChannel::Never {
            return Ok(with_axis(settings, None));
        }
        match channel_axes(self.graph, op.id, input, weight)? {
            Some(axes) => {
                let (_, channels) = weight.channels(axes);
                let chosen = per_channel.chooses(weight.elements(), channels as u64);
                Ok(with_axis(settings, chosen.then_some(axes.edge.first)))
            }
            None if per_channel == PerChannel::Auto => Ok(with_axis(settings, None)),
            None if op.info.is_some_and(|info| info.channels == ChannelRule::Equation)
                && let Some(rank) = weight.edge_shape().map(<[u64]>::len)
                && let Err(why) = channel_label(self.graph, op.id, input, rank)? =>
            {
                let text = format!("which axis of its weight is channels is not clear: {why}; per-tensor is possible");
                Ok(Decision::skip(codes::CHANNEL_AXIS_UNKNOWN, text))
            }
            None => Ok(Decision::skip(
                codes::CHANNEL_AXIS_UNKNOWN,
                "the channel axis is lost in a reshape or permutation between constant and op; per-tensor is possible",
            )),
        }
    }

    pub(super) fn already(&self, id: NodeId) -> Result<Decision, Error> {
        let bytes = self.graph.bytes();
        let mark = self.graph.index().node(id).map(|n| n.attr_bytes(bytes, mark::ATTR)).transpose()?.flatten();
        let how = mark.map(|span| format!(" ({})", span.text(bytes))).unwrap_or_default();
        let text = format!("`{}` is quantized already{how}", self.graph.name(id));
        Ok(Decision::skip(codes::ALREADY_QUANTIZED, text))
    }

    fn tensor(&self, id: NodeId) -> String {
        self.graph.site_tensor(id, 0)
    }
}
