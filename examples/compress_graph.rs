//! Open a graph, look at the plan, quantize it, write it: `cargo run --example compress_graph`.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use std::error::Error;

use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use tf_rewriter::{Graph, PlanOptions};

/// NNI's configuration: 8-bit weights for convolutions, 4-bit weights for dense layers, one scale per channel; one layer stays float.
const CONFIG_LIST: &str = "
config_list = [
    {'op_types': ['default'], 'quant_types': ['weight'], 'quant_bits': 8, 'per_channel': True},
    {'op_types': ['Linear'], 'quant_types': ['weight'], 'quant_bits': 4},
    {'op_names': ['dense2'], 'exclude': True},
]";

fn main() -> Result<(), Box<dyn Error>> {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/digits.pb");
    let config_list = ConfigList::parse(CONFIG_LIST, Some(Quantizer::Qat))?;

    let graph = Graph::open(model)?;
    let plan = graph.plan(&config_list, PlanOptions { emit: Some(Emit::Packed), ..PlanOptions::default() })?;
    for (site, reason) in plan.skipped() {
        println!("{} stays in float: {}", site.op, reason.text);
    }

    let output = std::env::temp_dir().join(format!("digits_packed_{}.pb", std::process::id()));
    let report = graph.apply(&plan)?.write_to(&output)?;
    for site in report.sites.iter().filter(|site| site.site.settings().is_some()) {
        let sqnr = site.metrics.and_then(|metrics| metrics.sqnr_db).unwrap_or(f64::INFINITY);
        println!("{}: {} -> {} bytes, SQNR {sqnr:.1} dB", site.site.op, site.bytes_before, site.bytes_after);
    }
    println!("file: {} -> {} bytes", report.bytes_before, report.bytes_after);
    std::fs::remove_file(output)?;
    Ok(())
}
