//! The ways in which the weights are quantized, and what must come out.

use std::fmt::Write as _;

use ndarray::ArrayD;
use quant_math::Quantizer;
use quant_math::config::ConfigList;
use quant_math::kernels::tensorflow::{
    NudgedRange, fake_quant_with_min_max_vars, fake_quant_with_min_max_vars_per_channel,
};
use quant_math::plan::Settings;
use quant_math::weights::fake_quant_view;

/// Weights of every default op with 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) quantizer: Quantizer,
    pub(crate) per_channel: bool,
    pub(crate) symmetric: bool,
}

pub(crate) const WAYS: [Way; 4] = [
    Way { quantizer: Quantizer::Naive, per_channel: false, symmetric: true },
    Way { quantizer: Quantizer::Qat, per_channel: true, symmetric: true },
    Way { quantizer: Quantizer::DoReFa, per_channel: false, symmetric: true },
    Way { quantizer: Quantizer::Qat, per_channel: true, symmetric: false },
];

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let grid = if self.symmetric { "" } else { " affine" };
        let channels = if self.per_channel { " per channel" } else { "" };
        write!(f, "{}{grid}{channels}", self.quantizer)
    }
}

impl Way {
    pub(crate) fn config(self) -> ConfigList {
        let mut entry = String::from("quant_types: ['weight'], quant_bits: 8, op_types: 'default'");
        write!(entry, ", per_channel: {}", self.per_channel).unwrap();
        if !self.symmetric {
            entry += ", symmetric: false";
        }
        let text = format!("[{{{entry}}}]");
        ConfigList::parse(&text, Some(self.quantizer)).unwrap()
    }

    /// The reference values of an op's weights.
    pub(crate) fn reference(self, weights: &ArrayD<f32>, op_type: &str) -> ArrayD<f32> {
        let channels = channels(weights.shape(), op_type);
        let rows = weights.to_shape((weights.len() / channels, channels)).unwrap().into_dyn();
        let settings = Settings { channel_axis: self.per_channel.then_some(1), ..Settings::new(self.quantizer, 8) };
        let settings = Settings { symmetric: self.symmetric, ..settings };
        let values = fake_quant_view(&settings, &rows.view()).unwrap();
        if self.quantizer != Quantizer::DoReFa && self.symmetric {
            assert!(values == by_hand(rows.into_owned(), self.per_channel), "quant-math differs from the formula");
        }
        values.into_shape_with_order(weights.shape()).unwrap()
    }

    /// What TensorFlow's FakeQuant op makes of an op's weights.
    pub(crate) fn fake_quant(self, weights: &ArrayD<f32>, op_type: &str) -> ArrayD<f32> {
        let x = weights.as_slice().unwrap();
        let mut y = vec![0.0; x.len()];
        let range = |values: &mut dyn Iterator<Item = &f32>| {
            let (min, max) = values.fold((0.0_f32, 0.0_f32), |(min, max), v| (min.min(*v), max.max(*v)));
            let m = max.max(-min);
            let (min, max) = if self.symmetric { (-m, m) } else { (min, max) };
            NudgedRange::new(min, max, 8, self.symmetric).unwrap()
        };
        if self.per_channel {
            let channels = channels(weights.shape(), op_type);
            let ranges: Vec<_> = (0..channels).map(|c| range(&mut x.iter().skip(c).step_by(channels))).collect();
            fake_quant_with_min_max_vars_per_channel(&ranges, x, &mut y);
        } else {
            fake_quant_with_min_max_vars(range(&mut x.iter()), x, &mut y);
        }
        ArrayD::from_shape_vec(weights.shape(), y).unwrap()
    }
}

/// The last axis; of a depthwise convolution the last two.
fn channels(shape: &[usize], op_type: &str) -> usize {
    let axes = if op_type == "DepthwiseConv2dNative" { 2 } else { 1 };
    shape.iter().rev().take(axes).product()
}

/// Symmetric 8 bits written down once more: `scale = max|w| / 127`, `rne(w / scale) · scale`, over each column of a matrix or all of it.
fn by_hand(mut rows: ArrayD<f32>, per_channel: bool) -> ArrayD<f32> {
    let columns = if per_channel { rows.shape()[1] } else { 1 };
    let mut largest = vec![0.0_f32; columns];
    for (index, value) in rows.iter().enumerate() {
        largest[index % columns] = largest[index % columns].max(value.abs());
    }
    for (index, value) in rows.iter_mut().enumerate() {
        let scale = largest[index % columns] / 127.0;
        *value = (*value / scale).round_ties_even() * scale;
    }
    rows
}
