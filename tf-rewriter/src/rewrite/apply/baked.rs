//! Weights of `baked`, one by one: for a model whose constants are elsewhere.

use std::io::Write;

use quant_math::metrics::Metrics;
use quant_math::weights::{Errors, Form};

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::rewrite::emit::WeightWork;
use crate::rewrite::splice::WeightStream;

/// Chunks that are computed before they are written.
const BATCH: usize = 16;

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

    /// Write its quantized values, row-major, little-endian; how far they are from the float ones, which `graph` has.
    pub(crate) fn write(
        &self,
        graph: &Graph,
        out: &mut dyn Write,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Metrics, Error> {
        let WeightStream { source, made, .. } = &self.stream;
        let data = source.data(graph)?;
        let errors = Errors::default();
        let batch = made.chunks(BATCH);
        let mut room = Vec::new();
        for start in (0..made.len()).step_by(batch.max(1)) {
            room.resize(batch.min(made.len() - start), 0);
            let filled = made.fill(&data, start, &mut room, &errors);
            filled.map_err(|fault| Error::Math { tensor: source.node.clone(), source: fault })?;
            out.write_all(&room).map_err(Error::writing)?;
            progress(room.len() as u64);
        }
        Ok(errors.metrics())
    }
}
