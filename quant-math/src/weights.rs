//! Weights of any quantizer: observe the float values once, then map them, chunk by chunk.
//!
//! ```text
//! Settings + ChannelLayout + WeightData ──observe──▶ WeightMap ──▶ values (float32) or codes (int8)
//! ```

use crate::MathError;

/// A tensor in storage order, seen as `[outer, channels, inner]`: element `i` belongs to channel `(i / inner) % channels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub fn per_channel(shape: &[usize], axis: usize) -> Result<Self, MathError> {
        let (Some(before), Some(&channels), Some(after)) = (shape.get(..axis), shape.get(axis), shape.get(axis + 1..))
        else {
            return Err(MathError::Axis { axis, rank: shape.len() });
        };
        Ok(Self { outer: before.iter().product(), channels, inner: after.iter().product() })
    }

    /// The number of elements.
    pub fn len(self) -> usize {
        self.outer * self.channels * self.inner
    }

    /// Whether there are no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}
