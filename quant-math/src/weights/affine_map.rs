//! Scale and zero point for each channel of a tensor.

use crate::affine::Steps;
use crate::simd;
use crate::weights::ChannelLayout;
use crate::{Affine, Grid, MathError, Rounding};

/// One affine map per channel, all on one grid.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineMap {
    layout: ChannelLayout,
    grid: Grid,
    rounding: Rounding,
    channels: Vec<Affine>,
    /// What the loops read, per channel or, where the layout has a tile, per position in it.
    slots: Slots,
}

/// Columns of [`Steps`], so that neighbouring elements read neighbouring numbers.
#[derive(Debug, Clone, PartialEq)]
struct Slots {
    scale: Vec<f32>,
    low: Vec<f32>,
    high: Vec<f32>,
    zero_point: Vec<f32>,
}

impl AffineMap {
    /// A map from the parameters of each channel of `layout`, which all lie on `grid`.
    ///
    /// # Errors
    ///
    /// [`MathError::Empty`] for a layout without elements, [`MathError::Layout`] where `channels` has another length than
    /// the layout, or another grid.
    pub fn new(
        layout: ChannelLayout,
        grid: Grid,
        rounding: Rounding,
        channels: Vec<Affine>,
    ) -> Result<Self, MathError> {
        if layout.is_empty() {
            return Err(MathError::Empty);
        }
        let found = channels.iter().filter(|affine| affine.grid() == grid).count();
        if found != layout.channels || channels.len() != found {
            return Err(MathError::Layout { expected: layout.channels, found });
        }
        let slots = match layout.tile() {
            Some(tile) => Slots::new((0..tile).filter_map(|i| channels.get(layout.channel(i)))),
            None => Slots::new(channels.iter()),
        };
        Ok(Self { layout, grid, rounding, channels, slots })
    }

    /// Where the channels lie.
    pub fn layout(&self) -> ChannelLayout {
        self.layout
    }

    /// The codes there are.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// How real numbers become codes.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// The parameters of each channel.
    pub fn channels(&self) -> &[Affine] {
        &self.channels
    }

    /// The scale of each channel.
    pub fn scale(&self) -> Vec<f32> {
        self.channels.iter().map(|affine| affine.scale()).collect()
    }

    /// The zero point of each channel, on the grid.
    pub fn zero_point(&self) -> Vec<i32> {
        self.channels.iter().map(|affine| affine.zero_point()).collect()
    }

    /// What is subtracted from a code before it is stored in 8 bits: 128 for the unsigned grid of 8 bits, else 0.
    pub(crate) fn stored_offset(&self) -> i32 {
        (self.grid.quant_max() - i32::from(i8::MAX)).max(0)
    }

    pub(crate) fn values_into(&self, offset: usize, src: &[f32], dst: &mut [f32]) {
        match self.rounding {
            Rounding::Nearest => {
                self.map(
                    offset,
                    src,
                    dst,
                    #[inline(always)]
                    |steps, x| steps.value(steps.nearest(x)),
                );
            }
            Rounding::Truncate => {
                self.map(
                    offset,
                    src,
                    dst,
                    #[inline(always)]
                    |steps, x| steps.value(steps.truncate(x)),
                );
            }
        }
    }

    #[inline(always)]
    pub(crate) fn codes_into<C: Send>(
        &self,
        offset: usize,
        src: &[f32],
        dst: &mut [C],
        code: impl Fn(i32) -> C + Copy + Sync,
    ) {
        match self.rounding {
            Rounding::Nearest => {
                self.map(
                    offset,
                    src,
                    dst,
                    #[inline(always)]
                    |steps, x| code(steps.code(steps.nearest(x))),
                );
            }
            Rounding::Truncate => {
                self.map(
                    offset,
                    src,
                    dst,
                    #[inline(always)]
                    |steps, x| code(steps.code(steps.truncate(x))),
                );
            }
        }
    }

    /// `dst[i] = map(parameters of element offset + i, src[i])`.
    #[inline(always)]
    fn map<B: Send>(&self, offset: usize, src: &[f32], dst: &mut [B], map: impl Fn(Steps, f32) -> B + Copy + Sync) {
        simd::zip(src, dst, |position, src, dst| {
            let offset = offset + position;
            simd::run(
                #[inline(always)]
                || match self.layout.tile() {
                    Some(tile) => self.map_tiled(tile, offset, src, dst, map),
                    None => self.map_runs(offset, src, dst, map),
                },
            );
        });
    }

    #[inline(always)]
    fn map_tiled<B>(&self, tile: usize, offset: usize, src: &[f32], dst: &mut [B], map: impl Fn(Steps, f32) -> B) {
        let Slots { scale, low, high, zero_point } = &self.slots;
        let (mut src, mut dst, mut position) = (src, dst, offset % tile);
        while !src.is_empty() {
            let (piece, rest) = src.split_at((tile - position).min(src.len()));
            let (out, tail) = dst.split_at_mut(piece.len());
            let columns = [scale, low, high, zero_point].map(|column| column.get(position..).unwrap_or_default());
            let [scale, low, high, zero_point] = columns;
            let parameters = scale.iter().zip(low).zip(high).zip(zero_point);
            for ((x, y), (((scale, low), high), zero_point)) in piece.iter().zip(out).zip(parameters) {
                *y = map(Steps { scale: *scale, low: *low, high: *high, zero_point: *zero_point }, *x);
            }
            (src, dst, position) = (rest, tail, 0);
        }
    }

    #[inline(always)]
    fn map_runs<B>(&self, offset: usize, src: &[f32], dst: &mut [B], map: impl Fn(Steps, f32) -> B) {
        let inner = self.layout.inner;
        let (mut src, mut dst, mut offset) = (src, dst, offset);
        while !src.is_empty() {
            let Some(affine) = self.channels.get(self.layout.channel(offset)) else { return };
            let steps = affine.steps();
            let (run, rest) = src.split_at((inner - offset % inner).min(src.len()));
            let (out, tail) = dst.split_at_mut(run.len());
            run.iter().zip(out).for_each(|(x, y)| *y = map(steps, *x));
            offset += run.len();
            (src, dst) = (rest, tail);
        }
    }
}

impl Slots {
    fn new<'a>(channels: impl Iterator<Item = &'a Affine>) -> Self {
        let steps: Vec<Steps> = channels.map(|affine| affine.steps()).collect();
        Self {
            scale: steps.iter().map(|s| s.scale).collect(),
            low: steps.iter().map(|s| s.low).collect(),
            high: steps.iter().map(|s| s.high).collect(),
            zero_point: steps.iter().map(|s| s.zero_point).collect(),
        }
    }
}
