//! `fake_quantize_*` and the observers of PyTorch, and LSQ as eager PyTorch computes it.

use quant_math::kernels::torch::{
    CodeType, FakeQuantize, MinMaxObserver, MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver, QParams, Scheme, fake_quantize_per_channel_affine,
    fake_quantize_per_channel_affine_gradient, fake_quantize_per_tensor_affine,
    fake_quantize_per_tensor_affine_gradient,
};
use quant_math::quantizers::lsq;
use quant_math::{Affine, ChannelLayout, Range};

use crate::case::{Case, Outputs};
use crate::inputs::{Grid, channel_factors, gradients, integers, kernel_inputs, near, unit};

const COUNT: usize = 329;
const ROWS: usize = 1500;
const WIDTH: usize = 5;
const BATCHES: u64 = 4;
/// PyTorch's default.
const AVERAGING_CONSTANT: f32 = 0.01;

pub(crate) const RECORDED: &str = include_str!("../golden/torch.txt");

pub(crate) fn outputs(case: &Case) -> Outputs {
    match case.text("kernel") {
        "tensor" | "channel" => fake_quantize(case),
        "lsq" => learned_step(case),
        "minmax" | "average" => observe(case),
        other => panic!("no kernel {other}"),
    }
}

fn fake_quantize(case: &Case) -> Outputs {
    let (low, high, zero): (i32, i32, i32) = (case.int("low"), case.int("high"), case.int("zero"));
    let seed: u64 = case.int("seed");
    let per_channel = case.text("kernel") == "channel";
    let factors = if per_channel { channel_factors() } else { vec![1.0] };
    let scales: Vec<f32> = factors.iter().map(|factor| case.float("scale") * factor).collect();
    let x = numbers(case, &scales);
    let g = gradients(seed, COUNT);
    let parameters: Vec<FakeQuantize> =
        scales.iter().map(|scale| FakeQuantize::new(*scale, zero, low, high).unwrap()).collect();
    let (mut y, mut dx) = (vec![0.0; COUNT], vec![0.0; COUNT]);
    if per_channel {
        let layout = ChannelLayout { outer: COUNT / scales.len(), channels: scales.len(), inner: 1 };
        fake_quantize_per_channel_affine(layout, &parameters, &x, &mut y).unwrap();
        fake_quantize_per_channel_affine_gradient(layout, &parameters, &g, &x, &mut dx).unwrap();
    } else {
        fake_quantize_per_tensor_affine(parameters[0], &x, &mut y);
        fake_quantize_per_tensor_affine_gradient(parameters[0], &g, &x, &mut dx);
    }
    Outputs { inputs: x, values: Some((y, dx)) }
}

/// LSQ, with the gradient of the step for each element, before they are added.
fn learned_step(case: &Case) -> Outputs {
    let (low, high): (i32, i32) = (case.int("low"), case.int("high"));
    let grid = lsq::grid((high - low + 1).ilog2(), low < 0).unwrap();
    let step = case.float("scale");
    let mut x = numbers(case, &[step]);
    x.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = 0.0);
    let g = gradients(case.int("seed"), COUNT);
    let affine = Affine::from_parts(step, 0, grid).unwrap();
    let (mut y, mut dx, mut ds) = (vec![0.0; COUNT], vec![0.0; COUNT], vec![0.0; COUNT]);
    affine.fake_quant_into(&x, &mut y);
    lsq::gradients_into(affine, &g, &x, &mut dx, &mut ds);
    dx.extend(ds);
    let plus_zero = |values: Vec<f32>| values.into_iter().map(|value| value + 0.0).collect();
    Outputs { inputs: x, values: Some((plus_zero(y), plus_zero(dx))) }
}

/// What a kernel is given: around the grid of the case, at `scales`.
fn numbers(case: &Case, scales: &[f32]) -> Vec<f32> {
    let (low, high, zero): (i32, i32, i32) = (case.int("low"), case.int("high"), case.int("zero"));
    let clip = |x: f32| x.clamp(-f32::MAX, f32::MAX);
    kernel_inputs(case.int("seed"), COUNT, u64::try_from(high - low).unwrap(), |i| {
        let step = scales[i % scales.len()];
        Grid {
            low: clip((low - zero) as f32 * step),
            high: clip((high - zero) as f32 * step),
            step,
            limit: clip(step * 2.0_f32.powi(60)),
        }
    })
}

/// `2^exponent`, subnormal numbers included.
fn power_of_two(exponent: i64) -> f32 {
    match u32::try_from(exponent + 126) {
        Ok(normal) => f32::from_bits((normal + 1) << 23),
        Err(_) => f32::from_bits(1 << (exponent + 149)),
    }
}

fn batch(seed: u64, batch_number: u64) -> Vec<f32> {
    let rows = integers(seed * 64 + 63, ROWS);
    let number = |(i, h): (usize, u64)| {
        let row = rows[i / WIDTH];
        let size = power_of_two((row % 266) as i64 - 140);
        let shift = ((row >> 20) % 3) as f32 * 0.5;
        near((unit(h) - shift) * size, h)
    };
    integers(seed * 64 + batch_number, ROWS * WIDTH).into_iter().enumerate().map(number).collect()
}

fn observe(case: &Case) -> Outputs {
    let code_type = if case.text("code") == "qint8" { CodeType::QInt8 } else { CodeType::QUInt8 };
    let scheme = if case.text("scheme") == "affine" { Scheme::Affine } else { Scheme::Symmetric };
    let limits = (case.int("low"), case.int("high"));
    let qparams = QParams::new(scheme, code_type, (case.text("limited") == "1").then_some(limits)).unwrap();
    let average = case.text("kernel") == "average";
    let batches: Vec<Vec<f32>> = (0..BATCHES).map(|i| batch(case.int("seed"), i)).collect();

    let layout = ChannelLayout { outer: 1, channels: ROWS, inner: WIDTH };
    let mut min_max = PerChannelMinMaxObserver::default();
    let mut moving = MovingAveragePerChannelMinMaxObserver::new(AVERAGING_CONSTANT);
    for batch in &batches {
        min_max.observe(layout, &batch[..]).unwrap();
        moving.observe(layout, &batch[..]).unwrap();
    }
    let ranges = if average { moving.ranges() } else { min_max.ranges() };
    let answers: Vec<[f32; 4]> = ranges.iter().map(|range| answer(qparams, *range)).collect();
    let mut values: Vec<f32> = (0..4).flat_map(|k| answers.iter().map(move |answer| answer[k])).collect();

    // Some channels once more, each as a tensor of its own.
    for row in (0..ROWS).step_by(25) {
        let mut min_max = MinMaxObserver::default();
        let mut moving = MovingAverageMinMaxObserver::new(AVERAGING_CONSTANT);
        for batch in &batches {
            let tensor = &batch[row * WIDTH..(row + 1) * WIDTH];
            min_max.observe(tensor).unwrap();
            moving.observe(tensor).unwrap();
        }
        let range = if average { moving.range() } else { min_max.range() };
        values.extend(answer(qparams, range.unwrap()));
    }
    Outputs { inputs: batches.concat(), values: Some((values, Vec::new())) }
}

fn answer(qparams: QParams, range: Range) -> [f32; 4] {
    let (scale, zero_point) = qparams.calculate(Some(range)).unwrap();
    [range.min, range.max, scale, zero_point as f32]
}
