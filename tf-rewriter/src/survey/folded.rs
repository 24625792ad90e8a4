//! A tensor in memory.

use std::borrow::Cow;

use quant_math::WeightData;

/// A tensor in memory, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Folded {
    pub(super) shape: Vec<u64>,
    pub(super) values: Vec<f32>,
}

impl WeightData for Folded {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn chunk(&self, span: std::ops::Range<usize>) -> Cow<'_, [f32]> {
        self.values.as_slice().chunk(span)
    }
}
