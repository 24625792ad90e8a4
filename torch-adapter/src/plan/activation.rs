//! Decisions about activations: inputs and outputs of ops.

use quant_math::plan::{Decision, Settings, Site};
use quant_math::{Emit, QuantType, Quantizer};

use super::{Planner, site, skip};
use crate::mark;
use crate::sites::{Edge, Op};

impl Planner<'_> {
    pub(super) fn activations(&mut self, op: &Op, kind: QuantType, settings: Settings) -> Vec<Site> {
        let edges = op.activations(kind).into_iter();
        let sites = edges.map(|(tensor, edge)| {
            let decision = self.decide(op, kind, edge, &tensor, settings);
            site(op, kind, tensor, decision)
        });
        sites.collect()
    }

    fn decide(&mut self, op: &Op, kind: QuantType, edge: &Edge, tensor: &str, settings: Settings) -> Decision {
        if let Some(done) = self.model.marked(&op.name, kind, tensor) {
            return skip("already-quantized", format!("quantized already ({})", mark::text(done)));
        }
        match edge {
            Edge::Blocked(reason) if reason.code == "already-quantized" => return Decision::Skip(reason.clone()),
            _ if matches!(self.emit, Emit::Baked | Emit::Packed) => {
                return skip("weights-only", format!("`--emit {}` quantizes weights only", self.emit));
            }
            Edge::Absent if kind == QuantType::Input => {
                return skip("no-activation", format!("ops of type `{}` read no activation", op.op_type));
            }
            Edge::Absent => {
                return skip("many-outputs", format!("ops of type `{}` do not make a single tensor", op.op_type));
            }
            Edge::Blocked(reason) => return Decision::Skip(reason.clone()),
            Edge::Spots(_) => {}
        }
        if settings.quantizer == Quantizer::DoReFa {
            return if settings.bits == 32 {
                skip("bits-32", "32 bits leave the activation as it is")
            } else {
                Decision::Quantize(settings)
            };
        }
        let known = self.ranges.as_ref().and_then(|ranges| ranges.find(&op.name, kind, tensor)).is_some();
        if self.emit == Emit::Inference && !known {
            self.missing.push(format!("`{}` ({kind})", op.name));
        }
        Decision::Quantize(settings)
    }
}
