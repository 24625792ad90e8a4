//! Decisions about activations: inputs and outputs of ops.

use quant_math::plan::{Choice, Chosen, Decision, Reason, Site, no_activation};
use quant_math::quantizers::table::StepSource;
use quant_math::{Emit, QuantType};

use super::{Planner, facts};
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
            Site { range, ..Site::new(&facts(op), kind, tensor, decision) }
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
        if let Some(reason) = self.already(op, kind, tensor) {
            return Decision::Skip(reason);
        }
        if let Edge::Blocked(reason) = edge
            && reason.is(codes::ALREADY_QUANTIZED)
        {
            return Decision::Skip(reason.clone());
        }
        if let Some(reason) = self.emit.weights_only() {
            return Decision::Skip(reason);
        }
        match edge {
            Edge::Absent if kind == QuantType::Input => return Decision::Skip(no_activation(&op.op_type)),
            Edge::Absent => {
                return Decision::skip(
                    codes::MANY_OUTPUTS,
                    format!("ops of type `{}` do not make a single tensor", op.op_type),
                );
            }
            Edge::Blocked(reason) => return Decision::Skip(reason.clone()),
            Edge::Spots { spots, .. } => {
                let mut homes = spots.iter().map(|spot| spot.object);
                if let Some(reason) = homes.find_map(|home| self.model.unextendable(home)) {
                    return Decision::Skip(reason);
                }
            }
        }
        let mut chosen = match chosen {
            Ok(chosen) => chosen,
            Err(reason) => return Decision::Skip(reason),
        };
        if chosen.sign_is_open {
            chosen.settings.symmetric = !matches!(edge, Edge::Spots { never_negative: true, .. });
        }
        if let (Emit::Training, StepSource::Learnt, Edge::Spots { spots, .. }) =
            (self.emit, chosen.settings.quantizer.row().steps, edge)
            && let Some(reason) = spots.first().and_then(|spot| self.model.unlearnable(spot.object))
        {
            return Decision::Skip(reason);
        }
        if let Some(reason) = chosen.settings.no_change(kind) {
            return Decision::Skip(reason);
        }
        if chosen.lacks_range(self.emit) {
            self.missing.push(format!("`{}` ({kind})", op.name));
        }
        Decision::Quantize(chosen.settings)
    }
}
