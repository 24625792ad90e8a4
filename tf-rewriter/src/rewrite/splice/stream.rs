//! Writing segments out; quantized weights are computed on the way, so that no tensor is ever held whole.

use std::io::Write;
use std::sync::Arc;

use quant_math::data::write_little_endian;
use quant_math::metrics::MetricsAccumulator;
use quant_math::weights::{CHUNK, Storage, WeightMap};
use quant_math::{DType, WeightData};
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

/// What is written for each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The quantized value, in this type.
    Values(DType),
    /// The code of a value that is dequantized to this type, stored so.
    Codes(DType, Storage),
}

impl Form {
    /// Bytes of so many elements.
    fn bytes(self, elements: usize) -> usize {
        match self {
            Self::Values(dtype) => elements * dtype.size(),
            Self::Codes(_, storage) => storage.bytes(elements),
        }
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
                let error = write_weights(stream, bytes, &mut out, progress)?;
                if let Some(slot) = metrics.get_mut(stream.slot) {
                    *slot = Some(error);
                }
            }
        }
    }
    out.flush().map_err(Error::writing)?;
    Ok(metrics)
}

/// One batch is written while the next is computed.
fn write_weights(
    stream: &WeightStream,
    bytes: &[u8],
    out: &mut (dyn Write + Send),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<MetricsAccumulator, Error> {
    let data = stream.source.data(bytes)?;
    let mut error = MetricsAccumulator::default();
    let mut ready: Vec<u8> = Vec::new();
    let mut next: Vec<u8> = Vec::new();
    let starts = (0..stream.elements).step_by(BATCH).map(Some).chain([None]);
    for start in starts {
        let (written, computed) = rayon::join(
            || ready.chunks(WRITE).try_for_each(|piece| out.write_all(piece)),
            || start.map(|start| compute(stream, &data, start, &mut next)).transpose(),
        );
        written.map_err(Error::writing)?;
        progress(ready.len() as u64);
        if let Some(part) = computed? {
            for chunk in &part {
                error.merge(chunk);
            }
        }
        std::mem::swap(&mut ready, &mut next);
    }
    Ok(error)
}

/// Compute the batch at `start` into `buffer`; the errors come back chunk by chunk, so that their sum has one order.
fn compute(
    stream: &WeightStream,
    data: &FloatData<'_>,
    start: usize,
    buffer: &mut Vec<u8>,
) -> Result<Vec<MetricsAccumulator>, Error> {
    let elements = BATCH.min(stream.elements - start);
    buffer.resize(stream.form.bytes(elements), 0);
    // Whole bytes: a chunk is a multiple of the codes that share one.
    let chunks = buffer.par_chunks_mut(stream.form.bytes(CHUNK)).enumerate();
    chunks.map(|(i, out)| one_chunk(stream, data, start + i * CHUNK, out)).collect()
}

fn one_chunk(
    stream: &WeightStream,
    data: &FloatData<'_>,
    offset: usize,
    out: &mut [u8],
) -> Result<MetricsAccumulator, Error> {
    let source = data.chunk(offset..stream.elements.min(offset + CHUNK));
    let mut values = vec![0f32; source.len()];
    stream.map.values_into(offset, &source, &mut values);
    let mut error = MetricsAccumulator::default();
    match stream.form {
        Form::Values(DType::F32) => write_little_endian(DType::F32, &values, out),
        Form::Values(dtype) => values = rounded(dtype, &values, out),
        Form::Codes(dtype, storage) => {
            stream
                .map
                .stored_into(storage, offset, &source, out)
                .map_err(|source| Error::Math { tensor: stream.source.node.clone(), source })?;
            if dtype != DType::F32 {
                values = rounded(dtype, &values, &mut vec![0; values.len() * dtype.size()]);
            }
        }
    }
    error.update(&source, &values);
    Ok(error)
}

/// Write `values` in a narrower type; what stands there then, which is what the error counts.
fn rounded(dtype: DType, values: &[f32], out: &mut [u8]) -> Vec<f32> {
    write_little_endian(dtype, values, out);
    quant_math::data::LittleEndian::new(dtype, out).chunk(0..values.len()).into_owned()
}
