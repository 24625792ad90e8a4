//! One pass over the float weights: everything their map needs to know.

use rayon::prelude::*;

use crate::ordered::Extremes;
use crate::plan::{Quantizer, Settings};
use crate::quantizers::{dorefa, naive, qat};
use crate::range::first_non_finite;
use crate::simd::{self, CHUNK, chunks};
use crate::tanh::tanh;
use crate::weights::{AbsSum, AffineMap, ChannelLayout, WeightMap};
use crate::{Affine, MathError, Range, Rounding, WeightData};

/// Look at a whole weight tensor and make its map. Parallel; the same map at any number of threads.
///
/// `layout` says which elements share a scale; `settings.channel_axis` is not looked at. DoReFa has one map for the tensor.
/// `settings.rounding` counts for the Naive quantizer alone; the others round to nearest even.
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
    let ranges = observe_ranges(layout, data)?;
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
        1 => WeightMap::Sign { mean_abs: AbsSum::of(data).mean(data.len()) },
        // `tanh` is odd and monotone, so the largest value has the largest tangent.
        bits => WeightMap::DoReFa { bits, max_abs_tanh: tanh(max_abs) },
    })
}

/// The range of each channel of a tensor. Parallel; the same ranges at any number of threads.
///
/// # Errors
///
/// [`MathError::Layout`] where `layout` is not of `data`'s length, [`MathError::Empty`] for a tensor without elements,
/// [`MathError::NonFinite`] with the first NaN or infinity.
pub fn observe_ranges<D: WeightData + ?Sized>(layout: ChannelLayout, data: &D) -> Result<Vec<Range>, MathError> {
    if layout.len() != data.len() {
        return Err(MathError::Layout { expected: layout.len(), found: data.len() });
    }
    if layout.is_empty() {
        return Err(MathError::Empty);
    }
    let slots = layout.tile().unwrap_or(layout.channels);
    // At most about an eighth of the tensor's size goes into accumulators, however many channels there are.
    let min_chunks = 1 + slots.saturating_mul(16) / CHUNK;
    let seen = chunks(data.len())
        .with_min_len(min_chunks)
        .fold(|| Seen::new(slots), |seen, span| seen.add(layout, span.start, &data.chunk(span)))
        .reduce_with(|a, b| a.merge(&b))
        .ok_or(MathError::Empty)?;
    seen.ranges(layout).ok_or_else(|| first_non_finite(data))
}

/// Smallest and largest of each slot: of each channel, or of each position of the layout's tile.
struct Seen {
    min: Vec<i32>,
    max: Vec<i32>,
}

impl Seen {
    fn new(slots: usize) -> Self {
        Self { min: vec![Extremes::NONE.min; slots], max: vec![Extremes::NONE.max; slots] }
    }

    fn add(mut self, layout: ChannelLayout, offset: usize, chunk: &[f32]) -> Self {
        simd::run(
            #[inline(always)]
            || match layout.tile() {
                Some(tile) => self.add_tiled(tile, offset, chunk),
                None => self.add_runs(layout, offset, chunk),
            },
        );
        self
    }

    #[inline(always)]
    fn add_tiled(&mut self, tile: usize, offset: usize, chunk: &[f32]) {
        let mut rest = chunk;
        let mut position = offset % tile;
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((tile - position).min(rest.len()));
            let min = self.min.get_mut(position..).unwrap_or_default();
            let max = self.max.get_mut(position..).unwrap_or_default();
            for ((x, min), max) in piece.iter().zip(min).zip(max) {
                Extremes { min: *min, max: *max } = Extremes { min: *min, max: *max }.with(*x);
            }
            (rest, position) = (tail, 0);
        }
    }

    #[inline(always)]
    fn add_runs(&mut self, layout: ChannelLayout, offset: usize, chunk: &[f32]) {
        let (mut rest, mut offset) = (chunk, offset);
        while !rest.is_empty() {
            let (run, tail) = rest.split_at((layout.inner - offset % layout.inner).min(rest.len()));
            let slot = layout.channel(offset);
            if let (Some(min), Some(max)) = (self.min.get_mut(slot), self.max.get_mut(slot)) {
                Extremes { min: *min, max: *max } = Extremes { min: *min, max: *max }.merge(Extremes::of(run));
            }
            offset += run.len();
            rest = tail;
        }
    }

    fn merge(mut self, other: &Self) -> Self {
        self.min.iter_mut().zip(&other.min).for_each(|(a, b)| *a = (*a).min(*b));
        self.max.iter_mut().zip(&other.max).for_each(|(a, b)| *a = (*a).max(*b));
        self
    }

    /// The range of each channel; `None` where something was not finite.
    fn ranges(&self, layout: ChannelLayout) -> Option<Vec<Range>> {
        let mut channels = vec![Extremes::NONE; layout.channels];
        let tiled = layout.tile().is_some();
        for (slot, (min, max)) in self.min.iter().zip(&self.max).enumerate() {
            let channel = channels.get_mut(if tiled { layout.channel(slot) } else { slot })?;
            *channel = channel.merge(Extremes { min: *min, max: *max });
        }
        channels.into_iter().map(Range::from_extremes).collect()
    }
}
