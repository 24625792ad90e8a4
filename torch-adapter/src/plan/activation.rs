//! Decisions about activations: inputs and outputs of ops.

use quant_math::plan::{Choice, Chosen, Decision, Reason, Site};
use quant_math::quantizers::table::StepSource;
use quant_math::{Emit, QuantType};

use super::{Planner, site, skip};
use crate::codes;
use crate::find::sites::{Edge, Op};

impl Planner<'_> {
    pub(super) fn activations(&mut self, op: &Op, kind: QuantType, choice: &Choice<'_>) -> Vec<Site> {
        let edges = op.activations(kind).into_iter();
        let sites = edges.map(|(tensor, edge)| {
            let chosen = choice.of(kind, &tensor);
            let range = chosen.as_ref().ok().and_then(|chosen| chosen.range);
            let decision = self.decide(op, kind, edge, &tensor, chosen);
            let range = range.filter(|_| matches!(decision, Decision::Quantize(_)));
            Site { range, ..site(op, kind, tensor, decision) }
        });
        sites.collect()
    }

    fn decide(
        &mut self,
        op: &Op,
        kind: QuantType,
        edge: &Edge,
        tensor: &str,
        chosen: Result<Chosen, Reason>,
    ) -> Decision {
        if let Some(done) = self.model.marked(&op.name, kind, tensor) {
            return skip(codes::ALREADY_QUANTIZED, format!("quantized already ({})", done.in_words()));
        }
        match edge {
            Edge::Blocked(reason) if reason.is(codes::ALREADY_QUANTIZED) => return Decision::Skip(reason.clone()),
            _ if matches!(self.emit, Emit::Baked | Emit::Packed) => {
                return skip(codes::WEIGHTS_ONLY, format!("`--emit {}` quantizes weights only", self.emit));
            }
            Edge::Absent if kind == QuantType::Input => {
                return skip(codes::NO_ACTIVATION, format!("ops of type `{}` read no activation", op.op_type));
            }
            Edge::Absent => {
                return skip(codes::MANY_OUTPUTS, format!("ops of type `{}` do not make a single tensor", op.op_type));
            }
            Edge::Blocked(reason) => return Decision::Skip(reason.clone()),
            Edge::Spots { spots, .. } => {
                let mut homes = spots.iter().map(|spot| spot.object);
                if let Some(reason) = homes.find_map(|home| self.model.unextendable(home)) {
                    return Decision::Skip(reason);
                }
            }
        }
        let Chosen { mut settings, range, sign_is_open, .. } = match chosen {
            Ok(chosen) => chosen,
            Err(reason) => return Decision::Skip(reason),
        };
        if sign_is_open {
            settings.symmetric = !matches!(edge, Edge::Spots { never_negative: true, .. });
        }
        if let (Emit::Training, StepSource::Learnt, Edge::Spots { spots, .. }) =
            (self.emit, settings.quantizer.row().steps, edge)
            && let Some(reason) = spots.first().and_then(|spot| self.model.unlearnable(spot.object))
        {
            return Decision::Skip(reason);
        }
        if settings.changes_nothing() {
            return skip(codes::BITS_32, "32 bits leave the activation as it is");
        }
        if self.emit == Emit::Inference && settings.quantizer.row().measures() && range.is_none() {
            self.missing.push(format!("`{}` ({kind})", op.name));
        }
        Decision::Quantize(settings)
    }
}
