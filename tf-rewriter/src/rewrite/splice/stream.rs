//! Writing segments out; quantized weights are computed on the way, so that no tensor is ever held whole.

use std::io::Write;
use std::sync::Arc;

use quant_math::metrics::MetricsAccumulator;
use quant_math::weights::{CHUNK, Form, WeightMap};
use rayon::prelude::*;

use super::Segment;
use crate::error::Error;
use crate::graphdef::index::Span;
use crate::graphdef::tensor::{FloatData, TensorView};

/// Elements that are computed before they are written: enough to keep all threads busy, few enough to stay in the caches.
const BATCH: usize = 16 * CHUNK;

/// Bytes of one write. Larger writes make the kernel fill its page cache in large pieces of memory that it must first find, which
/// took up to ten times as long here; `cp` writes 128 KiB too.
const WRITE: usize = 128 << 10;

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
    pub(crate) fn data<'a>(&'a self, bytes: &'a [u8]) -> Result<FloatData<'a>, Error> {
        TensorView::parse(self.tensor.of(bytes), self.tensor.start(), &self.node)?.float_data()
    }
}

/// A weight on its way to the output.
#[derive(Debug, Clone)]
pub(crate) struct WeightStream {
    pub(crate) source: WeightSource,
    pub(crate) map: Arc<WeightMap>,
    pub(crate) form: Form,
    /// The number of elements.
    pub(crate) elements: usize,
    /// Where its error is reported: an index into the result of [`write`].
    pub(crate) slot: usize,
}

impl WeightStream {
    /// Bytes in the output.
    pub(crate) fn len(&self) -> usize {
        self.form.bytes(self.elements)
    }
}

/// Write all segments; returns the error of each weight slot, `None` where no stream had it.
pub(crate) fn write(
    segments: &[Segment],
    bytes: &[u8],
    slots: usize,
    out: &mut (dyn Write + Send),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Option<MetricsAccumulator>>, Error> {
    let mut metrics: Vec<Option<MetricsAccumulator>> = vec![None; slots];
    // Small pieces are gathered, large ones go straight through.
    let mut out = std::io::BufWriter::with_capacity(WRITE, out);
    let mut batches = Batches::default();
    for segment in segments {
        match segment {
            Segment::Copy(span) => {
                for piece in span.of(bytes).chunks(WRITE) {
                    out.write_all(piece).map_err(Error::writing)?;
                    progress(piece.len() as u64);
                }
            }
            Segment::Bytes(new) => {
                out.write_all(new).map_err(Error::writing)?;
                progress(new.len() as u64);
            }
            Segment::Weights(stream) => {
                let error = write_weights(stream, bytes, &mut batches, &mut out, progress)?;
                if let Some(slot) = metrics.get_mut(stream.slot) {
                    *slot = Some(error);
                }
            }
        }
    }
    out.flush().map_err(Error::writing)?;
    Ok(metrics)
}

/// Room for two batches, which all weights use one after the other.
type Batches = [Vec<u8>; 2];

/// One batch is written while the next is computed.
fn write_weights(
    stream: &WeightStream,
    bytes: &[u8],
    [ready, next]: &mut Batches,
    out: &mut (dyn Write + Send),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<MetricsAccumulator, Error> {
    let data = stream.source.data(bytes)?;
    let mut error = MetricsAccumulator::default();
    let mut filled = 0;
    let starts = (0..stream.elements).step_by(BATCH).map(Some).chain([None]);
    for start in starts {
        let batch = ready.get(..filled).unwrap_or_default();
        let (written, computed) = rayon::join(
            || batch.chunks(WRITE).try_for_each(|piece| out.write_all(piece)),
            || start.map(|start| compute(stream, &data, start, next)).transpose(),
        );
        written.map_err(Error::writing)?;
        progress(batch.len() as u64);
        if let Some((length, parts)) = computed? {
            filled = length;
            for chunk in &parts {
                error.merge(chunk);
            }
        }
        std::mem::swap(ready, next);
    }
    Ok(error)
}

/// Compute the batch at `start` into `room`: how long it is; the errors come chunk by chunk, so that their sum has one order.
fn compute(
    stream: &WeightStream,
    data: &FloatData<'_>,
    start: usize,
    room: &mut Vec<u8>,
) -> Result<(usize, Vec<MetricsAccumulator>), Error> {
    let length = stream.form.bytes(BATCH.min(stream.elements - start));
    if room.len() < length {
        room.resize(length, 0);
    }
    let batch = room.get_mut(..length).unwrap_or_default();
    // Whole bytes: a chunk is a multiple of the codes that share one.
    let chunks = batch.par_chunks_mut(stream.form.bytes(CHUNK)).enumerate();
    let errors = chunks.map(|(i, out)| one_chunk(stream, data, start + i * CHUNK, out)).collect::<Result<_, _>>()?;
    Ok((length, errors))
}

fn one_chunk(
    stream: &WeightStream,
    data: &FloatData<'_>,
    offset: usize,
    out: &mut [u8],
) -> Result<MetricsAccumulator, Error> {
    let stored = stream.map.store(stream.form, data, offset..stream.elements.min(offset + CHUNK), out);
    stored.map_err(|source| Error::Math { tensor: stream.source.node.clone(), source })
}
