//! Where the channels of a tensor lie.

use crate::MathError;

/// A tensor in storage order, seen as `[outer, channels, inner]`: element `i` belongs to channel `(i / inner) % channels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelLayout {
    /// Blocks of all channels.
    pub outer: usize,
    /// Channels; 1 for per-tensor.
    pub channels: usize,
    /// Neighbouring elements of one channel.
    pub inner: usize,
}

impl ChannelLayout {
    /// One channel: the whole tensor.
    pub fn per_tensor(len: usize) -> Self {
        Self { outer: 1, channels: 1, inner: len }
    }

    /// A row-major tensor of `shape`, one channel per index of `axis`.
    ///
    /// # Errors
    /// [`MathError::Axis`] for an axis that the shape does not have.
    pub fn per_channel(shape: &[usize], axis: usize) -> Result<Self, MathError> {
        let (Some(before), Some(&channels), Some(after)) = (shape.get(..axis), shape.get(axis), shape.get(axis + 1..))
        else {
            return Err(MathError::Axis { axis, rank: shape.len() });
        };
        Ok(Self { outer: product(before), channels, inner: product(after) })
    }

    /// The number of elements; `usize::MAX` where that is too small for it.
    pub fn len(self) -> usize {
        product(&[self.outer, self.channels, self.inner])
    }

    /// Whether there are no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Elements after which the parameters repeat, where a loop should read them side by side instead of run by run: short
    /// runs that come again and again. At least 512, a multiple of `channels · inner`.
    pub(crate) fn tile(self) -> Option<usize> {
        let short = self.channels > 1 && self.inner < 32 && self.outer >= 4 && !self.is_empty();
        short.then(|| {
            let period = self.channels * self.inner;
            period * 512_usize.div_ceil(period)
        })
    }

    /// The channel of element `index`; 0 in an empty tensor.
    pub fn channel(self, index: usize) -> usize {
        index.checked_div(self.inner).and_then(|block| block.checked_rem(self.channels)).unwrap_or(0)
    }
}

/// Saturating, but 0 where a factor is 0, whatever the others are.
fn product(sizes: &[usize]) -> usize {
    if sizes.contains(&0) { 0 } else { sizes.iter().fold(1, |product, size| product.saturating_mul(*size)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_follow_the_axis() {
        let shape = [2, 3, 4];
        for axis in 0..3 {
            let layout = ChannelLayout::per_channel(&shape, axis).unwrap();
            assert_eq!(layout.len(), 24);
            for index in 0..24 {
                let at = [index / 12, index / 4 % 3, index % 4];
                assert_eq!(layout.channel(index), at[axis], "axis {axis}, element {index}");
            }
        }
        assert_eq!(ChannelLayout::per_channel(&shape, 3).unwrap_err().code(), "M0106");
        assert_eq!(ChannelLayout::per_channel(&[], usize::MAX - 1).unwrap_err().code(), "M0106");
    }

    #[test]
    fn sizes_neither_wrap_nor_panic() {
        let huge = ChannelLayout::per_channel(&[usize::MAX, usize::MAX, 3], 1).unwrap();
        assert_eq!(huge.len(), usize::MAX);
        let empty = ChannelLayout::per_channel(&[usize::MAX, usize::MAX, 0], 1).unwrap();
        assert!(empty.is_empty());
        assert_eq!(empty.channel(7), 0);
    }
}
