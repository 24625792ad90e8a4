//! Scale and zero point for each channel of a tensor.

use crate::weights::ChannelLayout;
use crate::{Affine, Grid, MathError, Rounding};

/// One affine map per channel, all on one grid.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineMap {
    layout: ChannelLayout,
    grid: Grid,
    rounding: Rounding,
    channels: Vec<Affine>,
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
        Ok(Self { layout, grid, rounding, channels })
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
        self.runs(offset, src, dst, |affine, x| affine.dequantize(affine.quantize_with(self.rounding, x)));
    }

    pub(crate) fn codes_into<C>(&self, offset: usize, src: &[f32], dst: &mut [C], code: impl Fn(i32) -> C) {
        self.runs(offset, src, dst, |affine, x| code(affine.quantize_with(self.rounding, x)));
    }

    /// Map the elements from `offset` on, one run of neighbours of the same channel after the other.
    fn runs<A: Copy, B>(&self, offset: usize, src: &[A], dst: &mut [B], map: impl Fn(Affine, A) -> B) {
        let inner = self.layout.inner;
        let (mut src, mut dst, mut offset) = (src, dst, offset);
        while let Some(affine) = self.channels.get(self.layout.channel(offset)) {
            let run = (inner - offset % inner).min(src.len()).min(dst.len());
            if run == 0 {
                break;
            }
            let (from, rest) = src.split_at(run);
            let (to, tail) = dst.split_at_mut(run);
            from.iter().zip(to).for_each(|(x, y)| *y = map(*affine, *x));
            (src, dst, offset) = (rest, tail, offset + run);
        }
    }
}
