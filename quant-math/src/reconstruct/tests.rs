use super::*;
use crate::Quantizer;
use crate::moments::{Gram, Inputs};

/// Numbers between −1 and 1 without a pattern.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(self.0 >> 48).unwrap()) / 32_768.0 - 1.0
    }

    fn some(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// Moments of inputs that depend on each other, as those of a trained net do.
fn moments(inputs: Inputs, numbers: &mut Numbers) -> (Vec<f32>, LayerMoments) {
    let mut rows = Vec::new();
    for _ in 0..4 * inputs.len() + 8 {
        let mut last = 0.0;
        for x in numbers.some(inputs.len()) {
            last = 0.8 * last + 0.4 * x;
            rows.push(last.max(0.0));
        }
    }
    let mut gram = Gram::new(inputs);
    gram.add(&rows).unwrap();
    (rows, gram.moments().unwrap())
}

/// Weights of outputs by inputs, in rows.
fn rows_of(groups: usize, outputs: usize, inputs: usize) -> (Matrix, ChannelLayout) {
    let matrix = Matrix { groups, outputs, inputs, group_step: outputs * inputs, output_step: inputs, input_step: 1 };
    (matrix, ChannelLayout { outer: 1, channels: groups * outputs, inner: inputs })
}

fn settings(quantizer: Quantizer, bits: u32, symmetric: bool) -> Settings {
    Settings { channel_axis: Some(0), symmetric, ..Settings::new(quantizer, bits) }
}

/// The mean of `‖(W − Q)·x‖²` over the rows, of all outputs; and what damping adds.
fn errors(matrix: Matrix, rows: &[f32], weights: &[f32], values: &[f32]) -> (f64, f64) {
    let all = rows.chunks_exact(matrix.groups * matrix.inputs);
    let real = |count: usize| f64::from(u32::try_from(count).unwrap());
    let count = real(all.len());
    let (mut sum, mut damping) = (0.0, 0.0);
    for group in 0..matrix.groups {
        let x = |row: &[f32], input: usize| f64::from(row[group * matrix.inputs + input]);
        let squares = all.clone().flat_map(|row| (0..matrix.inputs).map(move |input| x(row, input).powi(2)));
        let lambda = 0.01 * squares.sum::<f64>() / count / real(matrix.inputs);
        for output in 0..matrix.outputs {
            let off = |input: usize| {
                let at = matrix.element(group, output, input);
                f64::from(weights[at]) - f64::from(values[at])
            };
            damping += lambda * (0..matrix.inputs).map(|input| off(input).powi(2)).sum::<f64>();
            let error = |row: &[f32]| (0..matrix.inputs).map(|input| x(row, input) * off(input)).sum::<f64>();
            sum += all.clone().map(|row| error(row).powi(2)).sum::<f64>() / count;
        }
    }
    (sum, damping)
}

fn quantized(settings: &Settings, layout: ChannelLayout, weights: &[f32]) -> Vec<f32> {
    let map = crate::observe(settings, layout, weights).unwrap();
    let mut values = vec![0.0; weights.len()];
    map.values_into(0, weights, &mut values);
    values
}

#[test]
fn what_the_layer_makes_is_kept_better_than_by_rounding_to_nearest() {
    let mut numbers = Numbers(7);
    for (groups, outputs, inputs) in [(1, 5, 24), (1, 40, 33), (6, 1, 9)] {
        let (matrix, layout) = rows_of(groups, outputs, inputs);
        let weights = numbers.some(matrix.len());
        let (rows, moments) = moments(Inputs { groups, inputs }, &mut numbers);
        for (quantizer, bits, symmetric) in [
            (Quantizer::Naive, 8, true),
            (Quantizer::Naive, 4, true),
            (Quantizer::Qat, 4, false),
            (Quantizer::Qat, 2, true),
        ] {
            let settings = settings(quantizer, bits, symmetric);
            let made = reconstruct(&settings, layout, &Biases::default(), &weights[..], (matrix, &moments)).unwrap();
            let of = |values: &[f32]| errors(matrix, &rows, &weights, values);
            let (nearest, error) =
                (of(&quantized(&settings, layout, &weights)), of(&quantized(&settings, layout, &made.values)));
            assert!(error.0 < 0.75 * nearest.0, "{groups} {outputs} {inputs} {settings:?}: {error:?} {nearest:?}");
            // What is said is what the data say. Moments are rounded to float32, and errors cancel.
            let power = of(&vec![0.0; weights.len()]);
            for (said, (error, damping)) in [(made.nearest, nearest), (made.error, error)] {
                let found = (error + damping) / (power.0 + power.1);
                assert!((said / found - 1.0).abs() < 1e-4, "{said} {found}");
            }
        }
    }
}

#[test]
fn the_result_lies_on_the_grid_that_follows_from_it() {
    let mut numbers = Numbers(1);
    let (matrix, layout) = rows_of(1, 30, 20);
    let weights = numbers.some(matrix.len());
    let (_, moments) = moments(Inputs { groups: 1, inputs: 20 }, &mut numbers);
    for bits in [2, 3, 4, 8] {
        for (symmetric, layout) in [(true, layout), (false, layout), (true, ChannelLayout::per_tensor(matrix.len()))] {
            let settings = settings(Quantizer::Qat, bits, symmetric);
            let made = reconstruct(&settings, layout, &Biases::default(), &weights[..], (matrix, &moments)).unwrap();
            let values = quantized(&settings, layout, &made.values);
            let again = quantized(&settings, layout, &values);
            let steps = |values: &[f32]| {
                let map = crate::observe(&settings, layout, &made.values[..]).unwrap();
                let mut codes = vec![0_i32; values.len()];
                map.grid_codes_into(0, values, &mut codes).unwrap();
                codes
            };
            assert_eq!(steps(&values), steps(&made.values), "{bits} {symmetric}");
            for (((made, value), again), x) in made.values.iter().zip(&values).zip(&again).zip(&weights) {
                // A channel that rounding to nearest keeps best is as it was. The ends of an affine range lie between two values of its grid, as
                // they do for every weight.
                let bound = if symmetric { 2.0 * f32::EPSILON * made.abs() } else { made.abs() };
                let as_it_was = made.to_bits() == x.to_bits();
                assert!(as_it_was || (made - value).abs() <= bound, "{bits} {symmetric}: {made} {value} {again}");
            }
        }
    }
}

#[test]
fn it_is_the_same_wherever_the_elements_lie_and_at_any_number_of_threads() {
    let mut numbers = Numbers(3);
    let (matrix, layout) = rows_of(2, 17, 12);
    let weights = numbers.some(matrix.len());
    let (_, moments) = moments(Inputs { groups: 2, inputs: 12 }, &mut numbers);
    let settings = settings(Quantizer::Naive, 4, true);
    let made = reconstruct(&settings, layout, &Biases::default(), &weights[..], (matrix, &moments)).unwrap();
    // [inputs, groups, outputs], as TensorFlow has it.
    let turned = Matrix { group_step: 17, output_step: 1, input_step: 34, ..matrix };
    let mut other = vec![0.0; weights.len()];
    for group in 0..2 {
        for output in 0..17 {
            for input in 0..12 {
                other[turned.element(group, output, input)] = weights[matrix.element(group, output, input)];
            }
        }
    }
    let layout = ChannelLayout { outer: 12, channels: 34, inner: 1 };
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let found =
        one.install(|| reconstruct(&settings, layout, &Biases::default(), &other[..], (turned, &moments)).unwrap());
    for group in 0..2 {
        for output in 0..17 {
            for input in 0..12 {
                let (a, b) = (turned.element(group, output, input), matrix.element(group, output, input));
                assert_eq!(found.values[a].to_bits(), made.values[b].to_bits());
            }
        }
    }
    assert_eq!(found.error.to_bits(), made.error.to_bits());
}

#[test]
fn small_channels_keep_the_scale_that_their_bias_asks_for() {
    let mut numbers = Numbers(5);
    let (matrix, layout) = rows_of(1, 4, 16);
    let mut weights = numbers.some(matrix.len());
    weights[16..32].iter_mut().for_each(|x| *x *= 1e-6);
    weights[32..48].fill(0.0);
    let (_, moments) = moments(Inputs { groups: 1, inputs: 16 }, &mut numbers);
    let mut biases = Biases::none(4);
    biases.add(&[0.5_f32, 2.0, 1.0, -3.0][..]);
    for bits in [3, 8] {
        let settings = settings(Quantizer::Naive, bits, true);
        let made = reconstruct(&settings, layout, &biases, &weights[..], (matrix, &moments)).unwrap();
        let scales = |data: &[f32]| match observe_beside(&settings, layout, &biases, data).unwrap() {
            WeightMap::Affine(map) => map.scale(),
            other => panic!("{other:?}"),
        };
        assert!(made.values[32..48].iter().all(|x| x.to_bits() == 0), "zeros stay zeros");
        let (before, after) = (scales(&weights), scales(&made.values));
        for channel in [0, 3] {
            // A part of the range that was tried.
            assert!(after[channel] <= before[channel] && after[channel] >= 0.49 * before[channel]);
        }
        assert!(made.error <= made.nearest);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut numbers = Numbers(9);
    let (matrix, layout) = rows_of(1, 4, 6);
    let weights = numbers.some(matrix.len());
    let (_, moments) = moments(Inputs { groups: 1, inputs: 6 }, &mut numbers);
    let made = |settings: &Settings, layout, matrix, weights: &[f32]| {
        reconstruct(settings, layout, &Biases::default(), weights, (matrix, &moments)).map(|_| ()).unwrap_err()
    };
    let naive = settings(Quantizer::Naive, 8, true);
    let dorefa = Settings::new(Quantizer::DoReFa, 4);
    let whole = ChannelLayout::per_tensor(24);
    assert_eq!(made(&dorefa, whole, matrix, &weights), MathError::NotAffine { quantizer: "dorefa" });
    let wide = Matrix { inputs: 8, outputs: 3, ..matrix };
    assert_eq!(made(&naive, layout, wide, &weights), MathError::Layout { expected: 18, found: 24 });
    let across = ChannelLayout { outer: 4, channels: 6, inner: 1 };
    assert_eq!(made(&naive, across, matrix, &weights), MathError::Channels);
    let mut nan = weights.clone();
    nan[3] = f32::NAN;
    assert!(matches!(made(&naive, layout, matrix, &nan), MathError::NonFinite { index: 3, .. }));
}
