//! Scale and zero point for each channel of a tensor.

use crate::affine::Steps;
use crate::columns::{Columns, Parameters};
use crate::layout::ChannelLayout;
use crate::metrics::Lanes;
use crate::{Affine, Grid, MathError, Rounding};

/// One affine map per channel, all on one grid.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineMap {
    layout: ChannelLayout,
    grid: Grid,
    rounding: Rounding,
    channels: Vec<Affine>,
    columns: Columns,
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
        let steps: Vec<Parameters> = channels.iter().map(|affine| affine.steps().into()).collect();
        Ok(Self { layout, grid, rounding, channels, columns: Columns::new(layout, &steps) })
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

    /// The clipped straight-through gradient: `dx[i] = g[i]` where the grid of its channel reaches `x[i]`, else 0
    /// ([`Affine::nudged_range`]). `offset` is the position of the first element in storage order; as far as all reach.
    pub fn gradient_into(&self, offset: usize, g: &[f32], x: &[f32], dx: &mut [f32]) {
        dx.iter_mut().zip(g).for_each(|(dx, g)| *dx = *g);
        self.columns.update(
            offset,
            x.get(..x.len().min(g.len())).unwrap_or_default(),
            dx,
            #[inline(always)]
            |columns, x, dx| {
                let steps = Steps::from(columns);
                if !(steps.value(steps.low) <= x && x <= steps.value(steps.high)) {
                    *dx = 0.0;
                }
            },
        );
    }

    pub(crate) fn values_into(&self, offset: usize, src: &[f32], dst: &mut [f32]) {
        self.map(offset, src, dst, Steps::value);
    }

    /// Add `reference`, which starts at element `offset`, and its values to `lanes`; `keep(position, values)` gets them, block by block.
    pub(crate) fn measure(
        &self,
        offset: usize,
        reference: &[f32],
        lanes: &mut Lanes,
        keep: &mut dyn FnMut(usize, &[f32]),
    ) {
        match self.rounding {
            Rounding::Nearest | Rounding::Reconstruct => lanes.add_made(
                reference,
                #[inline(always)]
                |at, x, y| self.columns.update_here(offset + at, x, y, Self::nearest(Steps::value)),
                keep,
            ),
            Rounding::Truncate => lanes.add_made(
                reference,
                #[inline(always)]
                |at, x, y| self.columns.update_here(offset + at, x, y, Self::truncate(Steps::value)),
                keep,
            ),
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
        self.map(
            offset,
            src,
            dst,
            #[inline(always)]
            |parameters, steps| code(parameters.code(steps)),
        );
    }

    /// `dst[i] = finish(parameters of element offset + i, its rounded and saturated steps)`.
    #[inline(always)]
    fn map<B: Send>(&self, offset: usize, src: &[f32], dst: &mut [B], finish: impl Fn(Steps, f32) -> B + Copy + Sync) {
        // One loop for each rounding, so that neither has a branch in it.
        match self.rounding {
            Rounding::Nearest | Rounding::Reconstruct => self.columns.update(offset, src, dst, Self::nearest(finish)),
            Rounding::Truncate => self.columns.update(offset, src, dst, Self::truncate(finish)),
        }
    }

    #[inline(always)]
    fn nearest<B>(finish: impl Fn(Steps, f32) -> B + Copy + Sync) -> impl Fn(Parameters, f32, &mut B) + Copy + Sync {
        #[inline(always)]
        move |columns, x, y| {
            let steps = Steps::from(columns);
            *y = finish(steps, steps.nearest(x));
        }
    }

    #[inline(always)]
    fn truncate<B>(finish: impl Fn(Steps, f32) -> B + Copy + Sync) -> impl Fn(Parameters, f32, &mut B) + Copy + Sync {
        #[inline(always)]
        move |columns, x, y| {
            let steps = Steps::from(columns);
            *y = finish(steps, steps.truncate(x));
        }
    }
}
