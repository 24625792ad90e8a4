//! The rewriter against its limits, measured in the same run: `compress` against copying the file, `plan` against the wire index.
//!
//! `cargo bench -p tf-rewriter`; needs `cargo xtask models` first. Each ratio is the median of five runs, taken in turns, so that
//! both sides see the same machine.

#[path = "../../benches/measure/mod.rs"]
mod measure;

use std::io::Write;
use std::path::{Path, PathBuf};

use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use tf_rewriter::{Graph, PlanOptions};

use measure::{Outcome, against_copy, in_turns, row};

fn main() -> Outcome<()> {
    let mut out = anstream::stdout();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models");
    let (big, many) = (models.join("big.pb"), models.join("many_nodes.pb"));
    for path in [&big, &many] {
        if !path.exists() {
            writeln!(out, "{} is missing: run `cargo xtask models` first", path.display())?;
            return Ok(());
        }
    }
    let config = ConfigList::default_for(Quantizer::Naive);

    let (index, plan) = in_turns(
        || Graph::open(&many).map(drop).map_err(Into::into),
        || Graph::open(&many)?.plan(&config, PlanOptions::default()).map(drop).map_err(Into::into),
    )?;
    row(&mut out, "plan of 50,000 nodes / wire index", plan, index, Some(3.0))?;

    let copy = models.join("bench_copy.pb");
    let result = models.join("bench_result.pb");
    for emit in [Emit::Baked, Emit::Inference, Emit::Packed] {
        let budget = (emit != Emit::Packed).then_some(1.2);
        let what = format!("compress --emit {emit} of 1.9 GB");
        against_copy(&mut out, &what, (&big, &copy), budget, || compress(&big, &result, &config, emit))?;
    }
    std::fs::remove_file(copy)?;
    std::fs::remove_file(result)?;
    Ok(())
}

fn compress(model: &Path, result: &PathBuf, config: &ConfigList, emit: Emit) -> Outcome<()> {
    let graph = Graph::open(model)?;
    let plan = graph.plan(config, PlanOptions { emit: Some(emit), ..PlanOptions::default() })?;
    graph.apply(&plan)?.write_to(result)?;
    Ok(())
}
