//! Quantize a tensor by hand, with one scale for all of it and with one for each channel: `cargo run --example quantize_tensor`.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use std::error::Error;

use ndarray::{ArrayD, array};
use quant_math::Quantizer;
use quant_math::metrics::Metrics;
use quant_math::plan::Settings;
use quant_math::weights::{codes_view, fake_quant_view};

fn main() -> Result<(), Box<dyn Error>> {
    // Three channels, each ten times as large as the one before: one scale cannot serve them all.
    let weights: ArrayD<f32> = array![
        [-0.011, 0.004, 0.009, -0.002, 0.0, 0.007],
        [0.03, -0.12, 0.05, 0.08, -0.01, 0.11],
        [1.1, 0.2, -0.7, -1.3, 0.9, 0.4],
    ]
    .into_dyn();

    for bits in [8, 4] {
        for channel_axis in [None, Some(0)] {
            let settings = Settings { channel_axis, ..Settings::new(Quantizer::Naive, bits) };
            let (codes, map) = codes_view(&settings, &weights.view())?;
            let values = fake_quant_view(&settings, &weights.view())?;

            let (low, high) = map.scale_span().ok_or("the Naive quantizer has scales")?;
            let per = if channel_axis.is_some() { "channel" } else { "tensor" };
            println!("{bits} bits, per {per}: scale {low:.3e} to {high:.3e}");
            for (channel, codes) in codes.outer_iter().enumerate() {
                let codes: Vec<String> = codes.iter().map(|code| format!("{code:5}")).collect();
                let row =
                    |tensor: &ArrayD<f32>| tensor.outer_iter().nth(channel).map(|row| row.iter().copied().collect());
                let (floats, values): (Vec<f32>, Vec<f32>) =
                    row(&weights).zip(row(&values)).ok_or("both have the shape of the codes")?;
                let sqnr = Metrics::of(&floats, &values).sqnr_db.unwrap_or(f64::INFINITY);
                println!("  channel {channel}: codes{}   SQNR {sqnr:4.1} dB", codes.concat());
            }
        }
    }
    Ok(())
}
