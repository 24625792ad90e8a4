//! Batch normalizations in inference mode, taken into the weight and bias of the layer before them.
//!
//! Source: Jacob et al. 2018, equation 14; PyTorch 2.9.1, `torch/nn/utils/fusion.py`, `fuse_conv_bn_weights`; TensorFlow 1.15,
//! `tf.contrib.quantize`, `fold_batch_norms.py`:
//!
//! ```text
//! y = γ·(x − μ)/√(σ² + ε) + β = s·x + t        s = γ/√(σ² + ε)        t = β − μ·s
//! x = w∗a + b                                  w′ = w·s               b′ = b·s + t
//! ```
//!
//! All of it is computed in float64 and rounded once, when it is stored.

mod choose;
mod record;

use std::borrow::Cow;
use std::ops::Range as Span;

use half::{bf16, f16};

use crate::data::{DType, PIECE, WeightData, narrow};
use crate::layout::ChannelLayout;

pub use choose::refuses;
pub use record::{Fold, FoldDecision, Folded, layers, step};

/// `scale·x + shift` for each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// A factor for each channel.
    pub scale: Vec<f64>,
    /// What is added to each channel.
    pub shift: Vec<f64>,
}

impl Linear {
    /// What leaves everything as it is.
    pub fn identity(channels: usize) -> Self {
        Self { scale: vec![1.0; channels], shift: vec![0.0; channels] }
    }

    /// Multiply by `factors` afterwards, one for each channel.
    pub fn times(&mut self, factors: &[f64]) {
        self.scale.iter_mut().zip(factors).for_each(|(scale, factor)| *scale *= factor);
        self.shift.iter_mut().zip(factors).for_each(|(shift, factor)| *shift *= factor);
    }

    /// Add `terms` afterwards, one for each channel.
    pub fn plus(&mut self, terms: &[f64]) {
        self.shift.iter_mut().zip(terms).for_each(|(shift, term)| *shift += term);
    }

    /// Normalize afterwards, by γ, β, μ, σ² of each channel and ε.
    pub fn normalize(&mut self, [gamma, beta, mean, variance]: [&[f64]; 4], epsilon: f64) {
        let scale: Vec<f64> = gamma.iter().zip(variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
        let shift: Vec<f64> = beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        self.times(&scale);
        self.plus(&shift);
    }

    /// Whether a layer can take it: every number is finite.
    pub fn is_finite(&self) -> bool {
        self.scale.iter().chain(&self.shift).all(|x| x.is_finite())
    }
}

/// Factors for the channels of a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// Where the channels lie.
    pub layout: ChannelLayout,
    /// One for each channel.
    pub factors: Vec<f64>,
}

/// A weight whose elements are multiplied by the factors of their channels while they are read: little-endian bytes, aligned or not. Each
/// product is rounded once, to the weight's own type.
#[derive(Debug, Clone, Copy)]
pub struct Scaled<'a> {
    dtype: DType,
    bytes: &'a [u8],
    by: &'a Factors,
}

impl<'a> Scaled<'a> {
    /// A view of `bytes`; a tail shorter than one element is ignored.
    pub fn new(dtype: DType, bytes: &'a [u8], by: &'a Factors) -> Self {
        Self { dtype, bytes, by }
    }

    /// The bytes of the elements `span`, as they are stored.
    pub fn stored(&self, span: Span<usize>) -> Vec<u8> {
        let mut stored = Vec::with_capacity(span.len().saturating_mul(self.dtype.size()).min(self.bytes.len()));
        match self.dtype {
            DType::F32 => self.each(span, |x| stored.extend(narrow(x).to_le_bytes())),
            DType::F64 => self.each(span, |x| stored.extend(x.to_le_bytes())),
            DType::F16 => self.each(span, |x| stored.extend(f16::from_f64(x).to_le_bytes())),
            DType::BF16 => self.each(span, |x| stored.extend(bf16::from_f64(x).to_le_bytes())),
        }
        stored
    }

    /// `work(element)` for the products of the elements `span`.
    fn each(&self, span: Span<usize>, work: impl FnMut(f64)) {
        let size = self.dtype.size();
        let range = span.start.saturating_mul(size)..span.end.saturating_mul(size);
        let bytes = self.bytes.get(range).unwrap_or_default();
        let mut factors = FactorsFrom::new(self.by, span.start);
        numbers(self.dtype, bytes).map(|x| x * factors.next()).for_each(work);
    }
}

impl WeightData for Scaled<'_> {
    fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    fn chunk(&self, span: Span<usize>) -> Cow<'_, [f32]> {
        let mut values = Vec::with_capacity(span.len().min(self.len()));
        match self.dtype {
            DType::F32 | DType::F64 => self.each(span, |x| values.push(narrow(x))),
            DType::F16 => self.each(span, |x| values.push(f16::from_f64(x).to_f32())),
            DType::BF16 => self.each(span, |x| values.push(bf16::from_f64(x).to_f32())),
        }
        Cow::Owned(values)
    }

    fn pieces(&self, span: Span<usize>, work: &mut dyn FnMut(usize, &[f32])) {
        let end = span.end.min(self.len());
        for start in span.step_by(PIECE) {
            work(start, &self.chunk(start..end.min(start.saturating_add(PIECE))));
        }
    }
}

/// The factor of one element after the other.
struct FactorsFrom<'a> {
    by: &'a Factors,
    channel: usize,
    /// Elements of the channel that are left.
    left: usize,
    factor: f64,
}

impl<'a> FactorsFrom<'a> {
    fn new(by: &'a Factors, element: usize) -> Self {
        let inner = by.layout.inner.max(1);
        let channel = by.layout.channel(element);
        Self { by, channel, left: inner - element % inner, factor: Self::of(by, channel) }
    }

    fn of(by: &Factors, channel: usize) -> f64 {
        by.factors.get(channel).copied().unwrap_or(1.0)
    }

    fn next(&mut self) -> f64 {
        if self.left == 0 {
            self.channel = if self.channel + 1 < self.by.layout.channels { self.channel + 1 } else { 0 };
            self.left = self.by.layout.inner.max(1);
            self.factor = Self::of(self.by, self.channel);
        }
        self.left -= 1;
        self.factor
    }
}

/// Little-endian elements of `dtype`, none of them rounded.
pub fn numbers(dtype: DType, bytes: &[u8]) -> impl Iterator<Item = f64> {
    let numbers = |read: fn(&[u8]) -> f64| bytes.chunks_exact(dtype.size()).map(read);
    match dtype {
        DType::F32 => numbers(|b| b.try_into().map_or(0.0, |b| f32::from_le_bytes(b).into())),
        DType::F64 => numbers(|b| b.try_into().map_or(0.0, f64::from_le_bytes)),
        DType::F16 => numbers(|b| b.try_into().map_or(0.0, |b| f16::from_le_bytes(b).to_f64())),
        DType::BF16 => numbers(|b| b.try_into().map_or(0.0, |b| bf16::from_le_bytes(b).to_f64())),
    }
}

/// Numbers as little-endian `dtype`, each rounded once.
pub fn stored(dtype: DType, values: &[f64]) -> Vec<u8> {
    let values = values.iter().copied();
    match dtype {
        DType::F32 => values.flat_map(|x| narrow(x).to_le_bytes()).collect(),
        DType::F64 => values.flat_map(f64::to_le_bytes).collect(),
        DType::F16 => values.flat_map(|x| f16::from_f64(x).to_le_bytes()).collect(),
        DType::BF16 => values.flat_map(|x| bf16::from_f64(x).to_le_bytes()).collect(),
    }
}

/// What a batch normalization's parameters become where it stays in the graph and does no more than to add the bias `b′`: γ = 1, β = b′, μ = 0,
/// and a variance that with ε is 1, `1 − ε` in float32.
pub fn neutral_variance(epsilon: f32) -> f32 {
    1.0 - epsilon
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn each_element_has_the_factor_of_its_channel() {
        // [2, 3, 2]: channels along the middle axis.
        let layout = ChannelLayout { outer: 2, channels: 3, inner: 2 };
        let by = Factors { layout, factors: vec![2.0, -1.0, 0.0] };
        let data = bytes(&[1.0; 12]);
        let scaled = Scaled::new(DType::F32, &data, &by);
        let all = [2.0, 2.0, -1.0, -1.0, 0.0, 0.0, 2.0, 2.0, -1.0, -1.0, 0.0, 0.0];
        for start in 0..12 {
            for end in start..=12 {
                assert_eq!(&*scaled.chunk(start..end), &all[start..end]);
                assert_eq!(scaled.stored(start..end), bytes(&all[start..end]));
            }
        }
        let mut seen = Vec::new();
        scaled.pieces(3..12, &mut |at, values| seen.push((at, values.to_vec())));
        assert_eq!(seen, [(3, all[3..].to_vec())]);
    }

    #[test]
    fn a_product_is_rounded_once_to_the_type_of_the_weight() {
        let layout = ChannelLayout { outer: 1, channels: 1, inner: 1 };
        for dtype in DType::ALL {
            let (x, factor) = (1.25, 1.0 / 3.0);
            let by = Factors { layout, factors: vec![factor] };
            let data = stored(dtype, &[x]);
            let scaled = Scaled::new(dtype, &data, &by);
            assert_eq!(scaled.stored(0..1), stored(dtype, &[x * factor]), "{dtype:?}");
        }
    }

    #[test]
    fn a_chain_of_products_and_sums_is_one() {
        // Jacob et al. 2018, equation 14, behind a bias: ((x + b) − μ)·s + β.
        let (b, mean, s, beta) = (0.5, 0.25, 4.0, 1.0);
        let mut linear = Linear::identity(1);
        linear.plus(&[b]);
        linear.times(&[s]);
        linear.plus(&[beta - mean * s]);
        assert_eq!(linear, Linear { scale: vec![s], shift: vec![(b - mean) * s + beta] });
        assert!(linear.is_finite());
        linear.times(&[f64::INFINITY]);
        assert!(!linear.is_finite());
    }
}
