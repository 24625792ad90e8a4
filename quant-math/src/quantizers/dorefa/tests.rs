#![expect(clippy::float_cmp, reason = "numbers that float32 holds exactly")]

use super::*;
use crate::plan::{Quantizer, Settings};
use crate::{ChannelLayout, WeightMap, observe};

#[test]
fn activations_are_clipped_and_rounded() {
    for bits in 1..=8 {
        let n = levels(bits);
        let x = [-0.5, 0.0, -0.0, 0.2, 0.5, 0.999, 1.0, 3.0, f32::NAN, f32::INFINITY];
        let mut y = [f32::NAN; 10];
        activations_into(bits, &x, &mut y).unwrap();
        let expected = x.map(|x| if x.is_nan() { 0.0 } else { (n * x.clamp(0.0, 1.0)).round_ties_even() / n + 0.0 });
        assert_eq!(y.map(f32::to_bits), expected.map(f32::to_bits), "{bits} bits");
    }
    let mut y = [0.0; 2];
    activations_into(32, &[-4.25, 9.0], &mut y).unwrap();
    assert_eq!(y, [-4.25, 9.0]);
    for bits in [0, 9, 16, 31, 33] {
        assert_eq!(activations_into(bits, &[], &mut []).unwrap_err().code(), "M0102");
    }
}

#[test]
fn activation_gradients_pass_inside_only() {
    let (g, x) = ([1.0, 2.0, 3.0, 4.0, 5.0], [-0.1, 0.0, 0.5, 1.0, 1.1]);
    let mut dx = [f32::NAN; 5];
    activation_gradient_into(4, &g, &x, &mut dx).unwrap();
    assert_eq!(dx, [0.0, 2.0, 3.0, 4.0, 0.0]);
    activation_gradient_into(32, &g, &x, &mut dx).unwrap();
    assert_eq!(dx, g);
}

#[test]
fn noise_is_uniform_and_belongs_to_its_element() {
    const COUNT: u64 = 1 << 20;
    let sample: Vec<f64> = (0..COUNT).map(|i| f64::from(noise(7, 3, i))).collect();
    assert!(sample.iter().all(|x| (-0.5..0.5).contains(x)));
    let mean = sample.iter().sum::<f64>() / 1_048_576.0;
    let variance = sample.iter().map(|x| x * x).sum::<f64>() / 1_048_576.0;
    // Six standard deviations of the mean of 2^20 uniform numbers, √(1/12) / 2^10 each, and of their squares, √(1/180) / 2^10.
    assert!(mean.abs() < 6.0 * (1.0 / 12.0_f64).sqrt() / 1024.0, "{mean}");
    assert!((variance - 1.0 / 12.0).abs() < 6.0 * (1.0 / 180.0_f64).sqrt() / 1024.0, "{variance}");
    for (seed, step) in [(8, 3), (7, 4)] {
        let same = (0..COUNT).filter(|i| noise(seed, step, *i).to_bits() == noise(7, 3, *i).to_bits()).count();
        // Expected: 2^20 / 2^24.
        assert!(same < 8, "{same} of 2^20 numbers are the same for another seed or step");
    }
}

/// The formula as it is written, for one element.
fn gradient_of_one(bits: u32, noise: f32, m: f32, dr: f32) -> f32 {
    let n = levels(bits);
    let u = (dr / (2.0 * m) + 0.5 + noise / n).clamp(0.0, 1.0);
    2.0 * m * ((n * u).round_ties_even() / n - 0.5)
}

#[test]
fn gradients_follow_the_formula_at_every_thread_count() {
    let dr: Vec<f32> = (0..600_000_u32).map(|i| (noise(1, 1, i.into()) * 4.0).powi(3)).collect();
    for bits in 1..=8 {
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut g = vec![f32::NAN; dr.len()];
            pool.install(|| gradient_into(bits, 5, 9, 2, &dr, &mut g)).unwrap();
            for (sample, (dr, g)) in dr.chunks(300_000).zip(g.chunks(300_000)).enumerate() {
                let m = dr.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
                for (i, (dr, g)) in dr.iter().zip(g).enumerate() {
                    let index = (sample * 300_000 + i) as u64;
                    let expected = gradient_of_one(bits, noise(5, 9, index), m, *dr);
                    assert_eq!(g.to_bits(), expected.to_bits(), "{bits} bits, {threads} threads, element {index}");
                }
            }
        }
    }
}

#[test]
fn quantized_gradients_are_unbiased() {
    // Far from the clip the expectation over the noise is the gradient itself: rounding u + N for uniform N.
    let (bits, m, dr) = (2, 1.0, 0.37);
    let samples = 1 << 16;
    let mean = (0..samples).map(|i| f64::from(gradient_of_one(bits, noise(0, 0, i), m, dr))).sum::<f64>() / 65_536.0;
    // Steps of 2/3: a standard deviation of at most 1/3 for each sample; six of the mean's.
    assert!((mean - f64::from(dr)).abs() < 6.0 / 3.0 / 256.0, "{mean}");
}

#[test]
fn gradients_that_have_no_form_are_refused() {
    let code = |bits, batch, dr: &[f32], g: &mut [f32]| gradient_into(bits, 0, 0, batch, dr, g).unwrap_err().code();
    assert_eq!(code(9, 1, &[1.0], &mut [0.0]), "M0102");
    assert_eq!(code(4, 2, &[1.0; 3], &mut [0.0; 3]), "M0105");
    assert_eq!(code(4, 0, &[1.0; 3], &mut [0.0; 3]), "M0105");
    assert_eq!(code(4, 1, &[1.0; 3], &mut [0.0; 2]), "M0105");
    assert_eq!(code(4, 1, &[1.0, f32::NAN], &mut [0.0; 2]), "M0101");
    assert_eq!(code(4, 1, &[f32::MAX, 0.0], &mut [0.0; 2]), "M0103");
    gradient_into(4, 0, 0, 0, &[], &mut []).unwrap();
    let mut g = [1.0; 4];
    gradient_into(4, 0, 0, 2, &[0.0, -0.0, 0.0, 0.0], &mut g).unwrap();
    assert_eq!(g, [0.0; 4]);
    gradient_into(32, 0, 0, 1, &[0.1, -7.0], &mut g[..2]).unwrap();
    assert_eq!(g[..2], [0.1, -7.0]);
}

#[test]
fn weight_gradients_are_the_slope_of_the_smooth_formula() {
    let w = [0.3, -0.8, 0.05, 1.2, -0.4];
    let g = [1.0, -2.0, 0.5, 3.0, 0.25];
    let settings = Settings::new(Quantizer::DoReFa, 8);
    let map = observe(&settings, ChannelLayout::per_tensor(5), &w[..]).unwrap();
    let mut dw = [f32::NAN; 5];
    weight_gradient_into(&map, &g, &w, &mut dw).unwrap();
    // Without rounding, L = Σ g·tanh(w) / max|tanh w|; its slope by central differences in float64.
    let loss = |w: &[f64]| {
        let max = w.iter().fold(0.0_f64, |max, w| max.max(w.tanh().abs()));
        w.iter().zip(g).map(|(w, g)| f64::from(g) * w.tanh() / max).sum::<f64>()
    };
    let at: Vec<f64> = w.iter().map(|w| f64::from(*w)).collect();
    let h = 1e-5;
    for (i, found) in dw.iter().enumerate() {
        let moved = |d: f64| at.iter().enumerate().map(|(k, w)| if k == i { w + d } else { *w }).collect::<Vec<_>>();
        let slope = (loss(&moved(h)) - loss(&moved(-h))) / (2.0 * h);
        // Central differences: an error of the order h² from the third derivative, 1e-16 / h from float64; float32: 1e-7 each.
        assert!((f64::from(*found) - slope).abs() < 1e-5, "element {i}: {found}, expected {slope}");
    }
}

#[test]
fn equal_maxima_share_their_gradient() {
    let w = [0.5, -0.5, 0.1];
    let g = [1.0, 1.0, 1.0];
    let map = observe(&Settings::new(Quantizer::DoReFa, 4), ChannelLayout::per_tensor(3), &w[..]).unwrap();
    let mut dw = [f32::NAN; 3];
    weight_gradient_into(&map, &g, &w, &mut dw).unwrap();
    let (t, small) = (0.5_f64.tanh(), f64::from(0.1_f32).tanh());
    let share = small / (t * t) / 2.0;
    for (found, expected) in
        dw.iter().zip([1.0 / t - share, 1.0 / t + share, (1.0 / t) / (1.0 - t * t) * (1.0 - small * small)])
    {
        let expected = expected * (1.0 - t * t);
        // A handful of float32 operations on numbers of size 2.
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found}, expected {expected}");
    }
}

#[test]
fn one_bit_and_unchanged_weights_are_straight_through() {
    for map in [WeightMap::Sign { mean_abs: 0.5 }, WeightMap::Unchanged] {
        let mut dw = [0.0; 2];
        weight_gradient_into(&map, &[3.0, -1.0], &[9.0, -9.0], &mut dw).unwrap();
        assert_eq!(dw, [3.0, -1.0]);
    }
    let affine = observe(&Settings::new(Quantizer::Naive, 8), ChannelLayout::per_tensor(1), &[1.0][..]).unwrap();
    assert_eq!(weight_gradient_into(&affine, &[1.0], &[1.0], &mut [0.0]).unwrap_err().code(), "M0113");
}
