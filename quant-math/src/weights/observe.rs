//! One pass over the float weights: everything their map needs to know.

use rayon::prelude::*;

use crate::data::PIECE;
use crate::extremes::Extremes;
use crate::plan::{Quantizer, Settings};
use crate::quantizers::{dorefa, lsq, naive, qat};
use crate::range::first_non_finite;
use crate::simd::{self, CHUNK, chunks};
use crate::tanh::tanh;
use crate::weights::spread::{asked, spread};
use crate::weights::{AffineMap, Biases, ChannelLayout, WeightMap, mean_abs, weight_ranges};
use crate::{Affine, MathError, Range, Rounding, WeightData};

/// Look at a whole weight tensor and make its map. Parallel; the same map at any number of threads.
///
/// `layout` says which elements share a scale; `settings.channel_axis` is not looked at. DoReFa has one map for the tensor, LSQ the steps
/// with which its training begins ([`lsq::initial_step`]).
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
    map_of(settings, layout, data, || weight_ranges(settings, layout, biases, data))
}

/// [`observe_beside`], and how far apart the ranges of `channels` are ([`channel_spread`](crate::weights::channel_spread)), in one pass: the
/// tensor's range is the smallest that holds those of all channels.
///
/// # Errors
///
/// Those of [`observe`].
pub fn observe_with_spread<D: WeightData + ?Sized>(
    settings: &Settings,
    layout: ChannelLayout,
    biases: &Biases,
    channels: Option<ChannelLayout>,
    data: &D,
) -> Result<(WeightMap, Option<f32>), MathError> {
    let mut found = None;
    let map = map_of(settings, layout, data, || {
        let channels = asked(settings, channels).filter(|all| layout.channels == 1 && layout.len() == all.len());
        let Some(channels) = channels else { return weight_ranges(settings, layout, biases, data) };
        let ranges = observe_ranges(channels, data)?;
        found = spread(&ranges);
        let mut whole: Vec<Range> = ranges.into_iter().reduce(Range::merge).into_iter().collect();
        biases.widen(settings, &mut whole);
        Ok(whole)
    })?;
    Ok((map, found))
}

/// The map from the ranges of each channel, which are asked for once the settings are known to be right.
fn map_of<D: WeightData + ?Sized>(
    settings: &Settings,
    layout: ChannelLayout,
    data: &D,
    ranges: impl FnOnce() -> Result<Vec<Range>, MathError>,
) -> Result<WeightMap, MathError> {
    let grid = match settings.quantizer {
        Quantizer::Naive => Some(naive::weight_grid(settings.bits, settings.symmetric)?),
        Quantizer::Qat => Some(qat::weight_grid(settings.bits, settings.symmetric)?),
        Quantizer::DoReFa => None,
        Quantizer::Lsq => return lsq::untrained(settings, layout, data),
    };
    if grid.is_none() {
        dorefa::check_bits(settings.bits)?;
        if layout.channels != 1 {
            return Err(MathError::Granularity { what: "DoReFa", channels: layout.channels });
        }
    }
    let ranges = ranges()?;
    if let Some(grid) = grid {
        let truncates = settings.quantizer == Quantizer::Naive && settings.rounding == Rounding::Truncate;
        let rounding = if truncates { Rounding::Truncate } else { Rounding::Nearest };
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
        let slots = self.signed_max.iter().zip(&self.max).zip(&self.min);
        let mut slots =
            slots.map(|((signed_max, max), min)| Extremes { signed_max: *signed_max, max: *max, min: *min });
        let mut channels = vec![Extremes::NONE; layout.channels];
        // Of a tile, each channel has a run of slots in every period; else it has one slot.
        let run = if layout.tile().is_some() { layout.inner } else { 1 };
        while slots.len() > 0 {
            for channel in &mut channels {
                *channel = slots.by_ref().take(run).fold(*channel, Extremes::merge);
            }
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
        let position = offset % tile;
        let (row, rest) = chunk.split_at(if position == 0 { 0 } else { (tile - position).min(chunk.len()) });
        let columns = (signed_max.get_mut(position..), max.get_mut(position..), min.get_mut(position..));
        let (Some(own_signed_max), Some(own_max), Some(own_min)) = columns else { return };
        add_row(row, own_signed_max, own_max, own_min);
        // Rows are looked at in blocks, so that the columns are read and written less often: first in order, a number of each cache line,
        // which is how memory is read quickly, then side by side.
        let (rows, last) = rest.split_at(rest.len() / tile * tile);
        for block in rows.chunks((PIECE / tile).max(1) * tile) {
            if rows.len() > PIECE {
                _ = std::hint::black_box(block.iter().step_by(LINE).fold(0, |bits, x| bits ^ x.to_bits()));
            }
            add_rows(block, tile, signed_max, max, min);
        }
        add_row(last, signed_max, max, min);
    }

    #[inline(always)]
    fn add_runs(self, layout: ChannelLayout, offset: usize, chunk: &[f32]) {
        let Self { signed_max, max, min } = self;
        let (mut rest, mut slot) = (chunk, layout.channel(offset));
        let mut length = layout.inner - offset % layout.inner;
        while !rest.is_empty() {
            let (run, tail) = rest.split_at(length.min(rest.len()));
            let columns = (signed_max.get_mut(slot), max.get_mut(slot), min.get_mut(slot));
            if let (Some(signed_max), Some(max), Some(min)) = columns {
                let seen = Extremes { signed_max: *signed_max, max: *max, min: *min };
                Extremes { signed_max: *signed_max, max: *max, min: *min } = seen.merge(Extremes::of(run));
            }
            rest = tail;
            slot = if slot + 1 < layout.channels { slot + 1 } else { 0 };
            length = layout.inner;
        }
    }
}

/// Elements of a cache line.
const LINE: usize = 16;

/// Columns that are looked at together: their extremes fit into the vector registers.
const COLUMNS: usize = 16;

/// Slices of their own as arguments: the compiler vectorizes where it knows that they do not overlap.
#[inline(always)]
fn add_row(row: &[f32], signed_max: &mut [i32], max: &mut [u32], min: &mut [u32]) {
    for (((x, signed_max), max), min) in row.iter().zip(signed_max).zip(max).zip(min) {
        let seen = Extremes { signed_max: *signed_max, max: *max, min: *min }.with(*x);
        Extremes { signed_max: *signed_max, max: *max, min: *min } = seen;
    }
}

/// [`add_row`] for rows of `tile` elements.
#[inline(always)]
fn add_rows(block: &[f32], tile: usize, signed_max: &mut [i32], max: &mut [u32], min: &mut [u32]) {
    let (signed_max, signed_max_rest) = signed_max.as_chunks_mut::<COLUMNS>();
    let (max, max_rest) = max.as_chunks_mut::<COLUMNS>();
    let (min, min_rest) = min.as_chunks_mut::<COLUMNS>();
    let whole = signed_max.len() * COLUMNS;
    for (group, ((signed_max, max), min)) in signed_max.iter_mut().zip(max).zip(min).enumerate() {
        let (mut a, mut b, mut c) = (*signed_max, *max, *min);
        for row in block.chunks_exact(tile) {
            let Some(row) = row.get(group * COLUMNS..).and_then(<[f32]>::first_chunk::<COLUMNS>) else { break };
            for (((x, a), b), c) in row.iter().zip(&mut a).zip(&mut b).zip(&mut c) {
                let seen = Extremes { signed_max: *a, max: *b, min: *c }.with(*x);
                Extremes { signed_max: *a, max: *b, min: *c } = seen;
            }
        }
        (*signed_max, *max, *min) = (a, b, c);
    }
    for row in block.chunks_exact(tile) {
        add_row(row.get(whole..).unwrap_or_default(), signed_max_rest, max_rest, min_rest);
    }
}
