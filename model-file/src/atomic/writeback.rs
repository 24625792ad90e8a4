//! Bringing bytes to the disk while more are being made, so that the last fsync has little left to do.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// So many new bytes are worth a wake-up; a small file never starts the thread.
const STRETCH: u64 = 64 << 20;

/// A thread that flushes a file in the background.
#[derive(Debug, Default)]
pub(super) struct Writeback {
    unflushed: u64,
    thread: Option<(SyncSender<()>, JoinHandle<io::Result<()>>)>,
}

impl Writeback {
    /// `bytes` more were written to `file`.
    pub(super) fn wrote(&mut self, file: &File, bytes: usize) {
        self.unflushed += bytes as u64;
        if self.unflushed < STRETCH {
            return;
        }
        self.unflushed = 0;
        if self.thread.is_none() {
            // Without a thread the last fsync does all the work.
            self.thread = start(file).ok();
        }
        if let Some((wake, _)) = &self.thread {
            match wake.try_send(()) {
                // It has work enough, or has ended with an error that `finish` tells.
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }

    /// Wait for the thread. The system tells a failed write only once, so its error must not be lost here.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let Some((wake, thread)) = self.thread.take() else { return Ok(()) };
        drop(wake);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that flushes the file ended early")))
    }
}

fn start(file: &File) -> io::Result<(SyncSender<()>, JoinHandle<io::Result<()>>)> {
    let file = file.try_clone()?;
    let (wake, woken) = sync_channel(1);
    let flush = move || {
        while woken.recv().is_ok() {
            file.sync_data()?;
        }
        Ok(())
    };
    Ok((wake, std::thread::Builder::new().name("writeback".to_owned()).spawn(flush)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_starts_only_for_much_and_ends_with_finish() {
        let file = tempfile::tempfile().unwrap();
        let mut writeback = Writeback::default();
        writeback.wrote(&file, 1 << 20);
        assert!(writeback.thread.is_none());
        writeback.wrote(&file, 64 << 20);
        assert!(writeback.thread.is_some());
        writeback.finish().unwrap();
        assert!(writeback.thread.is_none());
    }
}
