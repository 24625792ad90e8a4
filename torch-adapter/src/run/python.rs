//! A script in an interpreter, and what it tells: one JSON object a line, and numbers behind some.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use bytemuck::Pod;
use serde::Deserialize;

use crate::error::RunError;

/// The last bytes of standard error that are kept for a message.
const KEPT: usize = 4096;

/// A line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    /// All samples that there are.
    pub(super) samples: Option<u64>,
    /// Samples so far.
    pub(super) done: Option<u64>,
    /// The work is done; so many samples ran.
    pub(super) finished: Option<u64>,
    /// PyTorch's version.
    pub(super) torch: String,
    /// What a batch gave; its numbers follow.
    pub(super) batch: Option<Batch>,
    /// What went wrong, in one word.
    error: Option<String>,
    message: String,
    help: String,
    action: String,
    path: PathBuf,
}

/// What a batch gave: the labels as float64, and of each output the model's values and then the reference's as float32 follow the line.
#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    /// Samples.
    pub(super) count: u64,
    /// The dimensions of the labels.
    pub(super) labels: Option<Vec<u64>>,
    pub(super) outputs: Vec<Output>,
}

/// An output of a batch.
#[derive(Debug, Deserialize)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    /// Whether its elements were floating-point numbers.
    pub(super) is_float: bool,
    /// The dimensions of the reference's.
    #[serde(default)]
    pub(super) reference: Option<Vec<u64>>,
    /// The op that makes it, where that says what its numbers are.
    #[serde(default)]
    pub(super) made_by: Option<String>,
}

/// A script that runs.
pub(super) struct Script {
    python: PathBuf,
    child: Child,
    out: BufReader<ChildStdout>,
    said: Option<JoinHandle<Vec<u8>>>,
}

impl Script {
    /// Start `script` with these arguments. What it says on standard error is `heard`, or kept for the case that it fails.
    pub(super) fn start<'a>(
        python: &Path,
        script: &str,
        arguments: impl IntoIterator<Item = &'a OsStr>,
        heard: bool,
    ) -> Result<Self, RunError> {
        let failed = |error: std::io::Error| RunError::Ended { python: python.to_owned(), message: error.to_string() };
        let mut command = Command::new(python);
        command.arg("-").args(arguments).env("PYTHONUNBUFFERED", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(if heard { Stdio::inherit() } else { Stdio::piped() });
        let mut child = command.spawn().map_err(failed)?;
        let said = child.stderr.take().map(|mut from| std::thread::spawn(move || last_of(&mut from)));
        if let Some(mut to) = child.stdin.take() {
            // Where it ended already, its own words say more.
            drop(to.write_all(script.as_bytes()));
        }
        let out = child.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { python: python.to_owned(), child, out: BufReader::new(out), said })
    }

    /// The next line that it tells; what went wrong is an error, and so is an end before the work is done.
    pub(super) fn next(&mut self) -> Result<Line, RunError> {
        let mut text = String::new();
        let read = self.out.read_line(&mut text).unwrap_or(0);
        match serde_json::from_str::<Line>(&text) {
            Ok(line) => match line.error.clone() {
                Some(kind) => Err(self.error(&kind, line)),
                None => Ok(line),
            },
            Err(_) if read > 0 => Err(self.ended(Some(text.trim().to_owned()))),
            Err(_) => Err(self.ended(None)),
        }
    }

    /// The elements of an array of these dimensions, which follow a line.
    pub(super) fn numbers<T: Pod>(&mut self, shape: &[u64]) -> Result<Vec<T>, RunError> {
        /// Read at a time: no more memory is taken than there are numbers.
        const PIECE: usize = 1 << 16;
        let mut left = shape
            .iter()
            .try_fold(1_usize, |all, dim| all.checked_mul(usize::try_from(*dim).ok()?))
            .unwrap_or(usize::MAX);
        let mut numbers = Vec::new();
        while left > 0 {
            let now = left.min(PIECE);
            let begin = numbers.len();
            numbers.resize(begin + now, T::zeroed());
            let to = bytemuck::cast_slice_mut(numbers.get_mut(begin..).unwrap_or_default());
            if self.out.read_exact(to).is_err() {
                return Err(self.ended(None));
            }
            left -= now;
        }
        Ok(numbers)
    }

    fn error(&mut self, kind: &str, line: Line) -> RunError {
        let Line { message, help, action, path, .. } = line;
        match kind {
            "data" => RunError::Data { path, message, help },
            "request" => RunError::Request { message, help },
            "torch" => RunError::Torch { action, message },
            "resume" => RunError::Resume { message, path },
            "io" => RunError::Io { action, path, message },
            "infinite" => RunError::Infinite { tensor: message },
            _ => self.ended(Some(message)),
        }
    }

    /// It says other things than those that it is to say.
    pub(super) fn silent(&mut self) -> RunError {
        self.ended(Some("it told less than it was asked for".to_owned()))
    }

    /// It ended, or said what it never says.
    fn ended(&mut self, message: Option<String>) -> RunError {
        let status = if message.is_some() { None } else { self.child.wait().ok() };
        let said = self.said.take().filter(|_| message.is_none()).and_then(|said| said.join().ok()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
        let message = message.or(last).or_else(|| status.map(|status| status.to_string())).unwrap_or_default();
        RunError::Ended { python: self.python.clone(), message }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It is over, or nobody hears it any more.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What is read last.
fn last_of(from: &mut impl Read) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0; KEPT]);
    while let Ok(read @ 1..) = from.read(&mut piece) {
        kept.extend_from_slice(piece.get(..read).unwrap_or_default());
        let more = kept.len().saturating_sub(KEPT);
        kept.drain(..more);
    }
    kept
}
