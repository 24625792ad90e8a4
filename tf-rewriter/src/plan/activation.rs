//! Decisions about activations: inputs and outputs of ops.

use quant_math::plan::{Decision, Site, no_activation};
use quant_math::{DType, Emit, QuantType};

use super::{Op, Planner, SITES, with_axis};
use crate::codes;
use crate::error::Error;
use crate::find::mark;
use crate::find::ops::{self, Activations};
use crate::find::sites::{self, Role, Roles, Traced};
use crate::graphdef::graph::Place;
use crate::graphdef::index::{NodeId, ScopeKind};

impl Planner<'_> {
    pub(super) fn inputs(&mut self, op: &Op<'_>) -> Result<(), Error> {
        let Some(info) = op.info else {
            let decision = Decision::skip(
                codes::OP_TYPE_UNKNOWN,
                format!("which inputs of `{}` are activations is not known", op.facts.op_type),
            );
            self.push(Site::new(&op.facts, QuantType::Input, String::new(), decision))?;
            return Ok(());
        };
        let weight = op.weight.as_ref().map(|(input, _)| *input);
        let rule = if info.activations == Activations::NotWeight && weight.is_none() {
            Activations::Two
        } else {
            info.activations
        };
        if let Some(decision) = self.beside(op) {
            self.push(Site::new(&op.facts, QuantType::Input, String::new(), decision))?;
            return Ok(());
        }
        let positions = sites::activation_inputs(self.graph, op.id, rule, weight);
        if positions.is_empty() {
            let decision = Decision::Skip(no_activation(op.facts.op_type));
            self.push(Site::new(&op.facts, QuantType::Input, String::new(), decision))?;
        }
        for position in positions {
            let tensor = sites::tensor_name(self.graph, op.id, position);
            let decision = match sites::trace(self.graph, op.id, position)? {
                Traced::Quantized(id) => self.already(id)?,
                // A default value is an activation all the same.
                Traced::Weight(weight) if weight.can_be_fed(self.graph) => {
                    self.activation(op, QuantType::Input, &tensor, sites::read(self.graph, op.id, position))?
                }
                Traced::Weight(_) | Traced::Variable(..) | Traced::OtherConstant | Traced::Several(_) => {
                    Decision::skip(
                        codes::CONSTANT_INPUT,
                        "a bias or another constant is never quantized as an activation",
                    )
                }
                Traced::Computed if sites::reads_parameter(self.graph, op.id, position)? => Decision::skip(
                    codes::CONSTANT_INPUT,
                    "it is computed from constants alone: a parameter, no activation",
                ),
                Traced::Argument | Traced::Computed => {
                    self.activation(op, QuantType::Input, &tensor, sites::read(self.graph, op.id, position))?
                }
            };
            self.push_activation(op, QuantType::Input, tensor, decision)?;
        }
        Ok(())
    }

    pub(super) fn output(&mut self, op: &Op<'_>) -> Result<(), Error> {
        let tensor = format!("{}:0", op.facts.name);
        let (edges, other_outputs) = sites::output_edges(self.graph, op.id);
        let leaves = sites::leaves_graph(self.graph, op.id, &edges);
        let mut quantized = None;
        for (reader, _) in &edges {
            if ops::is_quantizer(self.graph.op(*reader)) || self.is_marked(*reader)? {
                quantized = Some(*reader);
                break;
            }
        }
        let marked = self.is_marked(op.id)?;
        let in_function =
            matches!(self.graph.index().scope(op.id.scope).map(|s| s.kind), Some(ScopeKind::Function { .. }));
        let decision = if op.info.is_none() {
            Decision::skip(
                codes::OP_TYPE_UNKNOWN,
                format!("whether `{}` makes one float tensor is not known", op.facts.op_type),
            )
        } else if let Some(reader) = quantized {
            self.already(reader)?
        } else if marked || ops::is_quantizer(self.graph.op(op.id)) {
            self.already(op.id)?
        } else if in_function && op.facts.op_type.starts_with("FusedBatchNorm") {
            Decision::skip(codes::MANY_OUTPUTS, "which of its outputs an edge reads is not known in a function body")
        } else if let Some(decision) = self.beside(op) {
            decision
        } else if sites::is_parameter(self.graph, op.id, false)? {
            Decision::skip(codes::CONSTANT_OUTPUT, "it is computed from constants alone: a parameter, no activation")
        } else if other_outputs && leaves {
            Decision::skip(codes::MANY_OUTPUTS, "it is an output of the graph and has more than one output itself")
        } else if edges.is_empty() && !leaves && self.graph.edge_text(op.id).is_none() {
            Decision::skip(codes::UNUSED, "nothing reads it")
        } else {
            self.activation(op, QuantType::Output, &tensor, Some(Place::Output(op.id, 0)))?
        };
        self.push_activation(op, QuantType::Output, tensor, decision)
    }

    pub(super) fn role(&self, id: NodeId) -> Role {
        self.roles.get_or_init(|| Roles::of(self.graph)).role(id)
    }

    /// Why an op has no activations, if it stands beside the forward pass.
    fn beside(&self, op: &Op<'_>) -> Option<Decision> {
        match self.role(op.id) {
            Role::Forward => None,
            Role::Bookkeeping => Some(Decision::skip(
                codes::BOOKKEEPING,
                "its value goes to assignments, savers and summaries alone; name it with `--outputs` if it is a result of the model",
            )),
            Role::Backward => Some(Decision::skip(
                codes::BACKWARD,
                "it computes gradients, which are quantized as `gradient` of the layer that they belong to",
            )),
        }
    }

    fn is_marked(&self, id: NodeId) -> Result<bool, Error> {
        match self.graph.index().node(id) {
            Some(node) => Ok(node.attr(self.graph.bytes(), mark::ATTR)?.is_some()),
            None => Ok(false),
        }
    }

    fn push_activation(
        &mut self,
        op: &Op<'_>,
        kind: QuantType,
        tensor: String,
        decision: Decision,
    ) -> Result<(), Error> {
        let mut found = Site::new(&op.facts, kind, tensor, decision);
        if found.settings().is_some() {
            found.dtype = Some(DType::F32);
            found.range = op.choice.of(kind, &found.tensor).ok().and_then(|chosen| chosen.range);
        }
        self.push(found)
    }

    fn activation(
        &mut self,
        op: &Op<'_>,
        kind: QuantType,
        tensor: &str,
        place: Option<Place>,
    ) -> Result<Decision, Error> {
        let mut chosen = match op.choice.of(kind, tensor) {
            Ok(chosen) => chosen,
            Err(reason) => return Ok(Decision::Skip(reason)),
        };
        if let Some(reason) = self.emit.weights_only() {
            return Ok(Decision::Skip(reason));
        }
        if sites::element_type(self.graph, op.id)? != Some(1) {
            return Ok(Decision::skip(codes::NOT_FLOAT32, "fake-quant ops take float32 only"));
        }
        if self.emit == Emit::Training && self.is_stateless(op.id) {
            return Ok(Decision::skip(
                codes::NO_STATE,
                "functions and loops cannot hold the variables of a range: inline the functions first, or use `--emit inference`",
            ));
        }
        if chosen.sign_is_open {
            let unsigned = place.map(|place| sites::is_never_negative(self.graph, place)).transpose()?;
            chosen.settings.symmetric = unsigned != Some(true);
        }
        if let Some(reason) = chosen.settings.no_change(kind) {
            return Ok(Decision::Skip(reason));
        }
        if !self.measuring && chosen.lacks_range(self.emit) {
            if self.is_unfetchable(tensor) {
                return Ok(Decision::skip(
                    codes::NOT_MEASURED,
                    "it has no range, and what is in a function or a loop cannot be fetched to measure one",
                ));
            }
            let missing = format!("`{}` ({kind})", op.facts.name);
            self.counted.take((size_of::<String>() + missing.len()) as u64, SITES)?;
            self.missing.push(missing);
        }
        Ok(with_axis(chosen.settings, None))
    }
}
