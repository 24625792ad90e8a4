//! The rewriter against its limits, measured in the same run: `compress` against copying the file, `plan` against the wire index.
//!
//! `cargo bench -p tf-rewriter`; needs `cargo xtask models` first. Each ratio is the median of five runs, taken in turns, so that
//! both sides see the same machine.
#![expect(clippy::cast_precision_loss, reason = "ratios are printed with three digits")]

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use tf_rewriter::{Graph, PlanOptions};

type Outcome<T> = Result<T, Box<dyn Error>>;

const RUNS: usize = 5;
/// Memory beyond the mapped file that `compress` may take.
const MEMORY_BUDGET: u64 = 64 << 20;

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
        let mut peak = 0;
        let (copied, compressed) = in_turns(
            || {
                std::fs::copy(&big, &copy)?;
                Ok(())
            },
            || {
                let sampler = MemorySampler::start();
                compress(&big, &result, &config, emit)?;
                peak = peak.max(sampler.stop());
                Ok(())
            },
        )?;
        let budget = (emit != Emit::Packed).then_some(1.2);
        row(&mut out, &format!("compress --emit {emit} of 1.9 GB / cp"), compressed, copied, budget)?;
        let verdict = if peak <= MEMORY_BUDGET { "" } else { ", missed" };
        writeln!(
            out,
            "  memory beyond the mapped file: {:.1} MiB  budget 64{verdict}",
            peak as f64 / f64::from(1 << 20)
        )?;

        let (copied, compressed) = in_turns(
            || {
                std::fs::copy(&big, &copy)?;
                Ok(std::fs::File::open(&copy)?.sync_all()?)
            },
            || compress(&big, &result, &config, emit),
        )?;
        row(&mut out, &format!("compress --emit {emit} of 1.9 GB / cp and fsync"), compressed, copied, budget)?;
    }
    std::fs::remove_file(copy)?;
    std::fs::remove_file(result)?;
    Ok(())
}

fn compress(model: &Path, result: &PathBuf, config: &ConfigList, emit: Emit) -> Outcome<()> {
    let graph = Graph::open(model)?;
    let plan = graph.plan(config, PlanOptions { emit: Some(emit), ..PlanOptions::default() })?;
    graph.apply(&plan, None)?.write_to(result)?;
    Ok(())
}

/// Median times of both, run in turns.
fn in_turns(
    mut limit: impl FnMut() -> Outcome<()>,
    mut work: impl FnMut() -> Outcome<()>,
) -> Outcome<(Duration, Duration)> {
    let mut times = (Vec::new(), Vec::new());
    // The first turn warms the caches and does not count.
    for turn in 0..=RUNS {
        let start = Instant::now();
        limit()?;
        let middle = Instant::now();
        work()?;
        if turn > 0 {
            times.0.push(middle - start);
            times.1.push(middle.elapsed());
        }
    }
    Ok((median(times.0), median(times.1)))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn row(out: &mut impl Write, what: &str, time: Duration, limit: Duration, budget: Option<f64>) -> std::io::Result<()> {
    let ratio = time.as_secs_f64() / limit.as_secs_f64();
    let verdict = match budget {
        Some(budget) if ratio > budget => format!("  budget {budget}, missed"),
        Some(budget) => format!("  budget {budget}"),
        None => String::new(),
    };
    writeln!(out, "{what:52} {ratio:6.2} x{verdict}")
}

/// Samples this process's anonymous memory (Linux); mapped files are not part of it.
struct MemorySampler {
    stop: std::sync::Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
    before: u64,
}

impl MemorySampler {
    fn start() -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !flag.load(Ordering::Relaxed) {
                peak = peak.max(anonymous_memory());
                std::thread::sleep(Duration::from_millis(2));
            }
            peak
        });
        Self { stop, thread, before: anonymous_memory() }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default().saturating_sub(self.before)
    }
}

fn anonymous_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
