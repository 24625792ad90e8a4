//! `FakeQuantWithMinMax*` of TensorFlow.

use quant_math::kernels::tensorflow::{
    NudgedRange, fake_quant_with_min_max_args, fake_quant_with_min_max_args_gradient, fake_quant_with_min_max_vars,
    fake_quant_with_min_max_vars_gradient, fake_quant_with_min_max_vars_per_channel,
    fake_quant_with_min_max_vars_per_channel_gradient,
};

use crate::case::{Case, Outputs};
use crate::inputs::{Grid, channel_factors, gradients, kernel_inputs};

const COUNT: usize = 252;

pub(crate) const RECORDED: &str = include_str!("../golden/tensorflow.txt");

pub(crate) fn outputs(case: &Case) -> Outputs {
    let (seed, bits): (u64, u32) = (case.int("seed"), case.int("bits"));
    let narrow: u32 = case.int("narrow");
    let levels = (1 << bits) - 1 - narrow;
    let factors = if case.text("kernel") == "channel" { channel_factors() } else { vec![1.0] };
    let end = |name, factor: f32| (case.float(name) * factor).clamp(-f32::MAX, f32::MAX);
    let ends: Vec<(f32, f32)> = factors.iter().map(|factor| (end("low", *factor), end("high", *factor))).collect();
    let inputs = kernel_inputs(seed, COUNT, levels.into(), |i| {
        let (low, high) = ends[i % ends.len()];
        Grid { low, high, step: (high - low) / levels as f32, limit: f32::INFINITY }
    });
    let ranges: Result<Vec<_>, _> =
        ends.iter().map(|(low, high)| NudgedRange::new(*low, *high, bits, narrow == 1)).collect();
    let values = ranges.ok().and_then(|ranges| run(case.text("kernel"), &ranges, &inputs, &gradients(seed, COUNT)));
    Outputs { inputs, values }
}

fn run(kernel: &str, ranges: &[NudgedRange], x: &[f32], g: &[f32]) -> Option<(Vec<f32>, Vec<f32>)> {
    let (mut y, mut dx) = (vec![0.0; COUNT], vec![0.0; COUNT]);
    match kernel {
        "vars" => {
            fake_quant_with_min_max_vars(ranges[0], x, &mut y);
            let (dmin, dmax) = fake_quant_with_min_max_vars_gradient(ranges[0], g, x, &mut dx);
            dx.extend([dmin, dmax]);
        }
        "args" => {
            // The op takes no range of width 0.
            if ranges[0].is_zero() {
                return None;
            }
            fake_quant_with_min_max_args(ranges[0], x, &mut y);
            fake_quant_with_min_max_args_gradient(ranges[0], g, x, &mut dx);
        }
        "channel" => {
            fake_quant_with_min_max_vars_per_channel(ranges, x, &mut y);
            let (dmin, dmax) = fake_quant_with_min_max_vars_per_channel_gradient(ranges, g, x, &mut dx);
            dx.extend(dmin);
            dx.extend(dmax);
        }
        other => panic!("no kernel {other}"),
    }
    Some((y, dx))
}
