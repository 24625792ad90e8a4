//! Quantized weights a chunk at a time: what they cost, and the bytes in which they are stored.

use std::ops::Range as Span;

use rayon::prelude::*;

use crate::data::{round_to, write_little_endian};
use crate::metrics::{Lanes, Metrics, MetricsAccumulator};
use crate::simd::chunks;
use crate::weights::{Storage, WeightMap};
use crate::{DType, MathError, WeightData};

/// Elements whose values are made, measured and stored before the next: all of it stays in the nearest cache.
const BLOCK: usize = 1024;

/// How far the values of `map` are from `data`. Parallel; the same bits at any number of threads.
pub fn measure<D: WeightData + ?Sized>(map: &WeightMap, data: &D) -> Metrics {
    let of_chunk = |span: Span<usize>| {
        let mut lanes = Lanes::default();
        data.pieces(span, &mut |at, piece| measure_piece(map, at, piece, &mut lanes, &mut |_, _| {}));
        lanes.sums()
    };
    let parts: Vec<MetricsAccumulator> = chunks(data.len()).map(of_chunk).collect();
    let mut sums = MetricsAccumulator::default();
    for part in &parts {
        sums.merge(part);
    }
    sums.finish()
}

/// What is stored of each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The quantized value, in this type.
    Values(DType),
    /// The code of a value that is dequantized to this type, stored so.
    Codes(DType, Storage),
}

impl Form {
    /// Bytes of so many elements.
    pub fn bytes(self, elements: usize) -> usize {
        match self {
            Self::Values(dtype) => elements.saturating_mul(dtype.size()),
            Self::Codes(_, storage) => storage.bytes(elements),
        }
    }

    /// The type of the values in the end, to which they are rounded.
    fn dtype(self) -> DType {
        match self {
            Self::Values(dtype) | Self::Codes(dtype, _) => dtype,
        }
    }
}

impl WeightMap {
    /// Store the elements `span` of `data`, at most a [`CHUNK`](crate::weights::CHUNK) that begins where one does, in `form` in `out`, which
    /// is as long as [`Form::bytes`] says; how far what is stored is from `data`.
    ///
    /// # Errors
    ///
    /// Those of [`stored_into`](Self::stored_into), for codes.
    pub fn store<D: WeightData + ?Sized>(
        &self,
        form: Form,
        data: &D,
        span: Span<usize>,
        out: &mut [u8],
    ) -> Result<MetricsAccumulator, MathError> {
        let mut lanes = Lanes::default();
        let mut result = Ok(());
        let start = span.start;
        data.pieces(span, &mut |first, piece| {
            let place = |at: usize, len: usize| {
                let from = form.bytes(first + at - start);
                from..from + form.bytes(len)
            };
            if form == Form::Values(DType::F32) {
                measure_piece(self, first, piece, &mut lanes, &mut |at, values| {
                    let out = out.get_mut(place(at, values.len())).unwrap_or_default();
                    write_little_endian(DType::F32, values, out);
                });
                return;
            }
            let mut values = [0.0; BLOCK];
            for (number, reference) in piece.chunks(BLOCK).enumerate() {
                let at = number * BLOCK;
                let values = values.get_mut(..reference.len()).unwrap_or_default();
                self.values_into(first + at, reference, values);
                round_to(form.dtype(), values);
                lanes.add(reference, values);
                let out = out.get_mut(place(at, reference.len())).unwrap_or_default();
                match form {
                    Form::Values(dtype) => write_little_endian(dtype, values, out),
                    Form::Codes(_, storage) => {
                        result = result.clone().and(self.stored_into(storage, first + at, reference, out));
                    }
                }
            }
        });
        result.map(|()| lanes.sums())
    }
}

/// Add a piece that starts at element `offset` and its values to `lanes`; `keep(position, values)` gets them, block by block.
fn measure_piece(
    map: &WeightMap,
    offset: usize,
    reference: &[f32],
    lanes: &mut Lanes,
    keep: &mut dyn FnMut(usize, &[f32]),
) {
    if let WeightMap::Affine(map) = map {
        return map.measure(offset, reference, lanes, keep);
    }
    let mut values = [0.0; BLOCK];
    for (number, reference) in reference.chunks(BLOCK).enumerate() {
        let values = values.get_mut(..reference.len()).unwrap_or_default();
        map.values_into(offset + number * BLOCK, reference, values);
        lanes.add(reference, values);
        keep(number * BLOCK, values);
    }
}
