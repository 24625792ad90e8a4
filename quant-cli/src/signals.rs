//! What is done when the user or the system ends the process.

/// From here on, SIGINT, SIGTERM and SIGHUP remove what is unfinished before they end the process as they always do.
///
/// What whoever started this process has it ignore (`nohup`, a shell's job in the background) stays ignored.
#[cfg(unix)]
pub(crate) fn watch() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    let ignored = ignored();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| match ignored {
        Some(mask) => mask >> (signal - 1) & 1 == 0,
        // What cannot be asked for is left alone, but for the one that is never ignored by custom.
        None => *signal == SIGTERM,
    });
    // Without a thread, or without handlers, a signal ends the process and leaves a file that the next run clears away.
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let wait = move || {
        for signal in signals.forever() {
            model_file::atomic::remove_unfinished(|| drop(emulate_default_handler(signal)));
        }
    };
    drop(std::thread::Builder::new().name("signals".to_owned()).spawn(wait));
}

#[cfg(not(unix))]
pub(crate) fn watch() {}

/// Bit n − 1 for signal n, where the system tells.
#[cfg(unix)]
fn ignored() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}
