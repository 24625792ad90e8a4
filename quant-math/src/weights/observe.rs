//! One pass over the float weights: everything their map needs to know.

use rayon::prelude::*;

use crate::extremes::Extremes;
use crate::plan::{Quantizer, Settings};
use crate::quantizers::{dorefa, naive, qat};
use crate::range::first_non_finite;
use crate::simd::{self, CHUNK, chunks};
use crate::tanh::tanh;
use crate::weights::{AffineMap, Biases, ChannelLayout, WeightMap, mean_abs, weight_ranges};
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
    observe_beside(settings, layout, &Biases::default(), data)
}

/// [`observe`], with what is added to each channel of what the weight makes: a tiny channel has a least scale then, see [`Biases`].
///
/// # Errors
///
/// Those of [`observe`].
pub fn observe_beside<D: WeightData + ?Sized>(
    settings: &Settings,
    layout: ChannelLayout,
    biases: &Biases,
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
    let ranges = weight_ranges(settings, layout, biases, data)?;
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
        .fold(
            || Seen::new(slots),
            |mut seen, span| {
                data.pieces(span, &mut |at, piece| seen.add(layout, at, piece));
                seen
            },
        )
        .reduce_with(|a, b| a.merge(&b))
        .ok_or(MathError::Empty)?;
    seen.ranges(layout).ok_or_else(|| first_non_finite(data))
}

/// [`Extremes`] of each slot, in columns: of each channel, or of each position of the layout's tile.
struct Seen {
    signed_max: Vec<i32>,
    max: Vec<u32>,
    min: Vec<u32>,
}

impl Seen {
    fn new(slots: usize) -> Self {
        let Extremes { signed_max, max, min } = Extremes::NONE;
        Self { signed_max: vec![signed_max; slots], max: vec![max; slots], min: vec![min; slots] }
    }

    fn add(&mut self, layout: ChannelLayout, offset: usize, chunk: &[f32]) {
        let slots = Slots { signed_max: &mut self.signed_max, max: &mut self.max, min: &mut self.min };
        simd::run(
            #[inline(always)]
            || match layout.tile() {
                Some(tile) => slots.add_tiled(tile, offset, chunk),
                None => slots.add_runs(layout, offset, chunk),
            },
        );
    }

    fn merge(mut self, other: &Self) -> Self {
        self.signed_max.iter_mut().zip(&other.signed_max).for_each(|(a, b)| *a = (*a).max(*b));
        self.max.iter_mut().zip(&other.max).for_each(|(a, b)| *a = (*a).max(*b));
        self.min.iter_mut().zip(&other.min).for_each(|(a, b)| *a = (*a).min(*b));
        self
    }

    /// The range of each channel; `None` where something was not finite.
    fn ranges(&self, layout: ChannelLayout) -> Option<Vec<Range>> {
        let mut channels = vec![Extremes::NONE; layout.channels];
        let tiled = layout.tile().is_some();
        for (slot, ((signed_max, max), min)) in self.signed_max.iter().zip(&self.max).zip(&self.min).enumerate() {
            let channel = channels.get_mut(if tiled { layout.channel(slot) } else { slot })?;
            *channel = channel.merge(Extremes { signed_max: *signed_max, max: *max, min: *min });
        }
        channels.into_iter().map(Range::from_extremes).collect()
    }
}

/// The columns of [`Seen`] as slices of their own: behind a reference to vectors the compiler cannot tell that they do not
/// overlap, and does not vectorize.
struct Slots<'a> {
    signed_max: &'a mut [i32],
    max: &'a mut [u32],
    min: &'a mut [u32],
}

impl Slots<'_> {
    #[inline(always)]
    fn add_tiled(self, tile: usize, offset: usize, chunk: &[f32]) {
        let Self { signed_max, max, min } = self;
        let (mut rest, mut position) = (chunk, offset % tile);
        // Row after row: two at a time would halve the work on the columns, but the memory would no longer be read in order,
        // which costs more than that.
        while !rest.is_empty() {
            let (row, tail) = rest.split_at((tile - position).min(rest.len()));
            let columns = (signed_max.get_mut(position..), max.get_mut(position..), min.get_mut(position..));
            let (Some(signed_max), Some(max), Some(min)) = columns else { return };
            for (((x, signed_max), max), min) in row.iter().zip(signed_max).zip(max).zip(min) {
                let bits = x.to_bits();
                *signed_max = (*signed_max).max(bits.cast_signed());
                *max = (*max).max(bits);
                *min = (*min).min(bits);
            }
            (rest, position) = (tail, 0);
        }
    }

    #[inline(always)]
    fn add_runs(self, layout: ChannelLayout, offset: usize, chunk: &[f32]) {
        let Self { signed_max, max, min } = self;
        let (mut rest, mut offset) = (chunk, offset);
        while !rest.is_empty() {
            let (run, tail) = rest.split_at((layout.inner - offset % layout.inner).min(rest.len()));
            let slot = layout.channel(offset);
            let columns = (signed_max.get_mut(slot), max.get_mut(slot), min.get_mut(slot));
            if let (Some(signed_max), Some(max), Some(min)) = columns {
                let seen = Extremes { signed_max: *signed_max, max: *max, min: *min };
                Extremes { signed_max: *signed_max, max: *max, min: *min } = seen.merge(Extremes::of(run));
            }
            offset += run.len();
            rest = tail;
        }
    }
}
