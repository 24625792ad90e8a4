//! What benches against a limit share: both sides in turns, ratios, memory.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

const RUNS: usize = 5;
/// Memory beyond the mapped file that `compress` may take.
const MEMORY_BUDGET: u64 = 64 << 20;

/// Median times of both, run in turns.
pub(crate) fn in_turns(
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

pub(crate) fn row(
    out: &mut impl Write,
    what: &str,
    time: Duration,
    limit: Duration,
    budget: Option<f64>,
) -> std::io::Result<()> {
    let ratio = time.as_secs_f64() / limit.as_secs_f64();
    let verdict = match budget {
        Some(budget) if ratio > budget => format!("  budget {budget}, missed"),
        Some(budget) => format!("  budget {budget}"),
        None => String::new(),
    };
    writeln!(out, "{what:64} {ratio:6.2} x{verdict}")
}

/// `work` on `file` against copying the file to `copy`, and against copying it with an fsync; memory beyond the mapped file.
pub(crate) fn against_copy(
    out: &mut impl Write,
    what: &str,
    (file, copy): (&Path, &Path),
    budget: Option<f64>,
    work: impl Fn() -> Outcome<()>,
) -> Outcome<()> {
    let mut peak = 0;
    let (copied, worked) = in_turns(
        || {
            std::fs::copy(file, copy)?;
            Ok(())
        },
        || {
            let sampler = MemorySampler::start();
            work()?;
            peak = peak.max(sampler.stop());
            Ok(())
        },
    )?;
    row(out, &format!("{what} / cp"), worked, copied, budget)?;
    memory_row(out, peak)?;
    let (copied, worked) = in_turns(
        || {
            std::fs::copy(file, copy)?;
            Ok(std::fs::File::open(copy)?.sync_all()?)
        },
        &work,
    )?;
    Ok(row(out, &format!("{what} / cp and fsync"), worked, copied, budget)?)
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

/// The memory that a run took, against its budget.
fn memory_row(out: &mut impl Write, peak: u64) -> std::io::Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "printed with one digit")]
    let mebibytes = peak as f64 / f64::from(1 << 20);
    let verdict = if peak <= MEMORY_BUDGET { "" } else { ", missed" };
    writeln!(out, "  memory beyond the mapped file: {mebibytes:.1} MiB  budget 64{verdict}")
}
