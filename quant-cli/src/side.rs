//! Files beside the model, which are text: read whole, up to a limit, and only from what has an end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why such a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SideError {
    /// The system says so.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A directory, a device or a socket.
    #[error("it is no file, expected one, or a pipe")]
    NoFile,
    /// More bytes than any such file has.
    #[error("it is larger than {0} MiB")]
    TooLarge(u64),
    /// Bytes that are no text.
    #[error("it is not UTF-8 text")]
    NotText,
}

/// The text of a file or pipe of at most `limit` MiB; a path `-` is standard input where `dash` says so.
pub(crate) fn read(path: &Path, limit: u64, dash: bool) -> Result<String, SideError> {
    let most = limit << 20;
    let mut bytes = Vec::new();
    let read = if dash && path.as_os_str() == "-" {
        io::stdin().lock().take(most + 1).read_to_end(&mut bytes)?
    } else {
        let file = open(path)?;
        file.take(most + 1).read_to_end(&mut bytes)?
    };
    if u64::try_from(read).map_or(true, |read| read > most) {
        return Err(SideError::TooLarge(limit));
    }
    String::from_utf8(bytes).map_err(|_| SideError::NotText)
}

/// Open what has an end: a file, or a pipe, which a shell makes of `<(…)`.
fn open(path: &Path) -> Result<File, SideError> {
    // Before it is opened: opening a device may do something.
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_file() || is_pipe(kind) { Ok(File::open(path)?) } else { Err(SideError::NoFile) }
}

#[cfg(unix)]
fn is_pipe(kind: std::fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind)
}

#[cfg(not(unix))]
fn is_pipe(_: std::fs::FileType) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        model_file::atomic::write(&path, b"text").unwrap();
        assert_eq!(read(&path, 1, false).unwrap(), "text");
        model_file::atomic::write(&path, &vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(matches!(read(&path, 1, false), Err(SideError::TooLarge(1))));
        model_file::atomic::write(&path, b"\xff").unwrap();
        assert!(matches!(read(&path, 1, false), Err(SideError::NotText)));
        assert!(matches!(read(folder.path(), 1, false), Err(SideError::NoFile)));
        assert!(matches!(read(&folder.path().join("none"), 1, false), Err(SideError::Io(_))));
        #[cfg(unix)]
        assert!(matches!(read(Path::new("/dev/zero"), 1, false), Err(SideError::NoFile)));
    }

    /// `<(…)` of a shell.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_read_to_its_end() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"[]").unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        if Path::new("/proc/self/fd").exists() {
            assert_eq!(read(Path::new(&path), 1, false).unwrap(), "[]");
        }
    }
}
