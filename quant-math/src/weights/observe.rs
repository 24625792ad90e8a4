//! One pass over the float weights: everything their map needs to know.

use std::ops::Range as Span;

use rayon::prelude::*;

use crate::plan::{Quantizer, Settings};
use crate::quantizers::{dorefa, naive, qat};
use crate::weights::{AffineMap, ChannelLayout, WeightMap};
use crate::{Affine, MathError, Range, Rounding, WeightData};

/// Elements that are worked on at a time. Fixed, so that no result depends on the number of threads.
pub const CHUNK: usize = 1 << 16;

/// Look at a whole weight tensor and make its map. Parallel; the same map at any number of threads.
///
/// `layout` says which elements share a scale; `settings.channel_axis` is not looked at. DoReFa has one map for the tensor.
///
/// # Errors
///
/// [`MathError::Bits`] for a width that the quantizer does not have, [`MathError::Layout`] where `layout` is not of `data`'s
/// length, [`MathError::Granularity`] for DoReFa with channels, [`MathError::Empty`] for a tensor without elements,
/// [`MathError::NonFinite`] with the first NaN or infinity, [`MathError::RangeOverflow`] where a scale does not exist.
pub fn observe<D: WeightData + ?Sized>(
    settings: &Settings,
    layout: ChannelLayout,
    data: &D,
) -> Result<WeightMap, MathError> {
    let grid = match settings.quantizer {
        Quantizer::Naive => Some(naive::weight_grid(settings.bits, settings.symmetric)?),
        Quantizer::Qat => Some(qat::weight_grid(settings.bits, settings.symmetric)?),
        Quantizer::DoReFa => None,
    };
    if grid.is_none() {
        dorefa::check_bits(settings.bits)?;
        if layout.channels != 1 {
            return Err(MathError::Granularity { what: "DoReFa", channels: layout.channels });
        }
    }
    if layout.len() != data.len() {
        return Err(MathError::Layout { expected: layout.len(), found: data.len() });
    }
    if layout.is_empty() {
        return Err(MathError::Empty);
    }
    let ranges = ranges(layout, data)?;
    if let Some(grid) = grid {
        let rounding = if settings.quantizer == Quantizer::Naive { settings.rounding } else { Rounding::Nearest };
        let affine = if settings.symmetric { Affine::symmetric } else { Affine::asymmetric };
        let channels = ranges.into_iter().map(|range| affine(range, grid)).collect::<Result<_, _>>()?;
        return AffineMap::new(layout, grid, rounding, channels).map(WeightMap::Affine);
    }
    let max_abs = ranges.iter().fold(0.0_f32, |max, range| max.max(range.max).max(-range.min));
    Ok(match settings.bits {
        _ if max_abs <= 0.0 => WeightMap::Unchanged,
        32 => WeightMap::Unchanged,
        1 => WeightMap::Sign { mean_abs: mean_abs(data) },
        bits => WeightMap::DoReFa { bits, max_abs_tanh: crate::tanh::tanh(max_abs) },
    })
}

/// The range of each channel.
fn ranges<D: WeightData + ?Sized>(layout: ChannelLayout, data: &D) -> Result<Vec<Range>, MathError> {
    // At most about an eighth of the tensor's size goes into accumulators, however many channels there are.
    let min_chunks = 1 + 16 * layout.channels / CHUNK;
    let seen = chunks(data.len())
        .with_min_len(min_chunks)
        .fold(|| Seen::new(layout.channels), |seen, span| seen.add(layout, span.start, &data.chunk(span)))
        .reduce_with(|a, b| a.merge(&b))
        .ok_or(MathError::Empty)?;
    match seen.bad {
        Some((index, value)) => Err(MathError::NonFinite { index, value: f64::from(value) }),
        None => Ok(seen.ranges),
    }
}

/// What was seen of some chunks. Smallest and largest are exact, so neither order nor grouping of the chunks matters.
struct Seen {
    ranges: Vec<Range>,
    /// The first number that is not finite.
    bad: Option<(usize, f32)>,
}

impl Seen {
    fn new(channels: usize) -> Self {
        Self { ranges: vec![Range { min: f32::INFINITY, max: f32::NEG_INFINITY }; channels], bad: None }
    }

    fn add(mut self, layout: ChannelLayout, offset: usize, chunk: &[f32]) -> Self {
        for (i, x) in chunk.iter().enumerate() {
            if !x.is_finite() {
                self.bad = first(self.bad, Some((offset + i, *x)));
                return self;
            }
            if let Some(range) = self.ranges.get_mut(layout.channel(offset + i)) {
                *range = range.merge(Range { min: *x, max: *x });
            }
        }
        self
    }

    fn merge(mut self, other: &Self) -> Self {
        self.ranges.iter_mut().zip(&other.ranges).for_each(|(a, b)| *a = a.merge(*b));
        self.bad = first(self.bad, other.bad);
        self
    }
}

fn first(a: Option<(usize, f32)>, b: Option<(usize, f32)>) -> Option<(usize, f32)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// `E|w|`, summed in float64: within each chunk in order, then chunk after chunk.
fn mean_abs<D: WeightData + ?Sized>(data: &D) -> f32 {
    let sums: Vec<f64> =
        chunks(data.len()).map(|span| data.chunk(span).iter().map(|x| f64::from(x.abs())).sum::<f64>()).collect();
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 elements")]
    let mean = sums.iter().sum::<f64>() / data.len() as f64;
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
    let mean = mean as f32;
    mean
}

/// The chunks of a tensor, in order.
pub(crate) fn chunks(len: usize) -> impl IndexedParallelIterator<Item = Span<usize>> {
    (0..len.div_ceil(CHUNK)).into_par_iter().map(move |i| i * CHUNK..len.min((i + 1) * CHUNK))
}
