//! Which of the batch normalizations that could be folded are.

use std::collections::BTreeSet;

use quant_math::Emit;
use quant_math::config::{ConfigList, OpFacts};
use quant_math::fold::refuses;
use quant_math::plan::{Chooser, Reason};
use quant_math::quantizers::table::StepSource;

use super::Candidate;
use super::find::{Step, step};
use crate::codes;
use crate::error::Error;
use crate::find::ops;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;

/// Who chooses.
#[derive(Debug)]
pub(super) enum Choose<'a> {
    /// All of them.
    All,
    /// Those of layers whose weights get a scale for each channel.
    PerChannel(Chooser<'a>),
    /// Those that end in these nodes.
    Ending(&'a BTreeSet<NodeId>),
}

impl<'a> Choose<'a> {
    /// By what a config says of the layers, whatever the form of output: codes are the same in all of them.
    pub(super) fn config(config: &'a ConfigList) -> Self {
        Self::PerChannel(Chooser::of_config(config, Emit::Baked, None))
    }

    /// Why one is not folded, if it is not.
    ///
    /// # Errors
    /// Damaged nodes.
    pub(super) fn refuses(&self, graph: &Graph, candidate: &Candidate) -> Result<Option<Reason>, Error> {
        match self {
            Self::All => Ok(None),
            Self::Ending(nodes) => {
                let is_one = candidate.way.links.last().is_some_and(|link| nodes.contains(&link.node));
                let text = "the plan does not fold it";
                Ok((!is_one).then(|| Reason::new(codes::NORM_NOT_QUANTIZED, text)))
            }
            Self::PerChannel(chooser) => by_config(graph, chooser, candidate),
        }
    }
}

fn by_config(graph: &Graph, chooser: &Chooser<'_>, candidate: &Candidate) -> Result<Option<Reason>, Error> {
    let op = candidate.way.layer;
    let weight = &candidate.layer.weight;
    let (name, other_name) = graph.both_names(op);
    let op_type = String::from_utf8_lossy(graph.op(op));
    let is_default = ops::info(graph.op(op)).is_some_and(|info| info.default);
    let facts = OpFacts { name: &name, other_name: other_name.as_deref(), op_type: &op_type, is_default };
    let refused = refuses(chooser, facts, &graph.site_tensor(weight.source, 0), |chosen| {
        let learns = chosen.settings.quantizer.row().steps == StepSource::Learnt;
        let per_channel = weight.per_channel(chosen.per_channel, learns);
        per_channel.chooses(weight.elements(), candidate.layer.channels as u64)
    });
    if refused.is_some() {
        return Ok(refused);
    }
    for link in &candidate.way.links {
        let passes = step(graph, link.node)?.is_some_and(|(step, _)| step == Step::Passes);
        if !passes && is_named(graph, chooser, link.node) {
            let text = format!("the config names `{}`, which would be gone", graph.site_name(link.node));
            return Ok(Some(Reason::new(codes::NORM_NAMED, text)));
        }
    }
    Ok(None)
}

/// Whether an entry of the config decides about tensors of a node.
fn is_named(graph: &Graph, chooser: &Chooser<'_>, id: NodeId) -> bool {
    let (name, other_name) = graph.both_names(id);
    let op_type = String::from_utf8_lossy(graph.op(id));
    let facts = OpFacts { name: &name, other_name: other_name.as_deref(), op_type: &op_type, is_default: false };
    chooser.about(facts).names_any()
}
