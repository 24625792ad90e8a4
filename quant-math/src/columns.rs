//! Loops whose parameters change from channel to channel.

use crate::layout::ChannelLayout;
use crate::simd;

/// The parameters of one channel; a kernel that has fewer leaves the rest 0.
pub(crate) type Parameters = [f32; 5];

/// The parameters of each channel of a layout, kept as the loops read them: one column per parameter, with an entry per
/// channel or, where channels alternate quickly, per position of the layout's tile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Columns {
    layout: ChannelLayout,
    // Zipped slices are what the compiler turns into vector loads; an array of arrays it does not.
    columns: [Vec<f32>; 5],
}

impl Columns {
    /// From the parameters of each channel; channels without any have zeros.
    pub(crate) fn new(layout: ChannelLayout, channels: &[Parameters]) -> Self {
        let column = |parameter: fn(&Parameters) -> f32| {
            let of = |channel: usize| channels.get(channel).map(parameter).unwrap_or_default();
            match layout.tile() {
                Some(tile) => (0..tile).map(|position| of(layout.channel(position))).collect(),
                None => (0..layout.channels).map(of).collect(),
            }
        };
        let columns = [
            column(|[a, ..]| *a),
            column(|[_, b, ..]| *b),
            column(|[_, _, c, ..]| *c),
            column(|[.., d, _]| *d),
            column(|[.., e]| *e),
        ];
        Self { layout, columns }
    }

    /// `update(parameters of element offset + i, src[i], &mut dst[i])`, as far as both reach; parallel where they are long.
    #[inline(always)]
    pub(crate) fn update<A: Copy + Sync, B: Send>(
        &self,
        offset: usize,
        src: &[A],
        dst: &mut [B],
        update: impl Fn(Parameters, A, &mut B) + Copy + Sync,
    ) {
        simd::zip(src, dst, |position, src, dst| {
            let offset = offset + position;
            simd::run(
                #[inline(always)]
                || self.update_here(offset, src, dst, update),
            );
        });
    }

    /// [`update`](Self::update) in this thread, with the instructions of the function it is inlined into. `dst` is at least as long as `src`.
    #[inline(always)]
    pub(crate) fn update_here<A: Copy, B>(
        &self,
        offset: usize,
        src: &[A],
        dst: &mut [B],
        update: impl Fn(Parameters, A, &mut B),
    ) {
        match self.layout.tile() {
            Some(tile) => self.update_tiled(tile, offset, src, dst, update),
            None => self.update_runs(offset, src, dst, update),
        }
    }

    #[inline(always)]
    fn update_tiled<A: Copy, B>(
        &self,
        tile: usize,
        offset: usize,
        src: &[A],
        dst: &mut [B],
        update: impl Fn(Parameters, A, &mut B),
    ) {
        let (mut src, mut dst, mut position) = (src, dst, offset % tile);
        while !src.is_empty() {
            let (piece, rest) = src.split_at((tile - position).min(src.len()));
            let (out, tail) = dst.split_at_mut(piece.len());
            let [p0, p1, p2, p3, p4] = self.columns.each_ref().map(|column| column.get(position..).unwrap_or_default());
            let parameters = p0.iter().zip(p1).zip(p2).zip(p3).zip(p4);
            for ((x, y), ((((p0, p1), p2), p3), p4)) in piece.iter().zip(out).zip(parameters) {
                update([*p0, *p1, *p2, *p3, *p4], *x, y);
            }
            (src, dst, position) = (rest, tail, 0);
        }
    }

    #[inline(always)]
    fn update_runs<A: Copy, B>(&self, offset: usize, src: &[A], dst: &mut [B], update: impl Fn(Parameters, A, &mut B)) {
        let parameters =
            |channel: usize| self.columns.each_ref().map(|column| column.get(channel).copied().unwrap_or_default());
        if self.layout.channels == 1 {
            let parameters = parameters(0);
            src.iter().zip(dst).for_each(|(x, y)| update(parameters, *x, y));
            return;
        }
        let inner = self.layout.inner.max(1);
        let (mut src, mut dst, mut offset) = (src, dst, offset);
        while !src.is_empty() {
            let parameters = parameters(self.layout.channel(offset));
            let (run, rest) = src.split_at((inner - offset % inner).min(src.len()));
            let (out, tail) = dst.split_at_mut(run.len());
            run.iter().zip(out).for_each(|(x, y)| update(parameters, *x, y));
            offset += run.len();
            (src, dst) = (rest, tail);
        }
    }
}
