//! A model's file that another program shortens or changes while it is mapped: an error with its code, and nothing is written.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use tempfile::TempDir;

/// A model, and an output from before.
pub(crate) struct Case {
    folder: TempDir,
    pub(crate) model: PathBuf,
    pub(crate) out: PathBuf,
    /// The error's code.
    code: &'static str,
}

/// What an error says of itself.
pub(crate) struct Told {
    pub(crate) code: &'static str,
    pub(crate) location: Option<String>,
    pub(crate) help: Option<String>,
}

impl Case {
    /// A model of that name, and one called `out` with the same end.
    pub(crate) fn new(name: &str, bytes: &[u8], code: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join(name);
        let out = model.with_file_name("out").with_extension(model.extension().unwrap());
        model_file::atomic::write(&model, bytes).unwrap();
        model_file::atomic::write(&out, b"old").unwrap();
        Self { folder, model, out, code }
    }

    pub(crate) fn file(&self) -> File {
        OpenOptions::new().write(true).open(&self.model).unwrap()
    }

    /// An error says that the model changed, and the output is as it was.
    #[track_caller]
    pub(crate) fn check(&self, told: &Told) {
        assert_eq!((told.code, told.location.as_deref()), (self.code, self.model.to_str()));
        assert!(told.help.as_ref().unwrap().contains("rename"));
        self.check_files();
    }

    #[track_caller]
    pub(crate) fn check_files(&self) {
        assert_eq!(fs::read(&self.out).unwrap(), b"old");
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 2, "something was left behind");
    }

    /// The model is shortened while a program writes into a pipe: it says so on standard error, as JSON, and ends with 1.
    #[track_caller]
    pub(crate) fn check_program(&self, program: &str) {
        let mut child = Command::new(program)
            .arg("compress")
            .arg(&self.model)
            .args(["-o", "-", "-Q", "naive", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        // It has begun to write, and cannot end before somebody reads.
        out.read_exact(&mut [0]).unwrap();
        self.file().set_len(5).unwrap();
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).unwrap();
        let ended = child.wait_with_output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{told}");
        let begin = r#"{"level":"error","code":"CODE","message":"the file changed while it was read: "#;
        assert!(told.starts_with(&begin.replace("CODE", self.code)), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        self.check_files();
    }
}

/// A way in which a file changes in place.
pub(crate) type Change = Box<dyn Fn(&File) + Sync>;

/// Ways in which a file changes in place; `at` is where one of them writes.
pub(crate) fn changes(at: u64) -> [Change; 3] {
    [
        Box::new(|file| file.set_len(5).unwrap()),
        Box::new(|file| file.set_len(1 << 30).unwrap()),
        Box::new(move |mut file| {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[0; 4096]).unwrap();
            // The clock of file systems may be coarser than this test is quick.
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }),
    ]
}
