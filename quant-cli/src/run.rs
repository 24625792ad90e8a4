//! The frame around a command: threads, log, errors, exit code.

use std::process::ExitCode;

use crate::args::GlobalArgs;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// Run a command: set the number of threads and the log, tell what went wrong, and give the exit code.
///
/// 0 done, 1 failed, 2 usage or config error. [`Out`](crate::Out) makes a closed pipe no error.
pub fn run(global: &GlobalArgs, main: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    log_to_stderr(global.verbose);
    if let Some(bytes) = global.memory_limit {
        // One command is one process; where a test runs two, the first limit stays.
        quant_math::budget::lift(bytes);
    }
    crate::signals::watch();
    let result = threads(global).and_then(|()| main());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            global.tell(failure.diagnostics());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn threads(global: &GlobalArgs) -> Result<(), Failure> {
    /// More than any machine has cores; each costs a stack.
    const MOST: usize = 1024;
    let Some(jobs) = global.jobs else { return Ok(()) };
    if jobs.get() > MOST {
        let diagnostic =
            Diagnostic::error("U0104", format!("cannot work with {jobs} threads, expected at most {MOST}"));
        return Err(Failure::usage(diagnostic.help("leave `--jobs` away: one thread per core is the default")));
    }
    rayon::ThreadPoolBuilder::new().num_threads(jobs.get()).build_global().map_err(|error| {
        let diagnostic = Diagnostic::error("U0104", format!("cannot work with {jobs} threads")).caused_by(&error);
        Failure::failed(diagnostic.help("give a smaller `--jobs`"))
    })
}

fn log_to_stderr(verbose: u8) {
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::fmt::format::FmtSpan;
    let level = match verbose {
        0 => return,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_span_events(FmtSpan::CLOSE);
    // A log that is there already was set by whoever called us, and stays.
    drop(subscriber.try_init());
}
