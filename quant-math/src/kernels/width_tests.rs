//! The same bits of every kernel at every SIMD width, length and alignment, and from every number of threads.

use super::tensorflow::{
    NudgedRange, fake_quant_with_min_max_args, fake_quant_with_min_max_args_gradient, fake_quant_with_min_max_vars,
    fake_quant_with_min_max_vars_gradient, fake_quant_with_min_max_vars_per_channel,
    fake_quant_with_min_max_vars_per_channel_gradient,
};
use super::torch::{
    FakeQuantize, fake_quantize_per_channel_affine, fake_quantize_per_channel_affine_gradient,
    fake_quantize_per_tensor_affine, fake_quantize_per_tensor_affine_gradient,
};
use crate::quantizers::dorefa::{
    activation_gradient_into, activations_into, gradient_into, noise, weight_gradient_into,
};
use crate::simd::width::{Width, with};
use crate::{Affine, ChannelLayout, Grid, Range, WeightMap};

fn numbers(count: u64) -> Vec<f32> {
    let number = |i: u64| match i % 11 {
        0 => 0.0,
        1 => -0.0,
        2 => f32::from_bits(u32::try_from(i).unwrap()),
        _ => noise(1, 2, i) * 3.0,
    };
    (0..count).map(number).collect()
}

/// Everything that loops over elements, one after the other, as bits.
fn everything(g: &[f32], x: &[f32]) -> Vec<u32> {
    let mut out = Vec::new();
    let mut y = vec![f32::NAN; x.len()];
    let mut keep = |y: &[f32]| out.extend(y.iter().map(|y| y.to_bits()));

    let ranges = [(-1.0, 1.0), (0.0, 0.0), (-0.1, 0.7)].map(|(a, b)| NudgedRange::new(a, b, 4, false).unwrap());
    for range in ranges {
        fake_quant_with_min_max_vars(range, x, &mut y);
        keep(&y);
        fake_quant_with_min_max_args(range, x, &mut y);
        keep(&y);
        let (dmin, dmax) = fake_quant_with_min_max_vars_gradient(range, g, x, &mut y);
        keep(&y);
        keep(&[dmin, dmax]);
        fake_quant_with_min_max_args_gradient(range, g, x, &mut y);
        keep(&y);
    }
    fake_quant_with_min_max_vars_per_channel(&ranges, x, &mut y);
    keep(&y);
    let (dmin, dmax) = fake_quant_with_min_max_vars_per_channel_gradient(&ranges, g, x, &mut y);
    keep(&y);
    keep(&dmin);
    keep(&dmax);

    let quantize = [(0.1, 3), (0.01, 0), (1.0, 15)].map(|(s, z)| FakeQuantize::new(s, z, 0, 15).unwrap());
    fake_quantize_per_tensor_affine(quantize[0], x, &mut y);
    keep(&y);
    fake_quantize_per_tensor_affine_gradient(quantize[0], g, x, &mut y);
    keep(&y);
    for inner in [1, 40] {
        let layout = ChannelLayout { outer: 4, channels: 3, inner };
        fake_quantize_per_channel_affine(layout, &quantize, x, &mut y).unwrap();
        keep(&y);
        fake_quantize_per_channel_affine_gradient(layout, &quantize, g, x, &mut y).unwrap();
        keep(&y);
    }

    let affine = Affine::asymmetric(Range::new(-0.4, 1.1).unwrap(), Grid::unsigned(5).unwrap()).unwrap();
    affine.fake_quant_into(x, &mut y);
    keep(&y);
    affine.gradient_into(g, x, &mut y);
    keep(&y);

    activations_into(3, x, &mut y).unwrap();
    keep(&y);
    activation_gradient_into(3, g, x, &mut y).unwrap();
    keep(&y);
    gradient_into(4, 1, 2, 1, x, &mut y).unwrap();
    keep(&y);
    let map = WeightMap::DoReFa { bits: 4, max_abs_tanh: 0.9 };
    map.values_into(0, x, &mut y);
    keep(&y);
    weight_gradient_into(&map, g, x, &mut y).unwrap();
    keep(&y);
    out
}

#[test]
fn every_length_and_alignment_at_every_width() {
    let all = numbers(140);
    for len in 0..70 {
        let mut first: Option<Vec<u32>> = None;
        for start in 0..33 {
            // The same numbers at every alignment.
            let mut shifted = vec![0.0; start];
            shifted.extend(&all[..len]);
            let (g, x) = (&all[70..70 + len], &shifted[start..]);
            for width in Width::all() {
                let found = with(width, || everything(g, x));
                let expected = first.get_or_insert_with(|| found.clone());
                assert!(found == *expected, "{width:?}, {len} elements at {start}");
            }
        }
    }
}

#[test]
fn same_bits_at_every_number_of_threads() {
    let all = numbers(2 * 500_000);
    let (g, x) = all.split_at(500_000);
    let mut first: Option<Vec<u32>> = None;
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| everything(g, x));
        let expected = first.get_or_insert_with(|| found.clone());
        assert!(found == *expected, "{threads} threads differ from 1");
    }
}
