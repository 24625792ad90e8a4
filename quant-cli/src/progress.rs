//! A bar for what takes longer than a second.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::GlobalArgs;

/// Work that finishes sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

const TEMPLATE: &str = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";

/// Progress over a known number of bytes. Silent unless standard error is a terminal and a second has passed; may be shared by
/// threads. The bar goes away on drop.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
    hidden: AtomicBool,
    /// When the bar appears; `None`: never.
    patience: Option<Duration>,
}

impl Progress {
    /// Begin work on `bytes`; `what` stands before the bar.
    pub fn new(global: &GlobalArgs, what: &'static str, bytes: u64) -> Self {
        let wanted = !global.quiet && !global.json && std::io::stderr().is_terminal();
        Self::with(what, bytes, wanted.then_some(PATIENCE))
    }

    /// Progress that nobody sees.
    pub fn silent() -> Self {
        Self::with("", 0, None)
    }

    fn with(what: &'static str, bytes: u64, patience: Option<Duration>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar, begun: Instant::now(), hidden: AtomicBool::new(true), patience }
    }

    /// `bytes` more are done.
    pub fn inc(&self, bytes: u64) {
        self.bar.inc(bytes);
        let late = self.patience.is_some_and(|patience| self.begun.elapsed() >= patience);
        if late && self.hidden.load(Ordering::Relaxed) && self.hidden.swap(false, Ordering::Relaxed) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// How many bytes are done.
    pub fn done(&self) -> u64 {
        self.bar.position()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_together() {
        let progress = Progress::new(&GlobalArgs { quiet: true, ..GlobalArgs::default() }, "weights", 4000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| progress.inc(1)));
            }
        });
        assert_eq!(progress.done(), 4000);
        assert!(progress.bar.is_hidden());
    }

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn the_bar_appears_when_patience_ends() {
        let shown = |patience| {
            let progress = Progress::with("weights", 10, patience);
            progress.inc(5);
            !progress.hidden.load(Ordering::Relaxed)
        };
        assert!(shown(Some(Duration::ZERO)));
        assert!(!shown(Some(Duration::MAX)), "the work is still short");
        assert!(!shown(None), "nobody looks");
    }
}
