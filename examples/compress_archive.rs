//! Open a TorchScript archive, look at the plan, quantize it, write it: `cargo run --example compress_archive`.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use std::error::Error;

use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use torch_adapter::{Model, PlanOptions};

/// NNI's configuration: 8-bit weights for convolutions, 4-bit weights for linear layers, one scale per channel; one layer stays float.
const CONFIG_LIST: &str = "
config_list = [
    {'op_types': ['default'], 'quant_types': ['weight'], 'quant_bits': 8, 'per_channel': True},
    {'op_types': ['Linear'], 'quant_types': ['weight'], 'quant_bits': 4},
    {'op_names': ['dense2'], 'exclude': True},
]";

fn main() -> Result<(), Box<dyn Error>> {
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/digits_script.pt");
    let config_list = ConfigList::parse(CONFIG_LIST, Some(Quantizer::Qat))?;

    let model = Model::open(archive)?;
    let plan = model.plan(&config_list, PlanOptions { emit: Some(Emit::Packed), ..PlanOptions::default() })?;
    for (site, reason) in plan.skipped() {
        println!("{} stays in float: {}", site.op, reason.text);
    }

    let output = std::env::temp_dir().join(format!("digits_packed_{}.pt", std::process::id()));
    let report = model.apply(&plan)?.write_to(&output)?;
    for site in report.sites.iter().filter(|site| site.site.settings().is_some()) {
        let sqnr = site.metrics.and_then(|metrics| metrics.sqnr_db).unwrap_or(f64::INFINITY);
        println!("{}: {} -> {} bytes, SQNR {sqnr:.1} dB", site.site.op, site.bytes_before, site.bytes_after);
    }
    println!("file: {} -> {} bytes", report.bytes_before, report.bytes_after);
    std::fs::remove_file(output)?;
    Ok(())
}
