//! The adapter against its limit, measured in the same run: `compress` against copying the file.
//!
//! `cargo bench -p torch-adapter`; needs `cargo xtask models big-torch` first. Each ratio is the median of five runs, taken in turns, so that
//! both sides see the same machine.

#[path = "../../benches/measure/mod.rs"]
mod measure;

use std::io::Write;
use std::path::Path;

use measure::{Outcome, against_copy};
use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use torch_adapter::{Model, PlanOptions};

fn main() -> Outcome<()> {
    let mut out = anstream::stdout();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models");
    let big = models.join("big.pt");
    if !big.exists() {
        writeln!(out, "{} is missing: run `cargo xtask models big-torch` first", big.display())?;
        return Ok(());
    }
    let copy = models.join("bench_copy.pt");
    let result = models.join("bench_result.pt");
    for emit in [Emit::Baked, Emit::Inference, Emit::Packed] {
        let budget = (emit != Emit::Packed).then_some(1.2);
        let what = format!("compress --emit {emit} of 1.07 GB");
        against_copy(&mut out, &what, (&big, &copy), budget, || compress(&big, &result, emit))?;
    }
    std::fs::remove_file(copy)?;
    std::fs::remove_file(result)?;
    Ok(())
}

fn compress(archive: &Path, result: &Path, emit: Emit) -> Outcome<()> {
    let model = Model::open(archive)?;
    let config = ConfigList::default_for(Quantizer::Naive);
    let plan = model.plan(&config, PlanOptions { emit: Some(emit), ..PlanOptions::default() })?;
    model.apply(&plan)?.write_to(result)?;
    Ok(())
}
