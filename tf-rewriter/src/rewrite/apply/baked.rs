//! Weights of `baked`, one by one: for a model whose constants are elsewhere.

use std::collections::BTreeMap;
use std::io::Write;

use quant_math::metrics::Metrics;
use quant_math::weights::Form;

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::rewrite::emit::WeightWork;
use crate::rewrite::splice::{self, Segment, WeightStream};

/// A constant that holds quantized values.
#[derive(Debug)]
pub(crate) struct Baked {
    /// Its name.
    pub(crate) constant: String,
    pub(crate) stream: WeightStream,
    /// Whether it changes itself: nothing else reads it, or all want the same of it. Else it is copied.
    pub(crate) is_alone: bool,
}

impl Baked {
    pub(super) fn of(graph: &Graph, work: &WeightWork, owned: bool) -> Self {
        let constant = graph.full_name(work.weight.source);
        // One value that stands for all is not stored as often as there are elements.
        let is_alone = owned && !work.weight.is_one_value();
        Self { constant, stream: work.stream(Form::Values(work.weight.dtype)), is_alone }
    }

    /// Write its quantized values, row-major, little-endian; how far they are from the float ones, which `graph` has, by their slot.
    pub(crate) fn write(
        &self,
        graph: &Graph,
        out: &mut (dyn Write + Send),
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<BTreeMap<usize, Metrics>, Error> {
        splice::write(&[Segment::Weights(self.stream.clone())], graph, out, progress)
    }
}
