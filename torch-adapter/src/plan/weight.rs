//! Decisions about weights.

use quant_math::config::PerChannel;
use quant_math::plan::{Choice, Chosen, Decision, Site};
use quant_math::quantizers::table::StepSource;
use quant_math::{Emit, QuantType};

use super::{Planner, facts};
use crate::codes;
use crate::find::sites::{Op, OpWeight};

impl Planner<'_> {
    pub(super) fn weight(&self, op: &Op, weight: &OpWeight, choice: &Choice<'_>) -> Site {
        let decision = self.decide_weight(op, weight, choice);
        let mut found = Site::new(&facts(op), QuantType::Weight, weight.name.clone(), decision);
        if let Some(facts) = weight.tensor.and_then(|tensor| self.model.heap().tensor(tensor)) {
            found.dtype = facts.dtype;
            found.shape = Some(facts.shape.clone());
        }
        found
    }

    fn decide_weight(&self, op: &Op, weight: &OpWeight, choice: &Choice<'_>) -> Decision {
        if let Some(reason) = self.already(op, QuantType::Weight, &weight.name) {
            return Decision::Skip(reason);
        }
        if let Some(reason) = weight.blocked.as_ref().filter(|reason| reason.is(codes::ALREADY_QUANTIZED)) {
            return Decision::Skip(reason.clone());
        }
        let Chosen { mut settings, per_channel, .. } = match choice.of(QuantType::Weight, &weight.name) {
            Ok(chosen) => chosen,
            Err(reason) => return Decision::Skip(reason),
        };
        if let Some(reason) = &weight.blocked {
            return Decision::Skip(reason.clone());
        }
        if let Some(reason) = settings.no_change(QuantType::Weight) {
            return Decision::Skip(reason);
        }
        let Some(tensor) = weight.tensor else {
            return Decision::skip(codes::COMPUTED_WEIGHT, "the weight is computed in the code");
        };
        match weight.axis {
            Some(axis) => settings.channel_axis = self.model.chooses(per_channel, tensor, axis).then_some(axis),
            None if per_channel == PerChannel::Always => {
                return Decision::skip(
                    codes::CHANNEL_AXIS_UNKNOWN,
                    "the channel axis is lost in a reshape between parameter and call; per-tensor is possible",
                );
            }
            None => {}
        }
        if let (Emit::Inference | Emit::Training, Some(reason)) = (self.emit, &weight.no_text) {
            return Decision::Skip(reason.clone());
        }
        if let Some(reason) = self.emit.cannot_round(&settings) {
            return Decision::Skip(reason);
        }
        let mut homes = weight.spots.iter().map(|spot| spot.spot.object);
        if self.emit != Emit::Baked
            && let Some(reason) = homes.find_map(|home| self.model.unextendable(home))
        {
            return Decision::Skip(reason);
        }
        match self.emit {
            Emit::Baked | Emit::Packed => {
                self.model.unstorable(tensor, self.emit).map_or(Decision::Quantize(settings), Decision::Skip)
            }
            // The scale comes from the values.
            Emit::Inference => match self.model.contents().stored(tensor) {
                Ok(_) => Decision::Quantize(settings),
                Err(reason) => Decision::Skip(reason),
            },
            Emit::Training if settings.quantizer.row().steps == StepSource::Learnt => {
                let home = weight.spots.first().map(|spot| spot.spot.object);
                if let Some(reason) = home.and_then(|home| self.model.unlearnable(home)) {
                    return Decision::Skip(reason);
                }
                // Each channel gets a step, of which there are not more than the tensor has elements.
                match (settings.channel_axis, self.model.contents().stored(tensor)) {
                    (Some(_), Err(reason)) => Decision::Skip(reason),
                    _ => Decision::Quantize(settings),
                }
            }
            Emit::Training => Decision::Quantize(settings),
        }
    }
}
