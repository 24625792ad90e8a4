//! Standard output that a closed pipe does not trouble.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, Write};

/// A buffered stream on which a closed pipe (`… | head`) is no error: what comes after is dropped, and the work goes on.
pub struct Out {
    stream: Option<BufWriter<Box<dyn Write>>>,
}

impl fmt::Debug for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Out").field("open", &self.stream.is_some()).finish()
    }
}

impl Out {
    /// Standard output; colours go to a terminal alone, and not where `NO_COLOR` is set.
    pub fn stdout() -> Self {
        Self::new(anstream::AutoStream::auto(io::stdout()))
    }

    /// Standard error, for text beside an output that goes to standard output.
    pub fn stderr() -> Self {
        Self::new(anstream::AutoStream::auto(io::stderr()))
    }

    /// Nowhere.
    pub fn sink() -> Self {
        Self { stream: None }
    }

    /// Any stream.
    pub fn new(stream: impl Write + 'static) -> Self {
        Self { stream: Some(BufWriter::new(Box::new(stream))) }
    }

    /// Write `value` as indented JSON and a line end.
    ///
    /// # Errors
    /// Those of the stream; that nobody reads it any more is none.
    pub fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *self, value)?;
        writeln!(self)
    }

    /// Bring everything out; errors that a drop would swallow come here.
    ///
    /// # Errors
    /// Those of the stream; that nobody reads it any more is none.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    fn through<T: Default>(
        &mut self,
        act: impl FnOnce(&mut BufWriter<Box<dyn Write>>) -> io::Result<T>,
        dropped: T,
    ) -> io::Result<T> {
        let Some(stream) = &mut self.stream else { return Ok(dropped) };
        match act(stream) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                if let Some(stream) = self.stream.take() {
                    // Dropping it as it is would try to write its rest once more.
                    let (_stream, _rest) = stream.into_parts();
                }
                Ok(dropped)
            }
            other => other,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.through(|stream| stream.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.through(Write::flush, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
        let mut out = Out::new(Failing(ErrorKind::BrokenPipe));
        for _ in 0..3 {
            out.write_all(&vec![b'x'; 100_000]).unwrap();
            out.flush().unwrap();
        }
        out.finish().unwrap();

        let mut out = Out::new(Failing(ErrorKind::StorageFull));
        writeln!(out, "text").unwrap();
        assert_eq!(out.finish().unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
