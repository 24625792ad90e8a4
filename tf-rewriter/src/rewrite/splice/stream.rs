//! Writing segments out; quantized weights are computed on the way, so that no tensor is ever held whole.

use std::collections::BTreeMap;
use std::io::Write;

use model_file::{WRITE, pipeline, put};
use quant_math::metrics::Metrics;
use quant_math::weights::{self, Errors};

use super::Segment;
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::Span;
use crate::graphdef::tensor::FloatData;

/// Chunks that are computed before they are written: enough to keep all threads busy, few enough to stay in the caches.
const BATCH: usize = 16;

/// A weight of the input: its TensorProto, read again when it is needed.
#[derive(Debug, Clone)]
pub(crate) struct WeightSource {
    /// The TensorProto.
    pub(crate) tensor: Span,
    /// The node that holds it.
    pub(crate) node: String,
}

impl WeightSource {
    /// The float elements.
    pub(crate) fn data<'a>(&'a self, graph: &'a Graph) -> Result<FloatData<'a>, Error> {
        graph.tensor(self.tensor, &self.node)?.float_data()
    }
}

/// A weight on its way to the output.
#[derive(Debug, Clone)]
pub(crate) struct WeightStream {
    pub(crate) source: WeightSource,
    pub(crate) made: weights::WeightStream,
    /// Where its error is reported: its key in the result of [`write`].
    pub(crate) slot: usize,
}

impl WeightStream {
    /// Bytes in the output.
    pub(crate) fn len(&self) -> usize {
        self.made.len()
    }
}

/// Write all segments; returns the errors of the weights, by their slots.
pub(crate) fn write(
    segments: &[Segment],
    graph: &Graph,
    out: &mut (dyn Write + Send),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<BTreeMap<usize, Metrics>, Error> {
    let mut metrics = BTreeMap::new();
    // Small pieces are gathered, large ones go straight through.
    let mut out = std::io::BufWriter::with_capacity(WRITE, out);
    // All weights use it one after the other.
    let mut rooms = Rooms::default();
    for segment in segments {
        match segment {
            Segment::Copy(span) => {
                for piece in span.of(graph.bytes()).chunks(WRITE) {
                    out.write_all(piece).map_err(Error::writing)?;
                    progress(piece.len() as u64);
                }
            }
            Segment::Elsewhere(number, _) => {
                let Some(elements) = graph.elsewhere().get(*number) else { continue };
                elements.stretches(WRITE, |piece| {
                    out.write_all(piece).map_err(Error::writing)?;
                    progress(piece.len() as u64);
                    Ok(())
                })?;
            }
            Segment::Bytes(new) => {
                out.write_all(new).map_err(Error::writing)?;
                progress(new.len() as u64);
            }
            Segment::Weights(stream) => {
                metrics.insert(stream.slot, write_weights(stream, graph, &mut rooms, &mut out, progress)?);
            }
        }
    }
    out.flush().map_err(Error::writing)?;
    Ok(metrics)
}

/// Room for two batches.
type Rooms = [Vec<u8>; 2];

fn write_weights(
    WeightStream { source, made, .. }: &WeightStream,
    graph: &Graph,
    rooms: &mut Rooms,
    out: &mut (impl Write + Send),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Metrics, Error> {
    let data = source.data(graph)?;
    let errors = Errors::default();
    let batch = made.chunks(BATCH);
    let make = |start: usize, mut room: Vec<u8>| {
        room.resize(batch.min(made.len() - start), 0);
        let filled = made.fill(&data, start, &mut room, &errors);
        filled.map(|()| room).map_err(|fault| Error::Math { tensor: source.node.clone(), source: fault })
    };
    let write = |room: Vec<u8>| {
        put(out, &room).map_err(Error::writing)?;
        progress(room.len() as u64);
        Ok(room)
    };
    pipeline((0..made.len()).step_by(batch), rooms, make, write)?;
    Ok(errors.metrics())
}
