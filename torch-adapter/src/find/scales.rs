//! Whether a weight has a scale for each of its channels.

use quant_math::config::PerChannel;

use super::model::Model;
use crate::torchscript::heap::TensorId;

impl Model {
    /// How many scales a tensor has where there is one for each index of `axis`.
    pub(crate) fn scales(&self, tensor: TensorId, axis: usize) -> u64 {
        self.heap().tensor(tensor).and_then(|facts| facts.shape.get(axis)).copied().unwrap_or(1)
    }

    /// Whether a tensor has a scale for each index of `axis`.
    pub(crate) fn chooses(&self, per_channel: PerChannel, tensor: TensorId, axis: usize) -> bool {
        let Some(shape) = self.heap().tensor(tensor).map(|facts| &facts.shape) else {
            return per_channel == PerChannel::Always;
        };
        let elements = shape.iter().fold(1u64, |elements, dim| elements.saturating_mul(*dim));
        per_channel.chooses(elements, self.scales(tensor, axis))
    }
}
