//! A file's bytes in memory, read-only, while other programs may shorten or change the file.
//!
//! A map costs no memory of its own, and every reader sees plain bytes. Its price is that the file can change under it: a page that is
//! not there any more ends the process with SIGBUS. Here it reads as zeros instead (see the handler in `map/guard.rs`), and
//! [`MappedFile::check`] tells afterwards. So the rule for everybody who reads a map is: **what was made from its bytes counts only
//! after `check`**, whatever the work in between seemed to find.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("model.pb");
//! # std::fs::File::create(&path)?.set_len(10)?;
//! let map = model_file::MappedFile::new(std::fs::File::open(path)?)?;
//! let sum: u64 = map.iter().copied().map(u64::from).sum();
//! map.check()?; // and now `sum` is that of the file
//! # assert_eq!(sum, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(unix)]
mod guard;

use std::fs::{File, Metadata};
use std::io;
use std::ops::Deref;
use std::time::SystemTime;

use memmap2::{Mmap, MmapOptions};

/// A file that was not the same from the first to the last look at it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Changed {
    /// It became shorter or longer.
    #[error("the file changed while it was read: it had {before} bytes and now has {now}")]
    Length {
        /// Bytes when it was opened.
        before: u64,
        /// Bytes now.
        now: u64,
    },
    /// Somebody wrote to it.
    #[error("the file changed while it was read: it was written to")]
    Written,
    /// A part of it could not be read: it was cut off for a while, or its disk failed.
    #[error("a part of the file could not be read: it was cut off meanwhile, or its disk failed")]
    Lost,
    /// The system would not say.
    #[error("cannot tell whether the file changed while it was read: {0}")]
    Unknown(io::Error),
}

impl Changed {
    /// The way out.
    pub fn help(&self) -> &'static str {
        "nothing that was made from it was kept; run again when nothing else writes to the file. Whoever replaces a model should \
         write a new file and rename it over the old one, which is safe at any time"
    }
}

/// What tells whether a file was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    /// Where the system keeps it.
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// A mapped file.
#[derive(Debug)]
pub struct MappedFile {
    // Dropped before the map: what is watched is mapped.
    #[cfg(unix)]
    watch: guard::Watch,
    map: Mmap,
    file: File,
    stamp: Stamp,
}

impl MappedFile {
    /// Map `file`, as long as it is now.
    ///
    /// # Errors
    /// A file that the system does not map: an empty one, a pipe, a device.
    pub fn new(file: File) -> io::Result<Self> {
        let stamp = Stamp::of(&file.metadata()?);
        #[cfg(unix)]
        guard::install()?;
        let map = map(&file, usize::try_from(stamp.bytes).map_err(io::Error::other)?)?;
        Ok(Self {
            #[cfg(unix)]
            watch: guard::Watch::new(&map),
            map,
            file,
            stamp,
        })
    }

    /// Whether the bytes were those of one and the same file all the time.
    ///
    /// A file that was replaced by another one with its name is unchanged: the map holds on to the old one.
    ///
    /// # Errors
    /// What happened to the file.
    pub fn check(&self) -> Result<(), Changed> {
        let now = Stamp::of(&self.file.metadata().map_err(Changed::Unknown)?);
        if now.bytes != self.stamp.bytes {
            return Err(Changed::Length { before: self.stamp.bytes, now: now.bytes });
        }
        if now != self.stamp {
            return Err(Changed::Written);
        }
        #[cfg(unix)]
        if self.watch.lost() {
            return Err(Changed::Lost);
        }
        Ok(())
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[expect(unsafe_code, reason = "the only way to map a file")]
fn map(file: &File, bytes: usize) -> io::Result<Mmap> {
    // SAFETY: the map is private to this process and read-only, and the bytes are read as `u8`, which has no invalid values; every
    // reader checks lengths against the map, never against the file. What remains is another program that changes the file while it is
    // mapped, which no program can rule out for a file that it does not own. A page that goes missing is put back by the guard; bytes
    // that change are found by `check`, before anything that was made from them is used.
    unsafe { MmapOptions::new().len(bytes).map(file) }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};
    use std::path::Path;

    use super::*;

    const LENGTH: usize = 1 << 20;

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn mapped(path: &Path) -> MappedFile {
        MappedFile::new(File::open(path).unwrap()).unwrap()
    }

    #[test]
    fn an_unchanged_file_is_its_bytes() {
        let file = file_of(b"graph");
        let map = mapped(file.path());
        assert_eq!(*map, *b"graph");
        map.check().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn pages_that_were_cut_off_read_as_zeros_and_are_told() {
        let file = file_of(&vec![7; LENGTH]);
        let map = mapped(file.path());
        assert_eq!(map.first(), Some(&7));
        file.as_file().set_len(5).unwrap();
        assert_eq!(map.len(), LENGTH);
        // The page in which the file ends is there; the system fills it up with zeros.
        assert_eq!(map.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 5 * 7);
        let error = map.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the file changed while it was read: it had {LENGTH} bytes and now has 5")
        );
        // Also when it is as long as before again: what was read in between was not there.
        file.as_file().set_len(LENGTH as u64).unwrap();
        file.as_file().set_modified(map.stamp.modified.unwrap()).unwrap();
        assert!(matches!(map.check(), Err(Changed::Lost)));
    }

    #[cfg(unix)]
    #[test]
    fn every_map_and_every_thread_is_guarded() {
        let files: Vec<_> = (0..20).map(|_| file_of(&vec![1; LENGTH])).collect();
        let maps: Vec<_> = files.iter().map(|file| mapped(file.path())).collect();
        let kept = file_of(&vec![1; LENGTH]);
        let whole = mapped(kept.path());
        for file in &files {
            file.as_file().set_len(0).unwrap();
        }
        let sum = |map: &MappedFile| map.iter().map(|byte| usize::from(*byte)).sum::<usize>();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(maps.iter().map(sum).sum::<usize>(), 0));
            }
        });
        for map in &maps {
            assert!(map.watch.lost());
            assert!(matches!(map.check(), Err(Changed::Length { now: 0, .. })));
        }
        assert_eq!(sum(&whole), LENGTH);
        whole.check().unwrap();
        // A place that is free again is used again.
        drop(maps);
        let again = mapped(kept.path());
        assert!(!again.watch.lost());
        again.check().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_signal_about_something_else_still_ends_the_process() {
        use std::os::unix::process::ExitStatusExt;
        use std::process::{Command, id};
        const CHILD: &str = "MODEL_FILE_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let file = file_of(b"graph");
            let _map = mapped(file.path());
            // Rust's own handler, which had the signal before, lets the first one pass and is gone then. One that is sent while another waits to be
            // delivered is lost, so two may not be enough.
            for _ in 0..100 {
                Command::new("kill").args(["-BUS", &id().to_string()]).status().unwrap();
            }
            return;
        }
        let name = "map::tests::a_signal_about_something_else_still_ends_the_process";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name]).env(CHILD, "1").output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
    }

    #[test]
    fn bytes_that_were_written_over_are_told() {
        let file = file_of(b"graph");
        let map = mapped(file.path());
        let mut writer = file.as_file();
        writer.seek(SeekFrom::Start(0)).unwrap();
        writer.write_all(b"GRAPH").unwrap();
        // The clock of file systems may be coarser than this test is quick.
        file.as_file().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(map.check().unwrap_err().to_string(), "the file changed while it was read: it was written to");
    }

    #[test]
    fn a_file_that_was_replaced_is_held_on_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        file_of(b"old").persist(&path).unwrap();
        let map = mapped(&path);
        file_of(b"brand new").persist(&path).unwrap();
        map.check().unwrap();
        assert_eq!(*map, *b"old");
    }
}
